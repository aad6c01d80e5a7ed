import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isometry.probes.race_result import Evaluation
from isometry.report.facts import LayerRow, Skipped
from isometry.report.page import POLICY, fragment, page
from tests.report.cases import SAME_OUTPUT, UNSCALED_INPUT, VANISHING, broken, diagnosis, race, repaired
from tests.report.html_reading import read

PLAN = ({"parameter": "head.weight", "scheme": "orthogonal"}, {"parameter": "head.bias", "reason": "<b>"})
PAGES = {
    "one": lambda: page(broken()),
    "healthy": lambda: page(repaired()),
    "empty": lambda: page(diagnosis(loss=None)),
    "compared": lambda: page(broken(), after=repaired(), race=race(), plan_rows=PLAN),
    "still broken": lambda: page(broken(), after=broken(), race=race(with_accuracy=False)),
}


@pytest.mark.parametrize("name", PAGES)
def test_every_element_closes_and_every_identifier_is_given_once(name: str) -> None:
    reading = read(PAGES[name]())

    assert len(reading.ids) == len(set(reading.ids))
    assert all(link["href"][1:] in reading.ids for link in reading.named("a"))


@pytest.mark.parametrize("name", PAGES)
def test_the_page_loads_nothing_and_runs_nothing(name: str) -> None:
    text = PAGES[name]()
    reading = read(text)

    assert re.search(r"https?:|//\w|url\(|@import", text) is None
    assert {tag for tag, _ in reading.elements}.isdisjoint({"script", "img", "link", "iframe", "object"})
    assert not any(key.startswith("on") or key == "src" for _, found in reading.elements for key in found)
    assert {"http-equiv": "Content-Security-Policy", "content": POLICY} in reading.named("meta")


def test_the_page_is_read_in_order_by_those_who_do_not_see_it() -> None:
    reading = read(PAGES["compared"]())
    levels = [int(tag[1]) for tag, _ in reading.elements if re.fullmatch(r"h\d", tag)]

    assert reading.named("html") == [{"lang": "en"}]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(following <= level + 1 for level, following in pairwise(levels))
    assert len(reading.named("caption")) == len(reading.named("table"))
    assert {heading["scope"] for heading in reading.named("th")} == {"col", "row"}
    assert all(picture["role"] == "img" for picture in reading.named("svg"))
    assert len(reading.named("svg")) == 6


def test_every_finding_has_an_anchor_of_its_code() -> None:
    assert {"BWD101", "FWD104", "LOS203", "DAT101"} <= set(read(PAGES["one"]()).ids)
    assert {"BWD101", "after-BWD101", "after-FWD104"} <= set(read(PAGES["still broken"]()).ids)


def test_two_findings_of_one_code_have_two_anchors() -> None:
    ids = read(page(diagnosis(UNSCALED_INPUT, replace(UNSCALED_INPUT, where=("mask",))))).ids

    assert {"DAT101", "DAT101-2"} <= set(ids)


def test_symptoms_fold_under_their_cause() -> None:
    text = page(diagnosis(VANISHING, SAME_OUTPUT))
    summary = "<summary>explains 1 more finding: rank-collapse</summary>"

    assert text.index('id="BWD101"') < text.index(summary) < text.index('id="FWD104"')


def test_everything_that_is_not_left_to_the_style_is_said_in_words() -> None:
    words = " ".join(read(PAGES["compared"]()).words)

    for part in ("broken", "healthy", "19 decades, allowed 4", "isometry fix", "cross_entropy", "seed 0", "2.13.0"):
        assert part in words


def test_names_of_a_user_never_become_elements() -> None:
    evil = '<script>alert("1")</script>\x00\ud800'
    finding = replace(UNSCALED_INPUT, where=(evil,) * 5, message=evil, cause=evil, unit=evil, name=evil)
    row = LayerRow(name=evil, kind=evil, activation_rms=1.0, gradient_rms=0.5)
    value = replace(
        diagnosis(finding, model=evil, layers=(row, row), warnings=(evil,), skipped=(Skipped("JAC101", evil),)),
        loss_name=evil,
        versions={evil: evil},
    )
    text = page(value, after=value, race=race(first=evil), plan_rows=({evil: evil},), title=evil)

    assert "<script" not in text
    assert text.encode("utf-8")
    assert read(text).named("script") == []


@given(name=st.text())
@settings(max_examples=50, deadline=None)
def test_any_name_leaves_the_page_whole(name: str) -> None:
    finding = replace(UNSCALED_INPUT, where=(name,), message=name)
    text = page(diagnosis(finding, model=name, layers=(LayerRow(name=name, kind=name, gradient_rms=1.0),)))

    assert text.encode("utf-8")
    assert read(text).named("h1")


@pytest.mark.parametrize("value", [None, 0.0, float("nan"), float("inf"), 5e-324, 1.7e308])
def test_strange_numbers_are_drawn_or_left_out(value: float | None) -> None:
    layers = tuple(LayerRow(name=f"a{n}", kind="x", activation_rms=value, gradient_rms=value) for n in range(3))
    result = race()
    side = replace(result.first, losses=(value,) * 3, evaluations=(Evaluation(0, value, value),), finals=(value,))
    text = page(diagnosis(layers=layers), after=repaired(), race=replace(result, first=side, second=side))

    assert read(text).named("table")
    assert re.search(r'="(nan|inf)', text) is None


def test_layers_that_only_one_side_has_appear_in_the_table() -> None:
    norm = LayerRow(name="added.norm", kind="layer_norm", gradient_rms=1.0)
    before, after = broken(), repaired()
    words = read(page(before, after=replace(after, layers=(after.layers[0], norm, *after.layers[1:])))).words
    words = words[words.index("All layers") :]

    assert words.index("hidden.0") < words.index("added.norm") < words.index("head")


def test_remarks_on_both_sides_are_said_once() -> None:
    before = diagnosis(warnings=("shared", "old"), skipped=(Skipped("JAC101", "no GPU"),))
    after = diagnosis(warnings=("shared", "new"), skipped=(Skipped("JAC101", "no GPU"),))
    words = read(page(before, after=after)).words

    assert [words.count(word) for word in ("shared", "old", "new", "no GPU (JAC101)")] == [1, 1, 1, 1]


def test_the_fragment_styles_nothing_outside_itself() -> None:
    text = fragment(broken())
    style = text[text.index("<style>") + 7 : text.index("</style>")]
    rules = re.sub(r"/\*.*?\*/", "", style, flags=re.S)
    selectors = [found.strip() for found in re.findall(r"([^{};]+)\{", rules)]

    assert text.count("<main") == 1
    assert all(selector.startswith((".isometry", "@media")) for selector in selectors)


def test_a_diagnosis_shows_and_saves_itself(tmp_path: Path) -> None:
    value = broken()
    value.save_html(tmp_path / "report.html")

    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page(value)
    assert value._repr_html_() == fragment(value)
