"""The command `isometry`: parses words, calls the library, sets the exit code."""

from isometry.cli.app import app

__all__ = ["app"]
