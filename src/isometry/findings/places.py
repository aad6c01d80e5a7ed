"""Operations named by where they are."""

from isometry._phrases import Phrase


def place_of(operation: str, where: str) -> str:
    """Return an operation with its place, such as `sqrt in 'norm'`.

    Args:
        operation: The operation's name.
        where: The name of a layer or module; or the operation's own label, which is said alone.
    """
    if where.startswith(f"{operation} ("):
        return where
    return Phrase("{operation} in {where!r}", operation=operation, where=where)
