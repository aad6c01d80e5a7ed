"""Several processes that train together: which one this is, and what they agree on."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributed as dist


@dataclass(frozen=True, slots=True)
class Ranks:
    """Where this process stands among those that train together.

    Attributes:
        rank: Its number, in [0, num_ranks).
        num_ranks: Counts; 1 where a process trains alone.
    """

    rank: int = 0
    num_ranks: int = 1

    @classmethod
    def here(cls) -> "Ranks":
        """Return what torch.distributed says, if a process group was made."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    def agree(self, flag: Tensor) -> Tensor:
        """Return a flag, true on every process if it was true on one; all have to call it in the same step.

        Args:
            flag: One boolean, on the device that the process group speaks from.
        """
        if self.num_ranks == 1:
            return flag
        word = flag.to(torch.int32)
        dist.all_reduce(word, dist.ReduceOp.MAX)
        return word.bool()
