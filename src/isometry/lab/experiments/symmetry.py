"""Parts of a network that start equal stay equal under gradient descent, whatever the parts are; dropout parts them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor

from isometry._phrases import Phrase
from isometry.lab.apparatus.distinct import num_distinct
from isometry.lab.apparatus.equal_parts import (
    CLASSES,
    INPUTS,
    NUMBERS,
    TOKENS,
    Parts,
    balance,
    channels,
    constant_units,
    experts,
    heads,
    mirrored_units,
    random_units,
    recurrent_units,
    scaled_units,
)
from isometry.lab.apparatus.recorded import doubling
from isometry.lab.experiment import EXPERIMENTS, Claim, Experiment, Measured, Progress
from isometry.lab.figure import Figure, Series

EQUAL = 1e-12  # of a part's size: in double precision copies differ by less, and parts of their own by more
MAX_DRIFT = 2.0  # per cent of a unit's size; gradient flow keeps its balance exactly, steps of 0.1 nearly
FLOOR = 1e-17  # distances below it, 0 among them, are drawn at it
TEACHER = 16  # units of the network that gives the labels


@dataclass(frozen=True, slots=True, kw_only=True)
class SymmetrySettings:
    """Settings.

    Attributes:
        num_parts: Units, heads, channels or experts that start equal, counts.
        num_steps: Of the optimiser, counts.
        num_examples: That are learned, all in each step but where batches are drawn, counts.
        batch_size: Examples of a batch, where these are drawn at random for each step, counts.
        learning_rate: Of gradient descent.
        adam_rate: Of Adam.
    """

    num_parts: int = 8
    num_steps: int = 100
    num_examples: int = 64
    batch_size: int = 8
    learning_rate: float = 0.1
    adam_rate: float = 0.01

    @property
    def recorded(self) -> list[int]:
        """Steps after which the parts are compared: 0, powers of 2 and the last."""
        return doubling(self.num_steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One network and how it is trained.

    Attributes:
        name: What its parts are, and what acts on them.
        build: Makes it from the number of its parts and a generator.
        stays: Whether its parts stay as equal as they start; else all of them part.
        is_adam: Whether Adam trains it, not gradient descent.
        in_batches: Whether each step is on a random batch.
    """

    name: Phrase
    build: Callable[[int, Generator], Parts]
    stays: bool = True
    is_adam: bool = False
    in_batches: bool = False


PLAIN = Case(name=Phrase("units, gradient descent"), build=constant_units)
DROPPED = 0.5  # share of the units that dropout leaves out
CASES = (
    PLAIN,
    Case(name=Phrase("units, stochastic gradient descent"), build=constant_units, in_batches=True),
    Case(name=Phrase("units, Adam"), build=constant_units, is_adam=True),
    Case(name=Phrase("units with dropout"), build=partial(constant_units, dropout=DROPPED), stays=False),
    Case(name=Phrase("units drawn at random"), build=random_units, stays=False),
    Case(name=Phrase("units of either sign"), build=mirrored_units),
    Case(name=Phrase("recurrent units"), build=recurrent_units),
    Case(name=Phrase("channels"), build=channels),
    Case(name=Phrase("heads"), build=heads),
    Case(name=Phrase("experts, router at zero"), build=partial(experts, router_scale=0.0)),
    Case(name=Phrase("experts, random router"), build=partial(experts, router_scale=1.0), stays=False),
    Case(name=Phrase("ReLU units at different scales"), build=scaled_units, stays=False),
)


def measure(settings: SymmetrySettings, seed: int, progress: Progress) -> Measured:
    """Train every network from equal parts, and count those that differ after some of the steps."""
    found: list[dict[str, list[float]]] = []
    moved: list[float] = []
    for number, case in enumerate(CASES):
        generator = torch.Generator().manual_seed(seed)
        network = case.build(settings.num_parts, generator)
        before = network.rows().detach().clone()
        found.append(_train(network, settings, generator, case=case))
        moved.append(float((network.rows().detach() != before).any(0).double().mean()))
        progress((number + 1) / (len(CASES) + 1))
    kept = {key: [each[key] for each in found] for key in ("distinct", "distance")}
    drifts = [_drift(settings, activation, seed) for activation in (torch.relu, torch.tanh)]
    progress(1.0)
    return {**kept, "moved": moved, "balance_drift": drifts[0], "lawless_drift": drifts[1]}


def judge(settings: SymmetrySettings, measured: Sequence[Measured]) -> tuple[Claim, ...]:
    """Hold the parts of each network against what its symmetry lets them do."""
    claims: list[Claim] = []
    for place, case in enumerate(CASES):
        counts = [each["distinct"][place][-1] for each in measured]
        if case.stays:
            claims.append(
                Claim(
                    text=Phrase("{case}: all stay one", case=case.name), measured=max(counts), high=1, unit="distinct"
                )
            )
        else:
            claims.append(
                Claim(
                    text=Phrase("{case}: all go their own ways", case=case.name),
                    measured=min(counts),
                    low=settings.num_parts,
                    unit="distinct",
                )
            )
    return (*claims, *_claims_on_moving(measured))


