import pytest

from isometry._errors import SettingsError
from isometry.checking.settings import Settings
from isometry.findings import RULES


@pytest.mark.parametrize("word", ["BWD101", "bwd101", "vanishing-gradient"])
def test_a_rule_is_selected_by_code_or_name(word: str) -> None:
    assert [rule.code for rule in Settings(select=(word,)).choose(RULES)] == ["BWD101"]


def test_the_beginning_of_a_code_stands_for_its_family() -> None:
    codes = {rule.code for rule in Settings(ignore=("BWD",)).choose(RULES)}

    assert codes == {code for code in RULES if not code.startswith("BWD")}


def test_a_word_that_leads_to_no_rule_is_refused_with_what_would() -> None:
    with pytest.raises(SettingsError, match="no rule has the code or name 'BWD999'"):
        Settings(select=("BWD999",)).choose(RULES)


@pytest.mark.parametrize("name", ["steps", "proofs", "jacobian"])
def test_what_is_spent_is_a_count(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}=-1"):
        Settings(**{name: -1})
