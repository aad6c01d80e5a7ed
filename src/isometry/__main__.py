"""The command `isometry`, also as `python -m isometry`; it imports late, so that an early interrupt is caught too."""

import signal
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
    finally:  # all is written: an interrupt while Python unloads ends it without a traceback
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