def draw(settings: SymmetrySettings, measured: Sequence[Measured]) -> tuple[Figure, ...]:
    """Draw how far the parts are from one another, and how many differ, over the steps."""
    steps = [step + 1 for step in settings.recorded]

    def series(key: str, least: float) -> tuple[Series, ...]:
        return tuple(
            Series(
                name=Phrase("the {count} kinds that stay", count=num_stay) if case.stays else case.name,
                x=steps,
                y=[max(value, least) for value in each[key][place]],
            )
            for place, case in enumerate(CASES)
            for each in measured
        )

    num_stay = sum(case.stays for case in CASES)

    return (
        Figure(
            key="distance",
            title="How far equal parts go from one another",
            x_axis="step, counted from 1",
            y_axis="largest distance over size, at least 1e-17",
            x_scale="log",
            y_scale="log",
            series=series("distance", FLOOR),
        ),
        Figure(
            key="distinct",
            title=Phrase("Distinct ones of {count} parts", count=settings.num_parts),
            x_axis="step, counted from 1",
            y_axis="distinct parts",
            x_scale="log",
            series=series("distinct", 0.0),
        ),
    )


def _claims_on_moving(measured: Sequence[Measured]) -> tuple[Claim, ...]:
    return (
        Claim(
            text=Phrase("every number of every part is learned: none is equal for want of a gradient"),
            measured=100 * min(min(each["moved"]) for each in measured),
            low=100.0,
            unit="%",
        ),
        Claim(
            text=Phrase("a ReLU unit's weights in and out grow by one amount: the difference of squares is kept"),
            measured=100 * max(each["balance_drift"] for each in measured),
            high=MAX_DRIFT,
            unit="%",
        ),
        Claim(
            text=Phrase("of tanh, which has no such symmetry, it is not kept"),
            measured=100 * min(each["lawless_drift"] for each in measured),
            low=MAX_DRIFT,
            unit="%",
        ),
    )


def _drift(settings: SymmetrySettings, activation: Callable[[Tensor], Tensor], seed: int) -> float:
    """Return the most by which training changes a unit's balance, over the squares of its weights at the start."""
    generator = torch.Generator().manual_seed(seed)
    network = scaled_units(settings.num_parts, generator, activation=activation)
    before = balance(network.parameters)
    size = torch.stack([each.detach().square().sum(1) for each in network.parameters.values()]).sum(0)
    _train(network, settings, generator, case=PLAIN)
    return float(((balance(network.parameters) - before).abs() / size).max())


def _train(network: Parts, settings: SymmetrySettings, generator: Generator, *, case: Case) -> dict[str, list[float]]:
    """Train on labels of a random teacher, and compare the parts after some of the steps."""

    def normal(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=generator, dtype=torch.float64)

    inputs = normal(settings.num_examples, TOKENS, NUMBERS)
    labels = ((inputs.flatten(1) @ normal(INPUTS, TEACHER)).relu() @ normal(TEACHER, CLASSES)).argmax(1)
    parameters = list(network.parameters.values())
    optimiser: torch.optim.Optimizer = (
        torch.optim.Adam(parameters, lr=settings.adam_rate)
        if case.is_adam
        else torch.optim.SGD(parameters, lr=settings.learning_rate)
    )
    found: dict[str, list[float]] = {"distinct": [], "distance": []}
    for step in range(settings.num_steps + 1):
        if step in settings.recorded:
            rows = network.rows().detach()
            found["distinct"].append(num_distinct(rows, equal=EQUAL))
            found["distance"].append(float((rows - rows[:1]).norm(dim=1).max() / rows.norm(dim=1).max()))
        chosen = slice(None)
        if case.in_batches:
            chosen = torch.randint(settings.num_examples, (settings.batch_size,), generator=generator)
        loss = torch.nn.functional.cross_entropy(network.outputs(inputs[chosen]), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return found


EXPERIMENTS.add("symmetry")(
    Experiment(
        name="symmetry",
        question=Phrase("Which parts of a network stay equal if they start so, and what tells them apart?"),
        quick=SymmetrySettings(),
        paper=SymmetrySettings(num_parts=32, num_steps=300, num_examples=256),
        measure=measure,
        judge=judge,
        draw=draw,
        source=(
            "Dive into Deep Learning, section 5.4.1.3 and exercise 1; of ReLU's scale: Du, Hu, Lee 2018, "
            "arXiv:1806.00900, theorem 2.1."
        ),
    )
)
