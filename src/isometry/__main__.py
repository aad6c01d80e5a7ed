"""The command `isometry`, also as `python -m isometry`; it imports late, so that an early interrupt is caught too."""

import sys

INTERRUPTED = 130  # the shell's code for a program that SIGINT ended


def main() -> None:
    """Run the command."""
    try:
        from isometry.cli import app

        app()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; nothing was left half written.\n")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
