"""Claims side by side: one row for what is asked in the same words, with dots where settings differ."""

from dataclasses import replace

from isometry._phrases import Phrase
from isometry.lab.experiment import Claim
from isometry.lab.outcome import Outcome
from isometry.lab.showing.comparison import comparison_table
from isometry.report.terminal import plain_text
from tests.lab.showing.outcomes import outcome, record


def through(count: int, *noises: float) -> Outcome:
    claims = [Claim(text=Phrase("through {count} layers", count=count), measured=-1.5 * count, high=-count)]
    claims += [
        Claim(text=Phrase("with {noise:.0%} of noise", noise=noise), measured=noise, low=0.1) for noise in noises
    ]
    return replace(outcome(record(0)), claims=tuple(claims))


def lines(*outcomes: Outcome, encoding: str = "utf-8", lang: str = "en") -> list[list[str]]:
    table = comparison_table([("first", each) for each in outcomes], encoding=encoding, lang=lang)
    return [line.split() for line in plain_text(table, width=120, encoding=encoding).splitlines()]


def test_claims_that_differ_by_a_setting_share_a_row_and_equal_ones_come_first() -> None:
    found = lines(through(15, 0.2, 0.4), through(10, 0.4))

    assert found == [
        ["claim", "first", "first"],
        ["through", "…", "layers", "-22.5", "(held)", "-15", "(held)"],
        ["at", "most", "-15", "at", "most", "-10"],
        ["with", "20%", "of", "noise", "0.2", "(held)"],
        ["at", "least", "0.1"],
        ["with", "40%", "of", "noise", "0.4", "(held)", "0.4", "(held)"],
        ["at", "least", "0.1", "at", "least", "0.1"],
    ]


def test_claims_of_one_outcome_stay_apart_and_what_only_one_has_has_a_row() -> None:
    found = lines(through(15), through(15, 0.2, 0.3))

    assert [line[:2] for line in found if line[0] in {"through", "with"}] == [
        ["through", "15"],
        ["with", "20%"],
        ["with", "30%"],
    ]


def test_a_console_of_ascii_gets_nothing_else() -> None:
    for lang in ("en", "vi"):
        found = lines(through(15), through(10), encoding="ascii", lang=lang)

        assert all(word.isascii() for line in found for word in line)
        assert found[1][:3] == ["through", "...", "layers"]
