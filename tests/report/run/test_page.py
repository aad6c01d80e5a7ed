import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from isometry.probes.running.readings import Evaluation
from isometry.report.page import POLICY
from isometry.report.run.facts import Event, RunFacts
from isometry.report.run.page import run_fragment, run_page
from isometry.report.run.tables import evaluation_table
from isometry.report.run.view import run_text
from tests.report.html_reading import read
from tests.report.run.cases import BACK, DYING, RUNS, SPIKE, blank, run, troubled
from tests.report.test_vietnamese import untranslated
from tests.report.words import asked

KINDS = [name for name in RUNS if name != "run_deep"]


@pytest.mark.parametrize("name", RUNS)
def test_every_element_closes_and_every_identifier_is_given_once(name: str) -> None:
    reading = read(run_page(RUNS[name]()))

    assert len(reading.ids) == len(set(reading.ids))
    assert all(link["href"][1:] in reading.ids for link in reading.named("a"))


@pytest.mark.parametrize("name", KINDS)
def test_the_page_loads_nothing_and_runs_nothing(name: str) -> None:
    text = run_page(RUNS[name]())
    reading = read(text)

    assert re.search(r"https?:|//\w|url\((?!#)|@import", text) is None
    assert {tag for tag, _ in reading.elements}.isdisjoint({"script", "img", "link", "iframe", "object"})
    assert not any(key.startswith("on") or key == "src" for _, found in reading.elements for key in found)
    assert {"http-equiv": "Content-Security-Policy", "content": POLICY} in reading.named("meta")


@pytest.mark.parametrize("name", KINDS)
def test_the_page_is_read_in_order_by_those_who_do_not_see_it(name: str) -> None:
    reading = read(run_page(RUNS[name]()))
    levels = [int(tag[1]) for tag, _ in reading.elements if re.fullmatch(r"h\d", tag)]

    assert levels.count(1) == 1
    assert all(following <= level + 1 for level, following in pairwise(levels))
    assert len(reading.named("caption")) == len(reading.named("table"))
    assert all(picture["role"] == "img" for picture in reading.named("svg"))


@pytest.mark.parametrize("name", RUNS)
def test_no_picture_has_a_place_that_is_no_number(name: str) -> None:
    drawn = "".join(re.findall(r"<svg.*?</svg>", run_page(RUNS[name]()), re.DOTALL))
    places = re.findall(r' (?:d|x|y|x1|x2|y1|y2|cx|cy|width|height|viewBox|fill-opacity)="([^"]*)"', drawn)

    assert not [place for place in places if re.search(r"nan|inf|e[+-]?\d", place)]


def test_every_event_and_fault_has_its_article_and_its_flag() -> None:
    reading = read(run_page(troubled()))
    flags = [each for each in reading.named("g") if each.get("class", "").startswith("flag ")]

    assert {"TRN101", "FWD103", "TRN106", "TRN106-2", "fault"} <= set(reading.ids)
    assert len(reading.named("article")) == 5
    assert len(flags) == 2 * 5, "on the loss and on the accuracy"


def test_an_event_about_a_fault_says_what_was_done_and_is_as_grave_as_that() -> None:
    event = Event(step=BACK.step, finding=replace(DYING, code="NUM101", name="nan-inf"))
    reading = read(run_page(replace(run(), events=(event,), faults=(BACK,))))

    assert [each["class"] for each in reading.named("article")] == ["finding warning"]
    assert any("training went back to step 600" in words for words in reading.words)


@pytest.mark.parametrize("shown", [run_page, run_text], ids=["page", "terminal"])
def test_what_was_done_about_a_fault_is_said_once(shown: Callable[[RunFacts], str]) -> None:
    finding = replace(DYING, code="NUM101", name="nan-inf", cause="log is the first to make one; training was stopped")
    fault = replace(BACK, action="stop", restored=None)
    facts = replace(run(), events=(Event(step=fault.step, finding=finding),), faults=(fault,))
    text = " ".join(shown(facts).split("<svg")[0].split())

    assert text.count("training was stopped") == 1
    assert "first made by log at layers.8" in text
    assert "allowed 0" not in text


