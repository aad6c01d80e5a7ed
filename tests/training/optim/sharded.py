"""A process of two that hold a half of each tensor: what is done to the halves is what is done to the whole."""

import sys
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from isometry.training.optim.clipping import clip_global_norm_
from isometry.training.optim.lamb import LAMB
from isometry.training.optim.lars import LARS
from isometry.training.optim.spikes import ZClip
from isometry.training.optim.trust import TrustRatioOptimizer
from isometry.training.optim.units import clip_by_unit_norm_
from tests.training.optim.driven import drawn

SHAPES = ((6, 4), (4,))


def stepped(make: Callable[..., TrustRatioOptimizer]) -> Callable[[list[nn.Parameter]], list[float]]:
    def run(parameters: list[nn.Parameter]) -> list[float]:
        optimizer = make(parameters, 0.1, weight_decay=0.1)
        optimizer.step()
        optimizer.step()
        return list(optimizer.trust_ratios().values())

    return run


def told(parameters: list[nn.Parameter]) -> list[float]:
    clipped = clip_global_norm_(parameters, 1.0)
    return [clipped.norm, clipped.factor]


def spiked(parameters: list[nn.Parameter]) -> list[float]:
    clip = ZClip(warmup_steps=2)
    factors: list[float] = []
    for scale in (1.0, 1.1, 30.0):
        for parameter in parameters:
            parameter.grad *= scale
        factors.append(clip(parameters).factor)
    return factors


def by_unit(parameters: list[nn.Parameter]) -> list[float]:
    clip_by_unit_norm_(parameters, 0.1)
    return []


PROGRAMS = {"LARS": stepped(LARS), "LAMB": stepped(LAMB), "global": told, "spikes": spiked, "units": by_unit}


def parameters(wrap: Callable[[Tensor], Tensor]) -> list[nn.Parameter]:
    made = [nn.Parameter(wrap(drawn(*shape, seed=seed))) for seed, shape in enumerate(SHAPES)]
    for seed, (parameter, shape) in enumerate(zip(made, SHAPES, strict=True)):
        parameter.grad = wrap(drawn(*shape, seed=10 + seed))
    return made


def whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def main(address: str, rank: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    mesh = dist.init_device_mesh("cpu", (2,))
    for name, program in PROGRAMS.items():
        # one of the tensors is not sharded, as where FSDP was told to leave it alone
        plain = [*parameters(torch.clone), *parameters(torch.clone)[:1]]
        sharded = [*parameters(lambda each: distribute_tensor(each, mesh, [Shard(0)])), *parameters(torch.clone)[:1]]

        torch.testing.assert_close(program(sharded), program(plain), msg=name)
        for one, other in zip(sharded, plain, strict=True):
            torch.testing.assert_close(whole(one.detach()), other.detach(), msg=name)
            torch.testing.assert_close(whole(one.grad), other.grad, msg=name)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
