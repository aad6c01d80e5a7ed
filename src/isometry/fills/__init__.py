"""Distributions, and tensors filled from them by random numbers that depend on a parameter's name alone."""
