"""Which parameters a gradient reaches, and what cuts it off from the others."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from isometry.anatomy.task import Task
from isometry.probes.evidence import gather, measure
from isometry.probes.reach import GradientReach
from tests.anatomy.layers import mean_square


class Net(nn.Module):
    """Two layers, and what is done with them."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], **tensors: Tensor) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        for name, tensor in tensors.items():
            setattr(self, name, nn.Parameter(tensor))
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, x)


def reach_of(model: nn.Module, step: Any = mean_square) -> GradientReach:
    torch.manual_seed(0)
    return measure(gather(Task(model=model, batch=torch.randn(8, 4), step=step), [GradientReach]), GradientReach)


def no_grad(m: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        h = m.first(x)
    return m.second(h)


def picked(m: Any, x: Tensor) -> Tensor:
    return m.second(F.one_hot(m.first(x).argmax(1), 4).float())


CUTS: dict[str, tuple[Callable[[Any, Tensor], Tensor], str]] = {
    "detach": (lambda m, x: m.second(m.first(x).detach()), "detach"),
    "data": (lambda m, x: m.second(m.first(x).data), "data"),
    "no_grad": (no_grad, "linear in 'first' (under no_grad)"),
    "argmax": (picked, "argmax"),
    "step function": (lambda m, x: m.second((m.first(x) > 0).float()), "gt"),
    "integers": (lambda m, x: m.second(m.first(x).long().float()), "long"),
    "later": (lambda m, x: m.second(torch.tanh(F.relu(m.first(x)) * 2).detach() + 1), "detach"),
}


@pytest.mark.parametrize(("forward", "blocked_by"), CUTS.values(), ids=CUTS.keys())
def test_the_operation_that_cuts_the_way_is_named(forward: Callable[[Any, Tensor], Tensor], blocked_by: str) -> None:
    reach = reach_of(Net(forward))
    (cut,) = reach.of("cut")

    assert (cut.name, cut.blocked_by) == ("first.weight", blocked_by)
    assert [each.name for each in reach.of("reached")] == ["second.weight"]
    assert any(each.is_on_trunk for each in reach.of("cut"))


def test_a_loss_without_any_gradient_is_cut() -> None:
    reach = reach_of(Net(lambda m, x: m.second(m.first(x)).detach()))

    assert {each.reach for each in reach.parameters} == {"cut"}
    assert any(each.is_on_trunk for each in reach.of("cut"))


def test_a_target_network_lies_beside_the_trunk() -> None:
    def step(model: nn.Module, batch: Tensor) -> Tensor:
        with torch.no_grad():
            target = model.second(batch)
        return F.mse_loss(model.first(batch), target)

    reach = reach_of(Net(lambda _, x: x), step)

    assert [(each.name, each.reach) for each in reach.parameters] == [
        ("first.weight", "reached"),
        ("second.weight", "cut"),
    ]
    assert not any(each.is_on_trunk for each in reach.of("cut"))


def test_a_stop_gradient_beside_a_way_through_is_no_cut() -> None:
    reach = reach_of(Net(lambda m, x: m.second(m.first(x) + m.first(x).detach())))

    assert {each.reach for each in reach.parameters} == {"reached"}


def test_what_the_loss_does_not_read_is_unused() -> None:
    reach = reach_of(Net(lambda m, x: [m.second(x), m.first(x)][0]))

    assert [(each.name, each.reach) for each in reach.parameters] == [
        ("first.weight", "unused"),
        ("second.weight", "reached"),
    ]


def low_rank(m: Any, x: Tensor) -> Tensor:
    return F.linear(x, m.first.weight + m.up @ m.down)


ZEROS: dict[str, tuple[Callable[[Any, Tensor], Tensor], dict[str, Tensor], list[tuple[str, bool]]]] = {
    "low rank": (
        low_rank,
        {"up": torch.zeros(4, 2), "down": torch.randn(2, 4)},
        [("down", True)],
    ),
    "low rank, both zero": (
        low_rank,
        {"up": torch.zeros(4, 2), "down": torch.zeros(2, 4)},
        [("up", False), ("down", False)],
    ),
    "branch end": (
        lambda m, x: x + m.first(x) @ m.up,
        {"up": torch.zeros(4, 4)},
        [("first.weight", True)],
    ),
    "gate of zero": (
        lambda m, x: x + m.scale * m.first(x),
        {"scale": torch.zeros(())},
        [("first.weight", True)],
    ),
    "dead units": (
        lambda m, x: m.second(F.relu(m.first(x) - 100)),
        {},
        [("first.weight", False), ("second.weight", False)],
    ),
    "times nothing": (lambda m, x: m.second(m.first(x) * 0), {}, [("first.weight", False), ("second.weight", False)]),
}


@pytest.mark.parametrize(("forward", "tensors", "zeros"), ZEROS.values(), ids=ZEROS.keys())
def test_a_gradient_of_zero_says_whether_it_opens_later(
    forward: Callable[[Any, Tensor], Tensor], tensors: dict[str, Tensor], zeros: list[tuple[str, bool]]
) -> None:
    reach = reach_of(Net(forward, **tensors))

    assert sorted((each.name, each.opens_later) for each in reach.of("zero")) == sorted(zeros)


def test_the_trunk_names_its_parameters() -> None:
    reach = reach_of(Net(lambda m, x: m.second(x) * m.first(x).sigmoid().mean() * 0))

    assert {each.name for each in reach.of("zero") if each.is_on_trunk} == {"first.weight", "second.weight"}


def test_reach_needs_no_numbers() -> None:
    model = Net(lambda m, x: m.second(m.first(x).detach())).to("meta")
    evidence = gather(Task(model=model, batch=torch.empty(8, 4, device="meta"), step=mean_square), [GradientReach])

    assert [each.reach for each in measure(evidence, GradientReach).parameters] == ["cut", "reached"]


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param(lambda h: torch.tensor(h.tolist()), id="a list"),
        pytest.param(lambda h: torch.tensor(h.detach().numpy()), id="numpy, copied"),
        pytest.param(lambda h: torch.from_numpy(h.detach().numpy() * 1.0), id="numpy, shared"),
    ],
)
def test_a_batch_that_leaves_torch_on_its_way_is_lost(leave: Any) -> None:
    torch.manual_seed(0)
    model = Net(lambda model, x: model.second(leave(torch.relu(model.first(x)))))
    reach = reach_of(model)

    assert reach.is_input_lost
    assert {each.name for each in reach.of("unused") + reach.of("cut")} == {"first.weight"}


