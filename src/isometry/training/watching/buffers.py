"""What a forward pass writes into a model, such as the averages of a batch norm, as the last good step left it."""

from torch import Tensor, nn

from isometry.probes.running.foreach import FOREACH


class Buffers:
    """Copies of a model's buffers; after the first one only what has changed is copied again.

    Args:
        model: Whose buffers.
    """

    def __init__(self, model: nn.Module) -> None:
        own = {id(each): each for each in model.buffers() if not each.is_inference()}
        self._buffers = [each.detach() for each in own.values()]
        self._copies = [each.clone() for each in self._buffers]
        self._versions = [each._version for each in self._buffers]  # pyright: ignore[reportPrivateUsage] - torch counts writes there

    def keep(self) -> None:
        """Copy what was written since the last time."""
        changed = self._changed()
        if changed:
            FOREACH._foreach_copy_([copy for _, copy in changed], [buffer for buffer, _ in changed])

    def restore(self) -> None:
        """Put back what was written since."""
        changed = self._changed()
        if changed:
            FOREACH._foreach_copy_([buffer for buffer, _ in changed], [copy for _, copy in changed])
            self._changed()  # notes the versions

    def _changed(self) -> list[tuple[Tensor, Tensor]]:
        """Return buffers and copies that differ, and note the buffers as they are."""
        changed: list[tuple[Tensor, Tensor]] = []
        for place, buffer in enumerate(self._buffers):
            version = buffer._version  # pyright: ignore[reportPrivateUsage] - see above
            if version != self._versions[place]:
                self._versions[place] = version
                changed.append((buffer, self._copies[place]))
        return changed
