"""Several processes that train together: which one this is, and what they agree on."""

from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.distributed_c10d import _get_default_store as _default_store  # pyright: ignore[reportPrivateUsage] - torch names it nowhere else
from torch.nn.parallel import DistributedDataParallel

from isometry._errors import RunError

MEETING_TIME = timedelta(seconds=60)  # for all processes to begin; they come from the same barriers


@dataclass(frozen=True, slots=True)
class Ranks:
    """Where this process stands among those that train together.

    Attributes:
        rank: Its number, in [0, num_ranks).
        num_ranks: Counts; 1 where a process trains alone.
        joint: The DDP module that averages their gradients, where it was given.
    """

    rank: int = 0
    num_ranks: int = 1
    joint: DistributedDataParallel | None = None

    @classmethod
    def here(cls, model: nn.Module) -> "Ranks":
        """Return what torch.distributed says, if a process group was made.

        Args:
            model: What is trained, as the loop calls it.
        """
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        outer = getattr(model, "_orig_mod", model)
        joint = outer if isinstance(outer, DistributedDataParallel) else None
        return cls(dist.get_rank(), dist.get_world_size(), joint)

    def meet(self) -> None:
        """Wait until every process begins to watch: one that does not would leave the others waiting at a step.

        Raises:
            RunError: If one does not come.
        """
        if self.num_ranks == 1:
            return
        store = _default_store()
        number = store.add(f"isometry/runs/{self.rank}", 1)
        store.set(f"isometry/runs/{self.rank}/{number}", "here")
        try:
            store.wait([f"isometry/runs/{rank}/{number}" for rank in range(self.num_ranks)], MEETING_TIME)
        except dist.DistStoreError as error:
            raise RunError(
                f"process {self.rank} of {self.num_ranks} watches, and another has not begun to within "
                f"{MEETING_TIME.seconds} seconds. Enter isometry.watch on every process, not on the first one alone."
            ) from error

    def agree(self, flag: Tensor) -> Tensor:
        """Return a flag, true on every process if it was true on one; all have to call it in the same step.

        Args:
            flag: One boolean, on the device that the process group speaks from.
        """
        if self.num_ranks == 1 or self._is_uneven():
            return flag
        word = flag.to(torch.int32)
        dist.all_reduce(word, dist.ReduceOp.MAX)
        return word.bool()

    def _is_uneven(self) -> bool:
        """Say whether DDP lets processes run out of data at different steps (`join`): nobody would answer then."""
        return bool(getattr(getattr(self.joint, "_join_config", None), "enable", False))
