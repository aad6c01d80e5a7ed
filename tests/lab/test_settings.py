"""Settings of experiments as words, as values and as JSON."""

import json
import re
from typing import Any

import pytest

from isometry._errors import LabError
from isometry.lab.experiments.sigmoid_slope import SigmoidSlopeSettings
from isometry.lab.settings import as_config, assigned, changes, from_config
from tests.lab.invented import Inner, InventedSettings

USUAL = InventedSettings()


@pytest.mark.parametrize(
    ("word", "changed"),
    [
        ("factor=0.5", {"factor": 0.5}),
        ("factor=3", {"factor": 3.0}),
        ("width=64", {"width": 64}),
        ("name=a=b", {"name": "a=b"}),
        ("kind=bent", {"kind": "bent"}),
        ("is_wide=yes", {"is_wide": True}),
        ("is_wide=True", {"is_wide": True}),
        ("limit=0.25", {"limit": 0.25}),
        ("sizes=8,16,32", {"sizes": (8, 16, 32)}),
        ("sizes=8", {"sizes": (8,)}),
        ("hidden=64,64;32", {"hidden": ((64, 64), (32,))}),
        ("pair=5,b", {"pair": (5, "b")}),
        ("inner.depth=7", {"inner": Inner(depth=7)}),
        ("inner.rates=0.5,1e-3", {"inner": Inner(rates=(0.5, 1e-3))}),
    ],
)
def test_a_word_sets_a_value_of_its_kind(word: str, changed: dict[str, Any]) -> None:
    settings = assigned(USUAL, [word], owner="first")

    assert settings == InventedSettings(**changed)
    assert list(changes(settings, USUAL)) == [
        word.replace("yes", "True").replace("=3", "=3.0").replace("1e-3", "0.001")
    ]
    assert from_config(USUAL, json.loads(json.dumps(as_config(settings))), owner="first") == settings


def test_none_and_false_are_values_too() -> None:
    start = InventedSettings(limit=1.0, is_wide=True)

    assert assigned(start, ["limit=none", "is_wide=off"], owner="first") == USUAL


def test_several_words_are_set_one_after_the_other() -> None:
    settings = assigned(USUAL, ["width=5", "inner.depth=3", "inner.rates=1", "width=6"], owner="first")

    assert settings == InventedSettings(width=6, inner=Inner(depth=3, rates=(1.0,)))
    assert list(changes(settings, USUAL)) == ["width=6", "inner.depth=3", "inner.rates=1.0"]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("wdith=3", "names no setting of first. Write name=value, with one of: factor, width, name"),
        ("width", "names no setting of first"),
        ("inner=3", "names no setting of first.*inner.depth, inner.rates"),
        ("width=3.5", "the value must be a whole number"),
        ("width=", "the value must be a whole number"),
        ("factor=many", "the value must be a finite number"),
        ("factor=nan", "the value must be a finite number"),
        ("is_wide=maybe", "the value must be true or false"),
        ("kind=round", "the value must be one of plain, bent"),
        ("limit=high", "the value must be a finite number or none"),
        ("sizes=8,x", "the value must be several, with commas between them, each a whole number"),
        ("hidden=8;x", "the value must be several, with semicolons between them, each several, with commas"),
        ("pair=5", "the value must be a whole number and a word, with a comma between them"),
    ],
)
def test_a_word_that_cannot_be_meant_is_told_with_what_can(word: str, told: str) -> None:
    with pytest.raises(LabError, match=told):
        assigned(USUAL, [word], owner="first")


def test_several_may_be_none_where_none_are_usual() -> None:
    some = assigned(USUAL, ["broken=0,3"], owner="first")

    assert some == InventedSettings(broken=(0, 3))
    assert assigned(some, ["broken=1"], owner="first") == InventedSettings(broken=(1,))


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("width=0", "width=0 cannot be meant for first: it counts something, and must be at least 1."),
        ("sizes=4,0", "sizes=4,0 cannot be meant for first: it counts something, and must be at least 1."),
        ("hidden=4,-4;8", "hidden=4,-4;8 cannot be meant for first: it counts something, and must be at least 1."),
        ("sizes=", "sizes= cannot be meant for first: at least one is needed."),
        ("inner.depth=-1", "inner.depth=-1 cannot be meant for first: it counts something, and must be at least 1."),
        ("inner.rates=", "inner.rates= cannot be meant for first: at least one is needed."),
    ],
)
def test_a_value_that_leaves_nothing_to_measure_is_told(word: str, told: str) -> None:
    with pytest.raises(LabError, match=f"^{re.escape(told)}$"):
        assigned(USUAL, [word], owner="first")


def test_what_settings_themselves_refuse_is_told_in_their_own_words() -> None:
    with pytest.raises(LabError, match=r"--set 'num_points=4' cannot be meant: .*an odd count from 3 on is needed"):
        assigned(SigmoidSlopeSettings(), ["num_points=4"], owner="sigmoid-slope")


def test_a_record_without_a_setting_has_the_usual_one() -> None:
    assert from_config(USUAL, {"width": 4, "inner": {"depth": 5}}, owner="first") == InventedSettings(
        width=4, inner=Inner(depth=5)
    )


@pytest.mark.parametrize("config", [{"breadth": 4}, {"inner": {"height": 1}}, {"width": {"of": 3}}])
def test_a_record_with_settings_that_are_gone_is_told(config: dict[str, Any]) -> None:
    with pytest.raises(LabError, match=r"a record of first has settings it does not know.*Run it again"):
        from_config(USUAL, config, owner="first")
