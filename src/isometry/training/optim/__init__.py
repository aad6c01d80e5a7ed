"""Optimisers, clipping and groups of parameters that keep steps in proportion."""
