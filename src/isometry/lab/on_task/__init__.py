"""Experiments of the lab on a model of one's own, a module each, named for its experiment."""