def test_a_branch_that_the_loss_leaves_out_is_no_lost_batch() -> None:
    torch.manual_seed(0)
    reach = reach_of(Net(lambda model, x: (model.first(x), model.second(x))[1]))

    assert not reach.is_input_lost


def test_an_operation_that_has_no_derivative_cuts_everything() -> None:
    reach = reach_of(Net(lambda m, x: m.second(torch.heaviside(m.first(x), torch.zeros(())))))

    assert {(each.reach, each.blocked_by, each.is_on_trunk) for each in reach.parameters} == {
        ("cut", "heaviside", True)
    }


@pytest.mark.parametrize(
    ("forward", "blocked_by"),
    [
        pytest.param(lambda m, x: m.second(m.first(x).round()), "round", id="a rounding"),
        pytest.param(lambda m, x: m.second(torch.sign(m.first(x))) + m.second(x), "sign", id="beside another way"),
        pytest.param(lambda m, x: m.second(F.relu(m.first(x) - 100)), "", id="dead units"),
    ],
)
def test_an_operation_that_is_flat_everywhere_is_named(
    forward: Callable[[Any, Tensor], Tensor], blocked_by: str
) -> None:
    first = next(each for each in reach_of(Net(forward)).of("zero") if each.name == "first.weight")

    assert first.blocked_by == blocked_by


def test_a_rounding_that_passes_the_gradient_straight_through_is_none() -> None:
    reach = reach_of(Net(lambda m, x: m.second(m.first(x) + (m.first(x).round() - m.first(x)).detach())))

    assert {each.reach for each in reach.parameters} == {"reached"}


