"""Observers of the tape and short trials: numbers per layer, never a verdict."""
