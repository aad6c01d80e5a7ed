"""Experiments that reproduce the phenomena behind the tool."""
