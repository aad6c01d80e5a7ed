"""Everything bounded that may sit where its slope is gone: activations, gates, those inside recurrences, attention."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from isometry.anatomy.operations import GATES
from isometry.probes.activations import ActivationNumbers, ActivationTable
from isometry.probes.attention import AttentionTable, AttentionWeights
from isometry.probes.evidence import Evidence, NotMeasuredError, measure, probe
from isometry.probes.recurrence import RecurrentRun, RecurrentRuns, run_first_layer
from isometry.probes.statistics import MIDDLES, SATURATED_SLOPE, to_floats
from isometry.probes.units import UnitActivity

# Sum over all steps of what a gate lets into a state, dimensionless: gates that are shut to remember longer than the
# sequence is, as chrono initialisation has them, let in more. (Tallec, Ollivier 2018, arXiv:1804.11188.)
MAX_LET_IN = 0.01
MIN_SIDE = 0.1  # of the saturated outputs, at the rarer end; a bias holds a gate at one end, as open forget gates are
LETS_IN = {"gru": ("update",), "lstm": ("input", "output"), "rnn_tanh": (), "rnn_relu": ()}
Kind = Literal["activation", "gate", "recurrence", "shut", "attention"]


@dataclass(frozen=True, slots=True)
class SaturatedPlace:
    """One bounded function.

    Attributes:
        layer: Name of the layer or module it belongs to.
        name: The function's name.
        kind: What it does: an activation behind a hidden layer; a gate, an output or another function beside the
            layers; a gate or state inside a recurrent operation; a gate there that lets nothing in or out; the
            weights of an attention.
        share: Share of its outputs whose slope is almost gone, in [0, 1]. Of gates, outputs and recurrences only
            where they lie at both ends, since a bias may hold them at one by design; of gates that are shut the share
            of units that they shut at all steps; of attentions the share of queries that look at one key alone.
        beside: Names of the layers that make its inputs, where it lies in a module of its own.
    """

    layer: str
    name: str
    kind: Kind
    share: float
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Saturation:
    """All bounded functions that signal and gradient pass, in the order of their kinds."""

    places: tuple[SaturatedPlace, ...]


@probe(Saturation, UnitActivity, AttentionWeights, RecurrentRuns)
def measure_saturation(evidence: Evidence) -> Saturation:
    """Gather how far everything bounded is saturated."""
    beside = (*_beside_layers(evidence), *_in_recurrences(evidence), *_attentions(evidence))
    places = (*_behind_layers(evidence), *beside)
    if not places:
        raise NotMeasuredError("no bounded activation, gate or attention comes behind a layer")
    return Saturation(places)


def _behind_layers(evidence: Evidence) -> list[SaturatedPlace]:
    return [
        SaturatedPlace(row.layer, row.name, "activation", row.saturated_share)
        for row in _rows(evidence)
        if row.saturated_share is not None and not row.is_gate
    ]


def _rows(evidence: Evidence) -> tuple[ActivationNumbers, ...]:
    try:
        return measure(evidence, ActivationTable).activations
    except NotMeasuredError:
        return ()


def _beside_layers(evidence: Evidence) -> list[SaturatedPlace]:
    """Return gates, outputs and what else is bounded, such as the states of a loop of cells."""
    anatomy, tape = evidence.anatomy, evidence.step.tape
    hidden = _hidden_activations(evidence)
    found: dict[tuple[str, str], SaturatedPlace] = {}
    for index in anatomy.flow.nodes:
        numbers, operation = evidence.numbers.get(index), tape.operations[index]
        if numbers is None or numbers.saturated_share is None or index in hidden or not anatomy.depths.get(index):
            continue
        share, high = numbers.saturated_share, numbers.high_share or 0.0
        key = (operation.module, operation.name)  # the steps of a loop run in one module
        if _is_at_both_ends(share, high) and (key not in found or found[key].share < share):
            found[key] = SaturatedPlace(tape.label(operation), operation.name, "gate", share)
    return list(found.values())


def _hidden_activations(evidence: Evidence) -> set[int]:
    """Return the operations of activations behind hidden layers that are no gates."""
    gates = {row.layer for row in _rows(evidence) if row.is_gate}
    return {
        index
        for layer in evidence.anatomy.layers
        if layer.activation_after is not None and not layer.is_head and layer.name not in gates
        for index in layer.activation_after.operations
    }


def _is_at_both_ends(share: float, high: float) -> bool:
    return share > 0 and min(high, share - high) >= MIN_SIDE * share


def _in_recurrences(evidence: Evidence) -> list[SaturatedPlace]:
    tape = evidence.step.tape
    found: list[SaturatedPlace] = []
    for index, run in evidence.observer(RecurrentRuns).runs.items():
        operation = tape.operations[index]
        for name, output in _bounded_parts(operation.name, run).items():
            is_tanh = name in {"state", "candidate"}
            slope = 1 - output.square() if is_tanh else 4 * output * (1 - output)
            is_flat = slope < SATURATED_SLOPE
            is_high = is_flat & (output > (0.0 if is_tanh else MIDDLES["sigmoid"]))
            share, high = to_floats([is_flat.float().mean(), is_high.float().mean()])
            if name in LETS_IN[operation.name]:
                through = 1 - output if name == "update" else output
                (shut,) = to_floats([(through.sum(0) < MAX_LET_IN).float().mean()])
                found.append(SaturatedPlace(tape.label(operation), name, "shut", shut))
            if _is_at_both_ends(share, high):
                found.append(SaturatedPlace(tape.label(operation), name, "recurrence", share))
    return found


def _bounded_parts(name: str, run: RecurrentRun) -> dict[str, Tensor]:
    """Return the gates and states of the first layer of a recurrent operation, computed again; none if it projects."""
    states = run_first_layer(name, run)
    if states is None or name == "rnn_relu":
        return {}
    if name == "rnn_tanh":
        return {"state": states}
    hidden = torch.cat([run.states[0][:1].float(), states[:-1]])
    into, back = (each.detach().float() for each in run.weights[:2])
    biases = [each.detach().float() for each in run.weights[2:4]] if run.settings[0] else [torch.zeros(len(into))] * 2
    parts = GATES[name]
    from_input = (run.inputs.float() @ into.T + biases[0]).chunk(parts, -1)
    from_state = (hidden @ back.T + biases[1]).chunk(parts, -1)
    gates = [one + two for one, two in zip(from_input, from_state, strict=True)]
    if name == "gru":
        reset, update = gates[0].sigmoid(), gates[1].sigmoid()
        return {"reset": reset, "update": update, "candidate": (from_input[2] + reset * from_state[2]).tanh()}
    return {
        "input": gates[0].sigmoid(),
        "forget": gates[1].sigmoid(),
        "candidate": gates[2].tanh(),
        "output": gates[3].sigmoid(),
    }


def _attentions(evidence: Evidence) -> list[SaturatedPlace]:
    try:
        table = measure(evidence, AttentionTable)
    except NotMeasuredError:
        return []
    return [
        SaturatedPlace(each.name, "softmax", "attention", each.one_hot_share, each.layers) for each in table.attentions
    ]