def test_an_expert_that_no_example_chose_stands_beside_the_trunk() -> None:
    reach = reach_of(Net(lambda m, x: m.first(x) * 0 + m.second(x)))
    (idle,) = reach.of("zero")

    assert (idle.name, idle.is_on_trunk) == ("first.weight", False)


def test_a_target_network_that_is_stopped_is_meant_and_a_choice_is_not() -> None:
    stopped = reach_of(Net(lambda m, x: m.second(x) - m.first(x).detach()))
    chosen = reach_of(Net(lambda m, x: m.second(x) * m.first(x).argmax(1, keepdim=True)))

    assert [(each.name, each.is_meant, each.is_on_trunk) for each in stopped.of("cut")] == [
        ("first.weight", True, False)
    ]
    assert [(each.name, each.is_meant, each.is_on_trunk) for each in chosen.of("cut")] == [
        ("first.weight", False, False)
    ]


def test_a_codebook_that_is_read_behind_a_detach_is_meant() -> None:
    model = Net(
        lambda m, x: m.second(m.first(x)) - m.codes.detach()[torch.cdist(x, m.codes).argmin(1)],
        codes=torch.randn(5, 4),
    )
    (codes,) = reach_of(model).of("cut")

    assert (codes.name, codes.is_meant) == ("codes", True)


def test_a_recurrent_weight_that_no_step_used_stands_beside_others_that_learn() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"lstm": nn.LSTM(4, 3, batch_first=True, bidirectional=True), "head": nn.Linear(6, 2)})
    task = Task(
        model=model,
        batch=torch.randn(8, 5, 4),
        step=lambda m, x: m["head"](m["lstm"](x)[0][:, -1]).square().mean(),  # of the way back the first step alone
    )
    (idle,) = measure(gather(task, [GradientReach]), GradientReach).of("zero")

    assert (idle.name, idle.is_on_trunk) == ("lstm.weight_hh_l0_reverse", False)


def overwritten(m: Any, x: Tensor) -> Tensor:
    h = m.first(x).clone()
    h[:] = torch.randn(8, 4)
    return m.second(h)


def test_a_layer_whose_output_is_overwritten_stands_on_the_trunk() -> None:
    (lost,) = reach_of(Net(overwritten)).of("zero")

    assert (lost.name, lost.is_on_trunk) == ("first.weight", True)


def dropped(m: Any, x: Tensor) -> Tensor:
    both = torch.relu(m.first(x)), m.second(x)
    return both[1]


def kept(m: Any, x: Tensor) -> Tensor:
    m.aside = torch.relu(m.first(x))
    return m.second(x)


class TwoOutputs(nn.Module):
    """Both layers' outputs, of which a caller may want one."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList([first, second])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(layer(x) for layer in self.layers)


def of_a_module(m: Any, x: Tensor) -> Tensor:
    return TwoOutputs(m.first, m.second)(x)[1]


def of_a_constant(m: Any, x: Tensor) -> Tensor:
    both = m.first(torch.ones(2, 4)), m.second(x)
    return both[1]


def first_output_only(model: nn.Module, batch: Tensor) -> Tensor:
    return model(batch)[0].square().mean()


@pytest.mark.parametrize(
    ("forward", "step", "is_discarded"),
    [
        pytest.param(dropped, mean_square, True, id="never read"),
        pytest.param(kept, mean_square, False, id="kept as an attribute"),
        pytest.param(lambda m, x: (m.second(x), m.first(x)), first_output_only, False, id="returned and not read"),
        pytest.param(lambda m, x: m.second(x), mean_square, False, id="not called"),
        pytest.param(of_a_module, mean_square, False, id="one of two outputs, as of a body with a pooler"),
        pytest.param(of_a_constant, mean_square, False, id="of a constant"),
    ],
)
def test_what_a_model_neither_returns_nor_keeps_is_thrown_away(forward: Any, step: Any, is_discarded: bool) -> None:
    (unused,) = reach_of(Net(forward), step).of("unused")

    assert (unused.name, unused.is_discarded) == ("first.weight", is_discarded)
