"""Callbacks that watch a training which a framework runs; each file needs the framework that it is named for."""
