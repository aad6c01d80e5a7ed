"""Runs that the tests of the renderers share, made by hand."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from isometry.probes.running.readings import Evaluation, Fault, LayerReading, ParameterReading, Reading
from isometry.report.finding import Finding, Remedy
from isometry.report.run.facts import Event, Extreme, RunFacts
from isometry.report.run.view import run_text

VERSIONS = {"isometry": "0.1.0", "torch": "2.13.0", "python": "3.11.7"}

DYING = Finding(
    code="FWD103",
    name="dying-relu",
    severity="error",
    where=("layers.4", "layers.6"),
    measured=0.81,
    allowed=0.5,
    unit="share of units",
    message="81 % of the units behind 'layers.4' are zero on every sample (50 % allowed).",
    cause="a step was so long that the biases fell below all inputs",
    because="TRN101",
    proof=None,
    remedy=Remedy("optimizer", "Lower the learning rate, or warm it up.", "lr=1e-3"),
)
TOO_HIGH = replace(
    DYING,
    code="TRN101",
    name="learning-rate-too-high",
    where=(),
    measured=0.3,
    allowed=0.01,
    unit="learning rate",
    message="A learning rate of 0.3 undoes what it learns; 0.01 learns.",
    cause="the loss rises while the weights move by 4 % a step",
    because=None,
)
SPIKE = replace(
    DYING,
    code="TRN106",
    name="loss-spike",
    severity="note",
    where=(),
    measured=14.2,
    allowed=None,
    unit="loss",
    message="The loss jumped to 14.2 and came back.",
    cause="one batch was unlike the others",
    because=None,
    remedy=Remedy("data", "Look at the batch of this step, or clip the gradient."),
)
BACK = Fault(step=700, during="forward", operation="log", where="layers.8", action="rollback", restored=600)


def loss_at(step: int, *, noise: float = 0.05) -> float:
    return 0.3 + 2.0 * math.exp(-step / 250) * (1 + noise * math.sin(2.3 * step)) + 0.02 * math.sin(1.1 * step)


def layer(name: str, number: int, *, step: int, attention: bool = False) -> LayerReading:
    if attention:
        return LayerReading(name=name, kind="attention", logit_max=4.0 + 0.01 * step)
    return LayerReading(
        name=name,
        kind="linear",
        activation_rms=0.9 * 10 ** (-0.12 * (number % 20) + 0.0004 * step * math.sin(number)),
        zero_share=0.5,
        saturated_share=0.01 * (number % 7) if number % 2 else None,
        dead_share=min(0.9, 0.001 * step * (number % 3)) if step >= 100 else None,
    )


def reading(step: int, *, every: int, depth: int, name: Callable[[int], str]) -> Reading:
    first = max(min(step, 2), step - every + 1)
    parameters = tuple(
        ParameterReading(
            name=f"{name(number)}.{kind}",
            weight_rms=0.08 + 0.001 * number,
            gradient_rms=10 ** (-2.5 - 0.2 * (depth - number) / depth - 0.0005 * step),
            update_rms=8e-5 * (1 + 0.3 * math.sin(number + 0.01 * step)),
        )
        for number in range(depth)
        for kind in ("weight", "bias")
    )
    return Reading(
        step=step,
        seconds=0.004 * step,
        losses=tuple(loss_at(each) for each in range(first, step + 1)),
        learning_rates=(1e-3 * min(1.0, step / 100),),
        layers=tuple(layer(name(number), number, step=step) for number in range(depth)),
        parameters=parameters,
        gradient_norm=1.5 * math.exp(-step / 400) + 0.2,
        noise_scale=40 + 0.3 * step,
        noise_unit="examples",
        rows=64,
    )


def run(
    *,
    steps: int = 1200,
    every: int = 10,
    depth: int = 10,
    name: Callable[[int], str] = lambda number: f"layers.{2 * number}",
) -> RunFacts:
    """Return a healthy run that has ended."""
    recorded = [1, *range(every, steps + 1, every)] if every > 1 else range(1, steps + 1)
    return RunFacts(
        name="digits-mlp",
        model="Sequential",
        optimizer="AdamW(lr=0.001, weight_decay=0.01)",
        every=every,
        versions=VERSIONS,
        state="finished",
        reason="",
        steps=steps,
        seconds=0.004 * steps,
        readings=tuple(reading(step, every=every, depth=depth, name=name) for step in recorded),
        evaluations=tuple(
            Evaluation(
                step=step,
                epoch=step / 100,
                metrics={
                    "val_loss": loss_at(step, noise=0) + 0.0001 * step,
                    "val_accuracy": 0.97 - 0.3 * loss_at(step),
                },
            )
            for step in range(100, steps + 1, 100)
        ),
        snapshots=tuple(range(100, steps + 1, 100)),
    )


def troubled(**changes: int) -> RunFacts:
    """Return a run that is still going on after trouble."""
    return replace(
        run(**changes),
        state="running",
        events=(
            Event(step=240, finding=SPIKE),
            Event(step=500, finding=TOO_HIGH),
            Event(step=640, finding=DYING),
            Event(step=900, finding=replace(SPIKE, measured=3.1)),
        ),
        faults=(BACK,),
    )


def blank(**changes: object) -> RunFacts:
    """Return a run that has only begun."""
    facts = replace(run(), state="running", steps=0, seconds=0.0, readings=(), evaluations=(), snapshots=())
    return replace(facts, **changes)  # pyright: ignore[reportArgumentType]


def not_finite() -> RunFacts:
    """Return a run whose every number is NaN or infinite."""
    healthy = run(steps=200)
    layers = tuple(
        LayerReading(name=each.name, kind=each.kind, activation_rms=math.nan, saturated_share=math.nan)
        for each in healthy.readings[0].layers
    )
    parameters = tuple(
        ParameterReading(name=each.name, weight_rms=math.nan, gradient_rms=math.inf, update_rms=math.nan)
        for each in healthy.readings[0].parameters
    )
    readings = tuple(
        replace(
            each,
            losses=(math.nan,) * len(each.losses),
            layers=layers,
            parameters=parameters,
            gradient_norm=math.inf,
            noise_scale=math.nan,
        )
        for each in healthy.readings
    )
    evaluations = tuple(replace(each, metrics={"val_loss": math.nan}) for each in healthy.evaluations)
    fault = replace(BACK, step=1, action="stop", restored=None, operation="", where="", reason="the inputs are gone")
    return replace(
        healthy,
        readings=readings,
        evaluations=evaluations,
        faults=(fault,),
        state="failed",
        reason="NonFiniteError: step 1 came to numbers that are not finite.",
    )


def together() -> RunFacts:
    """Return a run of two processes, with attention, two groups, a loss scale and every kind of fault."""
    base = run(steps=300, depth=4)
    readings = tuple(
        replace(
            each,
            layers=(*each.layers, layer("attend", 4, step=each.step, attention=True)),
            learning_rates=(1e-3, 1e-4),
            loss_scale=65536.0,
            noise_scale=None,
            noise_unit="no noise scale: the batch was not cut into micro-batches",
        )
        for each in base.readings
    )
    faults = (
        Fault(step=40, during="loss", operation="nll_loss", where="", action="skip"),
        Fault(step=90, during="backward", operation="", where="layers.2.weight", action="rollback", rank=1),
        Fault(step=130, during="update", operation="", where="", action="skip", reason="the inputs are gone"),
        replace(BACK, rank=1),
    )
    said = replace(DYING, code="NUM101", name="nan-inf", where=("layers.8",), unit="", message="Step 700 came to NaN.")
    extremes = tuple(
        Extreme(quantity=quantity, value=value, where=where, step=290, rank=1)
        for quantity, value, where in (
            ("activation_rms", 7.2, "layers.2"),
            ("zero_share", 0.8, "layers.2"),
            ("saturated_share", 0.4, "layers.6"),
            ("dead_share", 0.3, "layers.4"),
            ("logit_max", 41.0, "attend"),
            ("loss", 9.1, ""),
        )
    )
    return replace(
        base,
        state="interrupted",
        reason="KeyboardInterrupt",
        steps=700,
        readings=readings,
        events=(Event(step=700, finding=said, rank=1),),
        faults=faults,
        extremes=extremes,
        num_ranks=2,
    )


RUNS: dict[str, Callable[[], RunFacts]] = {
    "run_healthy": run,
    "run_troubled": troubled,
    "run_blank": blank,
    "run_one_reading": lambda: blank(steps=1, seconds=0.004, readings=run(steps=1).readings),
    "run_not_finite": not_finite,
    "run_together": together,
    "run_stopped": lambda: replace(run(steps=100, every=1), state="stopped", reason="val_loss has not improved."),
    "run_lost": lambda: replace(run(steps=30), state="lost"),
    "run_deep": lambda: troubled(depth=1000, steps=900, every=100),
}
RUNS = {name: cache(made) for name, made in RUNS.items()}  # runs are values, and large ones take a while
GOLDEN: dict[str, tuple[str, int, str, str]] = {  # file: run, width, language, encoding
    "run_healthy_80": ("run_healthy", 80, "en", "utf-8"),
    "run_troubled_60": ("run_troubled", 60, "en", "utf-8"),
    "run_troubled_80": ("run_troubled", 80, "en", "utf-8"),
    "run_troubled_120": ("run_troubled", 120, "en", "utf-8"),
    "run_troubled_80_vi": ("run_troubled", 80, "vi", "utf-8"),
    "run_troubled_80_ascii": ("run_troubled", 80, "en", "ascii"),
    "run_together_80": ("run_together", 80, "en", "utf-8"),
    "run_not_finite_80": ("run_not_finite", 80, "en", "utf-8"),
    "run_blank_80": ("run_blank", 80, "en", "utf-8"),
    "run_deep_80": ("run_deep", 80, "en", "utf-8"),
}


def golden_run(name: str) -> str:
    """The view of a run as it stands in `tests/golden/`, without colour."""
    run_name, width, lang, encoding = GOLDEN[name]
    return run_text(RUNS[run_name](), width=width, encoding=encoding, lang=lang) + "\n"
