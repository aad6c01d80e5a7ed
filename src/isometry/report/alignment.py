"""The layers of two diagnoses side by side, also where a remedy has added or removed some."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from isometry.report.facts import LayerRow


@dataclass(frozen=True, slots=True)
class LayerPair:
    """A layer before and after, None on the side that lacks it; `layer` is the first of the two that is there."""

    layer: LayerRow
    before: LayerRow | None
    after: LayerRow | None


def paired(before: Sequence[LayerRow], after: Sequence[LayerRow]) -> tuple[LayerPair, ...]:
    """Pairs layers of the same name in the order of execution; each layer of both sides appears once.

    Args:
        before: Layers in the order of execution.
        after: Likewise; may be empty.

    Returns:
        The pairs in an order that is that of both sides.
    """
    names = [layer.name for layer in before], [layer.name for layer in after]
    if not after:
        return tuple(LayerPair(layer, layer, None) for layer in before)
    if names[0] == names[1]:
        return tuple(LayerPair(old, old, new) for old, new in zip(before, after, strict=True))
    pairs: list[LayerPair] = []
    for tag, first, last, other_first, other_last in SequenceMatcher(None, *names, autojunk=False).get_opcodes():
        left, right = before[first:last], after[other_first:other_last]
        if tag == "equal":
            pairs += [LayerPair(old, old, new) for old, new in zip(left, right, strict=True)]
        else:
            pairs += [LayerPair(layer, layer, None) for layer in left] + [
                LayerPair(layer, None, layer) for layer in right
            ]
    return tuple(pairs)
