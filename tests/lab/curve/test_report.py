"""What a curve says, of curves made by hand."""

from dataclasses import replace

import pytest

from isometry.lab.curve.reading import Difference
from isometry.lab.curve.report import CurveReport, meaning_of
from isometry.lab.curve.result import Curve, Gain
from isometry.lab.showing.drawing import as_svg
from isometry.report.terminal import plain_text
from tests.lab.words import require_vietnamese, require_whole

CURVE = Curve(
    over="width",
    values=(8, 14, 20, 64),
    train_error=(0.16, 0.031, 0.004, 0.0),
    test_error=(0.302, 0.333, 0.33, 0.273),
    best_error=(0.183, 0.15, 0.141, 0.138),
    best_epoch=(38.0, 25.0, 22.0, 12.0),
    noise=(0.009, 0.009, 0.008, 0.008),
    diverged=(),
    course="peak",
    threshold=20,
    peak=14,
    current=14,
    position="at",
    better=64,
    gains=(
        Gain(decay=None, error=0.15, lower=Difference(0.183, 0.009)),
        Gain(decay=0.1, error=0.34, lower=Difference(-0.007, 0.01)),
        Gain(decay=9.0, error=0.9, lower=Difference(-0.567, 0.01)),
    ),
    kind="classes",
    num_epochs=400,
    num_train=1000,
    num_test=3000,
    num_seeds=3,
    optimizer="Adam(lr=0.001)",
    loss="cross_entropy",
    seconds=61.0,
)
REPORT = """\
Where on the curve: width 14 is at the peak: 33.3 %.
  From width 20 on everything is fitted.
  The lowest test error is 27.3 % at width 64.
  Surely better than width 14 is width 64: 27.3 %.

  width    training    test, at the end    noise    at its best epoch    epoch
  ----------------------------------------------------------------------------
      8      16.0 %              30.2 %    0.9 %               18.3 %       38
     14       3.1 %              33.3 %    0.9 %               15.0 %       25
     20       0.4 %              33.0 %    0.8 %               14.1 %       22
     64       0.0 %              27.3 %    0.8 %               13.8 %       12

  remedy at width 14        test error    change
  ---------------------------------------------------------------------
  stop at about epoch 25        15.0 %    lower by 18.3 %, noise 0.9 %
  weight decay 0.1              34.0 %    none beyond noise
  weight decay 9                90.0 %    higher by 56.7 %, noise 1.0 %

1000 examples learnt, 3000 held out, 3 seeds, 400 epochs of Adam(lr=0.001) on
cross_entropy, 61 s; noise is a standard error over seeds and held-out examples,
not over other examples to learn, and sure is what lies beyond three of it"""


def test_the_whole_report() -> None:
    assert str(CURVE) == REPORT


@pytest.mark.parametrize("lang", ["en", "vi"])
@pytest.mark.parametrize("width", [60, 120])
def test_no_line_is_wider_than_the_console(lang: str, width: int) -> None:
    told = plain_text(CurveReport(CURVE, lang), width=width, encoding="utf-8")

    assert max(map(len, told.splitlines())) <= width


def test_on_an_old_console_all_is_ascii() -> None:
    plain_text(CurveReport(CURVE), width=80, encoding="ascii").encode("ascii")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"current": 8, "position": "before"}, "width 8 is before the peak: 30.2 %, and 33.3 % at width 14."),
        ({"current": 64, "position": "after"}, "width 64 is behind the peak: 27.3 %, and 33.3 % at width 14."),
        ({"current": None, "position": None}, "the test error has its peak at width 14: 33.3 %."),
        ({"over": "samples"}, "14 examples is at the peak: 33.3 %."),
        ({"over": "epochs"}, "epoch 14 is at the peak: 33.3 %."),
        ({"course": "falls", "peak": None}, "no peak was seen: the test error falls, to 27.3 % at width 64."),
        ({"course": "rises", "peak": None}, "rises from 27.3 % at width 64 to 27.3 % at width 64"),
        ({"course": "flat", "peak": None}, "nothing can be said: the test errors, 27.3 % to 33.3 %"),
        ({"course": "diverged", "peak": None}, "nothing can be said: training diverged at most places."),
        ({"kind": "numbers"}, "width 14 is at the peak: 0.333."),
    ],
    ids=lambda value: ", ".join(map(str, value)) if isinstance(value, dict) else None,
)
def test_what_was_seen_is_told(changes: dict[str, object], words: str) -> None:
    assert words in meaning_of(replace(CURVE, **changes))


@pytest.mark.parametrize(
    ("changes", "words", "absent"),
    [
        ({"threshold": None}, "Nowhere is everything fitted: the training error is at least 0.0 %.", "From width"),
        ({"over": "samples"}, "Up to 20 examples everything is fitted.", "From"),
        ({"better": None}, "No larger value that was tried is surely better than width 14.", "Surely better"),
        ({"current": 64, "better": None, "gains": ()}, "The lowest", "larger value"),
        ({"course": "flat"}, "From width 20", "The lowest"),
        ({"course": "diverged", "peak": None}, "From width 20", "The lowest"),
        ({"diverged": (8, 14)}, "Training diverged at width 8, width 14: answers", "None"),
        ({"current": None, "gains": ()}, "The lowest", "remedy"),
    ],
    ids=lambda value: ", ".join(map(str, value)) if isinstance(value, dict) else None,
)
def test_the_sentences_below_it(changes: dict[str, object], words: str, absent: str) -> None:
    told = " ".join(str(replace(CURVE, **changes)).split())

    assert words in told
    assert absent not in told


def test_the_verdict_is_the_side_or_that_there_is_no_peak() -> None:
    assert CURVE.verdict == "at"
    assert replace(CURVE, peak=None, position=None).verdict == "no-peak"
    assert replace(CURVE, current=None, position=None, gains=()).verdict is None


def test_marks_that_coincide_are_one_and_the_picture_is_drawn() -> None:
    pytest.importorskip("matplotlib", reason="pictures are drawn with it")
    figure = replace(CURVE, current=20).figure

    assert figure.x_marks == ((20.0, "here, fitted"),)
    assert "here, fitted" in as_svg(figure)


@pytest.mark.parametrize("changes", [{}, {"current": 20}, {"kind": "numbers"}, {"over": "samples"}, {"over": "epochs"}])
def test_the_picture_speaks_vietnamese_and_has_room_for_every_word(changes: dict[str, object]) -> None:
    pytest.importorskip("matplotlib", reason="pictures are drawn with it")
    figure = replace(CURVE, **changes).figure

    require_vietnamese((figure,))
    require_whole((figure,))
