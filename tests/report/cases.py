"""Diagnoses and races that the tests of the renderers share."""

import math
from collections.abc import Callable

from isometry.probes.race_result import Evaluation, RaceResult, RaceSide
from isometry.report.diagnosis import Diagnosis
from isometry.report.facts import Cost, LayerRow, Skipped
from isometry.report.finding import Finding, Proof, Remedy
from isometry.report.race import race_text
from isometry.report.terminal import terminal_text

VERSIONS = {"isometry": "0.1.0", "torch": "2.13.0", "python": "3.11.7"}

VANISHING = Finding(
    code="BWD101",
    name="vanishing-gradient",
    severity="error",
    where=("hidden.0", "hidden.2", "hidden.4", "hidden.6", "hidden.8"),
    measured=19.04,
    allowed=4.0,
    unit="decades",
    message="The gradient falls by 19 decades from the last hidden layer to the first.",
    cause="the gradient loses a factor 4.54 per layer, because the slope of sigmoid is at most 1/4",
    because=None,
    proof=Proof(change="orthogonal weights of gain 4", before=19.04, after=0.31, confirmed=True),
    remedy=Remedy("init", "isometry fix"),
)
SAME_OUTPUT = Finding(
    code="FWD104",
    name="rank-collapse",
    severity="warning",
    where=("head",),
    measured=1e-9,
    allowed=1e-3,
    unit="share of the activation that differs between samples",
    message="All samples have nearly the same activation at 'head'.",
    cause="the mean of sigmoid is 0.5, and it grows with depth",
    because="BWD101",
    proof=None,
    remedy=Remedy("init", "isometry fix"),
)
SLOW_START = Finding(
    code="LOS203",
    name="learning-rate-too-low",
    severity="note",
    where=(),
    measured=None,
    allowed=None,
    unit="",
    message="The loss did not move in ten steps of the optimiser that the builder returned.",
    cause="the first layers receive no gradient",
    because="FWD104",
    proof=None,
    remedy=Remedy("none", ""),
)
UNSCALED_INPUT = Finding(
    code="DAT101",
    name="unnormalised-input",
    severity="warning",
    where=("input",),
    measured=127.4,
    allowed=10.0,
    unit="root mean square",
    message="The input has root mean square 127.",
    cause="pixels were given as bytes",
    because=None,
    proof=None,
    remedy=Remedy("data", "Divide the pixels by 255 and subtract their mean."),
)


def sigmoid_layers(
    depth: int, *, decades: float, activation: float = 0.5, decline: float = 0.0
) -> tuple[LayerRow, ...]:
    """A plain stack whose gradient falls by `decades` from the head to the input, with a little unevenness."""

    def row(number: int) -> LayerRow:
        share = number / max(1, depth - 1)
        wobble = 0.08 * math.sin(1.7 * number)
        return LayerRow(
            name=f"hidden.{2 * number}" if number < depth - 1 else "head",
            kind="linear",
            fan_in=64.0,
            fan_out=64.0 if number < depth - 1 else 10.0,
            activation_rms=activation * 10 ** (0.02 * math.sin(number) - decline * share),
            activation_spread=0.1,
            gradient_rms=10 ** (-3 - decades * (1 - share) + wobble),
            weight_rms=0.125,
            weight_gradient_rms=1e-4,
            saturated_share=0.01,
            is_on_trunk=True,
            is_head=number == depth - 1,
        )

    return tuple(row(number) for number in range(depth))


def diagnosis(
    *findings: Finding,
    model: str = "sigmoid-30",
    layers: tuple[LayerRow, ...] = (),
    skipped: tuple[Skipped, ...] = (),
    warnings: tuple[str, ...] = (),
    loss: float | None = 2.4218,
) -> Diagnosis:
    return Diagnosis(
        model=model,
        loss_name="cross_entropy",
        loss=loss,
        findings=findings,
        skipped=skipped,
        layers=layers,
        seed=0,
        versions=VERSIONS,
        cost=Cost(seconds=0.482, step_seconds=0.0312, peak_bytes=None),
        warnings=warnings,
    )


