import pytest

from isometry.findings import RULES
from isometry.probes.activations import ActivationNumbers, ActivationTable
from isometry.probes.attention import AttentionNumbers, AttentionTable
from isometry.probes.courses import SignalCourse
from isometry.probes.recurrence import TimeTrace
from isometry.probes.saturation import Kind, SaturatedPlace, Saturation
from isometry.probes.traces import SignalTrace


def trace(*rms: float, spread: tuple[float | None, ...] | None = None) -> SignalTrace:
    return SignalTrace(tuple(f"layer{index}" for index in range(len(rms))), rms, spread or rms)


def table(*, silent: float | None = None, saturated: float | None = None, is_gate: bool = False) -> ActivationTable:
    quiet = ActivationNumbers("quiet", "relu", 0.2, 0.5, 0.0, is_gate=False)
    return ActivationTable((quiet, ActivationNumbers("layer", "relu", silent, None, saturated, is_gate)))


@pytest.mark.parametrize(
    ("rms", "codes"),
    [
        pytest.param((1.0, 0.8, 1.2), [], id="flat"),
        pytest.param((1.0, 1e-1, 1e-3), [], id="three decades down"),
        pytest.param((1.0, 1e-3, 1e-5), ["FWD101"], id="five decades down"),
        pytest.param((7.0, 1e-3, 0.0), ["FWD101"], id="down to zero"),
        pytest.param((1e-4, 1e-3, 0.9e-1), [], id="almost three decades up"),
        pytest.param((1e-5, 1e-1, 1.0), ["FWD102"], id="five decades up"),
    ],
)
def test_the_total_change_of_the_signal_decides(rms: tuple[float, ...], codes: list[str]) -> None:
    measured = {"FWD101": trace(*rms), "FWD102": SignalCourse(trace(*rms))}

    assert [code for code in measured if list(RULES[code](measured[code]))] == codes


@pytest.mark.parametrize(
    ("states", "found"),
    [
        pytest.param((0.1, 0.5, 1.0, 1.0, 1.0, 1.0), 0, id="it settles"),
        pytest.param((1.0, 2.0, 4.0, 8.0, 16.0, 1e3), 0, id="three decades"),
        pytest.param((1.0, 1.0, 1.0, 1.0, 1e3, 1e6), 1, id="six decades"),
    ],
)
def test_a_state_that_grows_through_time_is_an_explosion(states: tuple[float, ...], found: int) -> None:
    course = SignalCourse(None, (TimeTrace("cell", (1.0,) * len(states), states, is_gated=False),))

    assert [draft.where for draft in RULES["FWD102"](course)] == [("cell",)] * found


@pytest.mark.parametrize(
    ("spread", "found"),
    [
        pytest.param((1.0, 1.0, 1.0), 0, id="all of it differs"),
        pytest.param((0.5, 1e-2, 1e-3), 0, id="three decades"),
        pytest.param((0.5, 1e-2, 1e-6), 1, id="five decades and more"),
        pytest.param((1e-5, 1e-5, 1e-6), 0, id="alike from the input on"),
        pytest.param((None, None, None), 0, id="one sample"),
    ],
)
def test_rank_collapse_is_measured_against_what_differed_at_first(spread: tuple[float | None, ...], found: int) -> None:
    assert len(list(RULES["FWD105"](trace(1.0, 1.0, 1.0, spread=spread)))) == found


@pytest.mark.parametrize(
    ("places", "found"),
    [
        pytest.param((0.9, 0.5, 0.1), 0, id="they come nearer"),
        pytest.param((0.9, 1e-3, 1e-6), 1, id="tokens become one"),
        pytest.param((None, 1e-3, 1e-6), 0, id="no rows at first"),
        pytest.param((), 0, id="no rows at all"),
    ],
)
def test_tokens_that_become_one_are_a_rank_collapse(places: tuple[float | None, ...], found: int) -> None:
    drafts = list(RULES["FWD105"](SignalTrace(("a", "b", "c"), (1.0, 1.0, 1.0), (0.9, 0.9, 0.9), places)))

    assert len(drafts) == found
    assert all("attention" in draft.cause and draft.remedy.kind == "model" for draft in drafts)


@pytest.mark.parametrize("share", [0.6, 0.85, 0.95])
def test_gates_and_outputs_may_be_nearer_to_their_ends_than_activations(share: float) -> None:
    verdicts = {
        kind: [
            draft.severity or "error" for draft in RULES["FWD104"](Saturation((SaturatedPlace("a", "b", kind, share),)))
        ]
        for kind in ("activation", "gate")
    }

    assert verdicts["activation"] == ["warning" if share < 0.8 else "error"]
    assert verdicts["gate"] == ([] if share < 0.8 else ["warning"] if share < 0.9 else ["error"])


def test_a_signal_that_shrinks_as_a_whole_is_no_rank_collapse() -> None:
    assert not list(RULES["FWD105"](trace(1.0, 1e-5, 1e-9, spread=(0.5, 5e-6, 5e-10))))


@pytest.mark.parametrize(
    ("silent", "is_gate", "found"),
    [
        pytest.param(0.5, False, 0, id="half of the units is normal at depth"),
        pytest.param(0.9, False, 0, id="at the bound"),
        pytest.param(0.95, False, 1, id="almost all"),
        pytest.param(1.0, True, 0, id="a gate that is shut"),
        pytest.param(None, False, 0, id="too few samples"),
    ],
)
def test_dying_relu_fires_on_layers_that_are_almost_all_silent(silent: float | None, is_gate: bool, found: int) -> None:
    drafts = list(RULES["FWD103"](table(silent=silent, is_gate=is_gate)))

    assert [draft.where for draft in drafts] == [("layer",)] * found


@pytest.mark.parametrize(
    ("share", "severities"),
    [
        pytest.param(0.4, [], id="some"),
        pytest.param(0.6, ["warning"], id="most"),
        pytest.param(0.9, [None], id="almost all, with the rule's own severity"),
    ],
)
@pytest.mark.parametrize("kind", ["activation", "recurrence", "attention"])
def test_saturation_grows_from_a_warning_to_an_error(kind: Kind, share: float, severities: list[str | None]) -> None:
    places = (SaturatedPlace("quiet", "tanh", kind, 0.1), SaturatedPlace("loud", "tanh", kind, share))
    drafts = list(RULES["FWD104"](Saturation(places)))

    assert [draft.severity for draft in drafts] == severities
    assert all(draft.where == ("loud",) and "'loud'" in draft.cause for draft in drafts)


@pytest.mark.parametrize(
    ("deviations", "found"),
    [
        pytest.param((0.0, 0.0), 1, id="queries of zero"),
        pytest.param((1e-5, 4e-4), 1, id="hardly any difference"),
        pytest.param((0.0, 0.05), 0, id="one that tells keys apart"),
    ],
)
def test_uniform_attention_is_a_note_where_no_attention_tells_keys_apart(
    deviations: tuple[float, ...], found: int
) -> None:
    table = AttentionTable(tuple(AttentionNumbers("attention", ("query", "key"), 0.0, each) for each in deviations))

    assert len(list(RULES["FWD107"](table))) == found
    assert RULES["FWD107"].severity == "note"
