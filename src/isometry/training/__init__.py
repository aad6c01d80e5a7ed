"""Watches trainings, says when to stop, and steadies the optimiser."""