def broken() -> Diagnosis:
    """Thirty sigmoid layers as PyTorch makes them: one cause, two symptoms, one more finding."""
    layers = sigmoid_layers(30, decades=19)
    return diagnosis(VANISHING, SAME_OUTPUT, SLOW_START, UNSCALED_INPUT, layers=layers)


def repaired() -> Diagnosis:
    return diagnosis(layers=sigmoid_layers(30, decades=0.2, activation=0.51), loss=2.31)


def race(*, with_accuracy: bool = True, first: str = "as built", second: str = "repaired") -> RaceResult:
    """Two hundred steps: one side stays at chance, the other learns."""
    looks = range(0, 201, 20)

    def falling(step: int) -> float:
        return 0.2 + 2.15 * math.exp(-step / 60)

    def accuracy(loss: float) -> float | None:
        return round(0.96 - 0.4 * loss + 0.02 * loss**2, 4) if with_accuracy else None

    return RaceResult(
        first=RaceSide(
            name=first,
            losses=tuple(2.31 + 0.02 * math.sin(3 * step) for step in range(200)),
            evaluations=tuple(Evaluation(step, 2.303, 0.1 if with_accuracy else None) for step in looks),
            finals=(2.303, 2.302, 2.304),
        ),
        second=RaceSide(
            name=second,
            losses=tuple(falling(step) + 0.06 * math.sin(5 * step) * math.exp(-step / 90) for step in range(200)),
            evaluations=tuple(Evaluation(step, falling(step), accuracy(falling(step))) for step in looks),
            finals=(0.277, 0.281, 0.274),
        ),
        winner="second",
        reason="'repaired' ended at 0.277 and 'as built' at 2.303; the repeats of both sides do not overlap.",
        steps=200,
        batch_size=64,
        optimiser="Adam(lr=0.001)",
        held_out=360,
        repeats=3,
        seed=0,
        seconds=3.21,
    )


REPORTS: dict[str, Callable[[], Diagnosis | RaceResult]] = {
    "report_healthy": lambda: diagnosis(model="resnet18", layers=sigmoid_layers(5, decades=0.3)),
    "report_broken": lambda: diagnosis(
        VANISHING, SAME_OUTPUT, SLOW_START, UNSCALED_INPUT, layers=sigmoid_layers(12, decades=19, decline=2.0)
    ),
    "report_many_layers": lambda: diagnosis(VANISHING, layers=sigmoid_layers(60, decades=38)),
    "report_skipped": lambda: diagnosis(
        model="llama",
        layers=(
            LayerRow(name="model.layers.0.self_attn.q_proj.with.a.very.long.name.indeed", kind="linear", fan_in=4096),
            LayerRow(name="sum", kind="scaled_dot_product_attention", activation_rms=0.0, gradient_rms=math.inf),
        ),
        skipped=(
            Skipped("JAC101", "The model is on the meta device: there are no numbers to measure."),
            Skipped(
                "TRN101", "The builder returned no optimiser; give optimizer_factory as the fifth part of the tuple."
            ),
        ),
        warnings=("The model was given in eval mode and was measured as it is.\nCall model.train() first.",),
        loss=None,
    ),
    "report_markup": lambda: diagnosis(
        UNSCALED_INPUT,
        model="[red]model[/red] :boom: [link=x]",
        layers=(LayerRow(name="[red]x[/red]", kind="[bold]", activation_rms=1.0, gradient_rms=1.0),),
        skipped=(Skipped("JAC101", "[/]\x1b[31mred\x07"),),
        warnings=("[blink]no[/blink]",),
    ),
    "report_race": race,
}


def golden_text(name: str) -> str:
    """The report as it stands in `tests/golden/`: 80 cells wide, without colour."""
    value = REPORTS[name]()
    text = race_text(value, width=80) if isinstance(value, RaceResult) else terminal_text(value, width=80)
    return text + "\n"
