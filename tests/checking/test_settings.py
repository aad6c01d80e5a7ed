import pytest
import torch
from torch import nn

from isometry._errors import SettingsError
from isometry.checking.check import check
from isometry.checking.settings import Settings
from isometry.findings import AUDIT_RULES, RULES
from isometry.report.facts import IGNORED, Skipped


@pytest.mark.parametrize("word", ["BWD101", "bwd101", "vanishing-gradient"])
def test_a_rule_is_selected_by_code_or_name(word: str) -> None:
    assert [rule.code for rule in Settings(select=(word,)).choose(RULES)] == ["BWD101"]


def test_the_beginning_of_a_code_stands_for_its_family() -> None:
    codes = {rule.code for rule in Settings(ignore=("BWD",)).choose(RULES)}

    assert codes == {code for code in RULES if not code.startswith("BWD")}


def test_a_word_that_leads_to_no_rule_is_refused_with_what_would() -> None:
    with pytest.raises(SettingsError, match="no rule has the code or name 'BWD999'"):
        Settings(select=("BWD999",)).choose(RULES)


@pytest.mark.parametrize("word", ["INI104", "ini104", AUDIT_RULES["INI104"].name])
def test_a_rule_of_the_audit_is_told_to_be_one(word: str) -> None:
    with pytest.raises(SettingsError, match=f"the rule '{word}' belongs to isometry audit"):
        Settings(select=(word,)).choose(RULES)


def test_a_rule_of_watch_is_told_to_be_one() -> None:
    with pytest.raises(SettingsError, match=r"the rule 'overfitting' belongs to isometry\.watch"):
        Settings(ignore=("overfitting",)).choose(RULES)


def test_rules_that_the_settings_ignore_are_named_and_those_not_selected_are_not() -> None:
    made = Settings(select=("BWD",), ignore=("BWD102", "FWD"))

    assert made.ignored(RULES) == (Skipped("BWD102", IGNORED),)


def test_an_ignored_rule_is_among_the_skipped_ones_of_a_diagnosis() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    found = check(model, torch.ones(8, 4), settings=Settings(ignore=("NUM101",), steps=0, proofs=0))

    assert Skipped("NUM101", IGNORED) in found.skipped


@pytest.mark.parametrize("name", ["steps", "proofs", "jacobian"])
def test_what_is_spent_is_a_count(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}=-1"):
        Settings(**{name: -1})


def test_thresholds_under_the_code_and_the_name_of_one_rule_add_up() -> None:
    settings = Settings(thresholds={"BWD101": {"max-decay": 5.0}, "vanishing-gradient": {"safe-decay": 2.0}})
    chosen = next(rule for rule in settings.choose(RULES) if rule.code == "BWD101")

    assert (chosen.thresholds["max-decay"], chosen.thresholds["safe-decay"]) == (5.0, 2.0)
