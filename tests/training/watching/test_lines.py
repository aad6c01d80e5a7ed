import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from isometry._phrases import Phrase
from isometry.probes.running.readings import Evaluation, Fault, LayerReading, ParameterReading, Reading
from isometry.report.finding import Finding, Proof, Remedy
from isometry.report.run.facts import Event
from isometry.training.watching.lines import Layout, entry_of, from_text, line_of, to_text
from isometry.training.watching.sink import Entry

floats = st.floats(allow_nan=False)
some = st.none() | floats
names = st.text(max_size=5)
layers = st.builds(
    LayerReading, name=names, kind=names, activation_rms=some, logit_max=some, difference=some, is_output=st.booleans()
)
counts = st.none() | st.integers(1)
parameters = st.builds(ParameterReading, name=names, weight_rms=some, update_rms=some, sampled=counts)
readings = st.builds(
    Reading,
    step=st.integers(1),
    seconds=floats,
    losses=st.lists(floats).map(tuple),
    learning_rates=st.lists(floats).map(tuple),
    layers=st.lists(layers, max_size=3).map(tuple),
    parameters=st.lists(parameters, max_size=3).map(tuple),
    gradient_norm=some,
    nonfinite=st.lists(names).map(tuple),
)
evaluations = st.builds(Evaluation, step=st.integers(0), metrics=st.dictionaries(names, floats), epoch=some)
faults = st.builds(Fault, step=st.integers(1), during=names, operation=names, where=names, action=names)


def there_and_back(entry: Entry) -> Entry:
    layout = Layout.of(entry) if isinstance(entry, Reading) else Layout()
    text = to_text(line_of(entry))
    line = from_text(text)

    assert line is not None
    assert text.endswith("\n")
    assert "\n" not in text[:-1]
    json.loads(text, parse_constant=lambda word: (_ for _ in ()).throw(ValueError(word)))  # strict JSON has no NaN
    return entry_of(line, layout)


@given(readings | evaluations | faults)
def test_every_entry_is_read_as_it_was_written(entry: Entry) -> None:
    assert there_and_back(entry) == entry


@given(readings)
def test_a_layout_is_read_as_it_was_written(reading: Reading) -> None:
    layout = Layout.of(reading)

    assert Layout.from_line(json.loads(to_text(layout.line))) == layout


def test_numbers_that_are_not_finite_keep_their_kind() -> None:
    layer = LayerReading(name="0", kind="linear", activation_rms=-math.inf)
    reading = Reading(step=3, seconds=1.0, losses=(1.0, math.nan, math.inf), learning_rates=(0.1,), layers=(layer,))

    back = there_and_back(reading)

    assert isinstance(back, Reading)
    assert math.isnan(back.losses[1])
    assert back.losses[::2] == (1.0, math.inf)
    assert back.layers == reading.layers


def test_a_column_of_which_nothing_was_measured_is_left_out() -> None:
    layer = LayerReading(name="0", kind="linear", activation_rms=1.0)

    line = line_of(Reading(step=1, seconds=0.0, losses=(), learning_rates=(), layers=(layer, layer)))

    assert line["layers"] == {"activation_rms": [1.0, 1.0]}
    assert line["parameters"] == {}


def test_an_event_keeps_the_templates_of_its_sentences_for_other_languages() -> None:
    inner = Phrase("at most {count}", count=3)
    finding = Finding(
        code="TRN106",
        name="loss-spike",
        severity="note",
        where=("0", "1"),
        measured=math.nan,
        allowed=2.0,
        unit="deviations",
        message=Phrase("the loss jumped to {value:.3g}, {bound}", value=math.inf, bound=inner),
        cause="plain {braces}",
        because=None,
        proof=Proof("nothing", 1.0, 2.0, confirmed=True),
        remedy=Remedy("data", Phrase("Look at the batch.")),
    )

    back = there_and_back(Event(step=5, finding=finding))

    assert isinstance(back, Event)
    told: Any = back.finding.message
    assert told == "the loss jumped to inf, at most 3"
    assert (told.template, told.values["value"]) == ("the loss jumped to {value:.3g}, {bound}", math.inf)
    assert told.values["bound"].template == "at most {count}"
    assert (back.finding.cause, back.finding.where, back.finding.proof) == (finding.cause, ("0", "1"), finding.proof)
    assert isinstance(back.finding.remedy.text, Phrase)


def test_a_torn_line_is_none() -> None:
    text = to_text(line_of(Evaluation(step=1, metrics={"loss": 2.0})))

    assert [from_text(text[:cut]) for cut in range(1, len(text) - 2)] == [None] * (len(text) - 3)
    assert from_text("[1]") is None