def test_the_newest_event_stands_first_and_the_oldest_fold_away() -> None:
    text = run_page(replace(run(), events=tuple(Event(step=step, finding=SPIKE) for step in range(1, 40))))
    articles = text[text.index("<article") :]
    places = [articles.index(f">step {step}<") for step in (39, 28, 27, 1)]

    assert places == sorted(places)
    assert places[1] < articles.index("and 27 more") < places[2]


def test_many_evaluations_are_rows_up_to_a_bound() -> None:
    def rows(count: int) -> int:
        evaluations = tuple(Evaluation(step=step, metrics={"a": 1.0}) for step in range(count))
        return evaluation_table(replace(blank(), evaluations=evaluations)).count("<tr") - 1

    assert [rows(count) for count in (3, 200, 201, 400)] == [3, 200, 101, 200]


def test_many_events_fold_away() -> None:
    events = tuple(Event(step=step, finding=SPIKE) for step in range(1, 40))
    text = run_page(replace(run(), events=events))

    assert text.count("<article") == 39
    assert "and 27 more" in text


def test_a_run_without_a_number_says_so_in_words() -> None:
    assert "No step was recorded yet." in run_page(blank())
    assert "There is no noise scale: no noise scale: the batch" in run_page(RUNS["run_together"]())
    only_nan = replace(
        blank(), readings=tuple(replace(each, learning_rates=()) for each in RUNS["run_not_finite"]().readings)
    )
    assert "No loss was finite." in run_page(only_nan)


@given(name=st.text(min_size=1))
@settings(max_examples=25, deadline=None)
def test_any_name_is_shown_and_becomes_no_element(name: str) -> None:
    facts = run(steps=30, depth=2, name=lambda number: f"<b>{name}.{number}")
    evaluations = (Evaluation(step=20, metrics={f"<b>{name}": 1.0}),)
    event = Event(step=3, finding=replace(DYING, where=(f"<b>{name}",), cause=f"<b>{name}"))
    reading = read(run_page(replace(facts, name=f"<b>{name}", evaluations=evaluations, events=(event,))))

    assert not reading.named("b")


@given(numbers=st.lists(st.floats(), min_size=1, max_size=12), lang=st.sampled_from(["en", "vi"]))
@settings(max_examples=60, deadline=None)
def test_any_numbers_are_shown(numbers: list[float], lang: str) -> None:
    def number(place: int) -> float:
        return numbers[place % len(numbers)]

    facts = run(steps=30, depth=2, every=5)
    readings = tuple(
        replace(
            each,
            losses=tuple(number(each.step + place) for place in range(len(each.losses))),
            learning_rates=(number(each.step + 1),),
            gradient_norm=number(each.step + 2),
            noise_scale=number(each.step + 3),
            layers=tuple(
                replace(layer, activation_rms=number(place), dead_share=number(place + 1), logit_max=number(place + 2))
                for place, layer in enumerate(each.layers, start=each.step)
            ),
            parameters=tuple(
                replace(weight, weight_rms=number(place), gradient_rms=number(place + 1), update_rms=number(place + 2))
                for place, weight in enumerate(each.parameters, start=each.step)
            ),
        )
        for each in facts.readings
    )
    evaluations = tuple(Evaluation(step=step, metrics={"a_loss": number(step)}) for step in range(5))
    facts = replace(facts, readings=readings, evaluations=evaluations)
    text = run_text(facts, lang=lang, width=60)

    assert max(map(cell_len, text.splitlines())) <= 60
    assert read(run_page(facts, lang=lang)).named("main")


def test_a_page_of_a_thousand_layers_stays_small() -> None:
    facts = RUNS["run_deep"]()

    assert len(facts.readings[0].layers) == 1000
    assert len(run_fragment(facts)) < 2_000_000


@pytest.mark.parametrize("lang", ["en", "vi"])
def test_the_page_is_in_one_language(lang: str) -> None:
    with asked() as found:
        texts = [run_page(RUNS[name](), lang=lang) for name in KINDS]

    assert all(f'<html lang="{lang}">' in text for text in texts)
    assert untranslated(found) == []
