from pathlib import Path

import pytest

from isometry._errors import SettingsError
from isometry.checking.configuration import find_configuration, load_configuration, with_words
from isometry.checking.settings import Settings
from isometry.findings import RULES

WHOLE = """
[tool.isometry]
select = ["BWD", "FWD", "start-loss"]
ignore = ["FWD105"]  # our tokens start alike
steps = 7
proofs = 2
jacobian = 3
lang = "vi"

[tool.isometry.rules.vanishing-gradient]
max-decay = 5.5  # 20 convolutions that learn lose 4.4
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "pyproject.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_sets_what_it_names(tmp_path: Path) -> None:
    made = load_configuration(written(tmp_path, WHOLE))
    chosen = {rule.code: rule for rule in made.settings.choose(RULES)}

    assert (made.settings.steps, made.settings.proofs, made.settings.jacobian, made.lang) == (7, 2, 3, "vi")
    assert "LOS101" in chosen
    assert "FWD105" not in chosen
    assert not [code for code in chosen if code.startswith("INI")]
    assert chosen["BWD101"].thresholds["max-decay"] == 5.5


def test_the_nearest_file_with_the_table_counts(tmp_path: Path) -> None:
    inner = tmp_path / "package" / "deep"
    inner.mkdir(parents=True)
    written(tmp_path, "[tool.isometry]\nsteps = 3")
    written(tmp_path / "package", "[project]\nname = 'other'")

    assert find_configuration(inner).settings.steps == 3
    assert find_configuration(inner).source == tmp_path / "pyproject.toml"


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert find_configuration(tmp_path).settings == Settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.isometry]\nstep = 3", "the key 'step'"),
        ("[tool.isometry]\nselect = 'BWD'", "select = 'BWD'"),
        ("[tool.isometry]\nsteps = -1", "steps=-1"),
        ("[tool.isometry]\nsteps = true", "steps=True"),
        ("[tool.isometry]\nlang = 'fr'", "lang = 'fr'"),
        ("[tool.isometry]\nrules = 3", r"\[tool.isometry.rules\]"),
        ("[tool.isometry]\nsteps = ", "no TOML"),
        ("[tool.other]", r"no table \[tool.isometry\]"),
    ],
)
def test_what_cannot_be_meant_is_told_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as error:
        load_configuration(written(tmp_path, text))

    assert "pyproject.toml" in str(error.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_configuration(tmp_path / "none.toml")


def test_words_select_anew_ignore_besides_and_set_thresholds() -> None:
    before = Settings(select=("BWD",), ignore=("FWD105",), thresholds={"BWD101": {"max-decay": 5.0}})
    after = with_words(
        before, select=["FWD,INI"], ignore=["NUM"], assignments=["BWD101.safe-decay=4.5"], steps=0, proofs=None
    )

    assert after.select == ("FWD", "INI")
    assert after.ignore == ("FWD105", "NUM")
    assert after.thresholds == {"BWD101": {"max-decay": 5.0, "safe-decay": 4.5}}
    assert (after.steps, after.proofs) == (0, before.proofs)


@pytest.mark.parametrize("assignment", ["BWD101", "BWD101.max-decay", "BWD101.max-decay=high"])
def test_a_word_that_sets_nothing_is_told(assignment: str) -> None:
    with pytest.raises(SettingsError, match="sets no threshold"):
        with_words(Settings(), assignments=[assignment])


def test_a_threshold_that_a_rule_lacks_is_told_with_those_it_has() -> None:
    with pytest.raises(SettingsError, match=r"BWD101 has no threshold 'decay'. Its thresholds: .*max-decay"):
        with_words(Settings(), assignments=["BWD101.decay=1"]).choose(RULES)


@pytest.mark.parametrize("value", [True, "5", None, float("nan")])
def test_a_threshold_is_a_number(value: object) -> None:
    with pytest.raises(SettingsError, match="a threshold is a number"):
        Settings(thresholds={"BWD101": {"max-decay": value}}).choose(RULES)
