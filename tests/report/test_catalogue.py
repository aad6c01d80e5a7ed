"""The headlines of findings: shares as percentages, short numbers, and one of a thing in the singular."""

import pytest

from isometry.report.catalogue import MESSAGES, ONE, message


def headline(code: str, measured: float, unit: str, *, allowed: float = 1.0) -> str:
    return message(code, where=("net.0",), measured=measured, allowed=allowed, unit=unit)


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        pytest.param(
            headline("FWD103", 1.0, "share of units", allowed=0.9),
            "100 % of the units behind 'net.0' are zero on every sample (90 % allowed).",
            id="a share that is whole",
        ),
        pytest.param(
            headline("FWD106", 0.5, "share of the gaps between layers", allowed=0.0),
            "Behind 'net.0' nothing nonlinear comes before the next layer, as at 50 % of the gaps.",
            id="a share of gaps",
        ),
        pytest.param(
            headline("NUM101", 1.0, "numbers that are not finite"),
            "One number is NaN or infinite in 'net.0'.",
            id="one",
        ),
        pytest.param(
            headline("NUM101", 2.0, "numbers that are not finite"),
            "2 numbers are NaN or infinite in 'net.0'.",
            id="two",
        ),
        pytest.param(
            headline("LOS101", 1.23456789e38, "loss"),
            "The loss starts at 1.23e38; up to 1 is a sensible start.",
            id="a number of 38 digits",
        ),
        pytest.param(
            headline("DAT101", 151.3, "root mean square", allowed=25.0),
            "'net.0' are not normalised: root mean square 151 (25 allowed).",
            id="what was measured is named",
        ),
        pytest.param(
            headline("INI102", 1.0, "distinct units", allowed=256.0),
            "Only one of the 256 units of 'net.0' is distinct.",
            id="one of many",
        ),
    ],
)
def test_a_headline_reads_as_people_say_it(told: str, sentence: str) -> None:
    assert told == sentence


def test_only_codes_with_a_sentence_have_one_for_a_single_thing() -> None:
    assert set(ONE) <= set(MESSAGES)
    assert all("{measured}" not in sentence for sentence in ONE.values())


def test_a_finding_without_a_number_has_its_sentence() -> None:
    assert message("INI101", where=(), measured=None, allowed=None) == (
        "the model is constant: all of its entries are one number."
    )
