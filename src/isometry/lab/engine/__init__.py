"""Runs many trials on one machine or a cluster, records each in a folder of its own, and repeats nothing."""
