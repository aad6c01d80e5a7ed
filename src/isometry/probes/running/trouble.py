"""Keeps errors of what only looks on out of the training that it looks at."""

from types import TracebackType


class Trouble:
    """A context that takes up the errors of what runs in it, and keeps the first one until it is asked for."""

    def __init__(self) -> None:
        self._error: Exception | None = None

    def __enter__(self) -> None:
        """Guard what follows."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Take an error up; an interrupt or an exit goes on."""
        if not isinstance(error, Exception):
            return False
        self._error = self._error or error
        return True

    @property
    def is_there(self) -> bool:
        """Whether something went wrong, after which looking on is of no use."""
        return self._error is not None

    def tell(self) -> None:
        """Raise what was kept, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error
