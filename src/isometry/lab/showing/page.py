"""The outcomes of experiments as one HTML page without network access."""

from collections.abc import Sequence
from importlib.resources import files

from isometry._errors import MissingExtraError
from isometry.lab.figure import Figure
from isometry.lab.outcome import Outcome
from isometry.lab.settings import words_of
from isometry.lab.showing.drawing import INK, PAPER, as_svg
from isometry.lab.showing.words import (
    claim_rows,
    failures,
    held_word,
    origin_sentence,
    record_sentence,
    setting_words,
    sign_of,
)
from isometry.report.language import say, speaking
from isometry.report.markup import EMPTY, Column, Markup, code, element, escaped, joined, table

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
CLAIM_COLUMNS = ("claim", "held", "measured", "range")


def outcome_page(outcomes: Sequence[Outcome], *, lang: str = "en") -> str:
    """Return a page with the claims and pictures of some experiments.

    Args:
        outcomes: What came of them.
        lang: The language, `en` or `vi`.

    Returns:
        A document that loads nothing and runs nothing; without matplotlib it has no pictures, and says so.
    """
    with speaking(lang):
        style = files("isometry.report").joinpath("style.css").read_text(encoding="utf-8")
        names = dict.fromkeys(outcome.study.name for outcome in outcomes)
        head = element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=POLICY),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("title", escaped(", ".join(names))),
            element("style", Markup(style)),
        )
        sections = [_summary(outcomes)] if len(outcomes) > 1 else []
        sections += [_section(outcome, number) for number, outcome in enumerate(outcomes)]
        content = element("main", *sections, class_="isometry lab")
        body = element("body", content, class_="isometry-page")
        return f"<!DOCTYPE html>\n{element('html', head, body, lang=lang)}\n"


def _summary(outcomes: Sequence[Outcome]) -> Markup:
    """Return what came of each, with a way to it."""
    lines = [
        element(
            "li",
            element("a", escaped(_name(outcome)), href=f"#outcome-{number}"),
            escaped(f": {held_word(outcome)} {record_sentence(outcome)}"),
        )
        for number, outcome in enumerate(outcomes)
    ]
    return element("section", element("h1", escaped(say("isometry: experiments of the lab"))), element("ul", *lines))


def _section(outcome: Outcome, number: int) -> Markup:
    columns = [Column(say(name)) for name in CLAIM_COLUMNS]
    rows = [(text, word, measured, allowed) for word, text, measured, allowed in claim_rows(outcome)]
    settings = list(words_of(outcome.study.settings).items())
    words = setting_words(outcome.study)
    return element(
        "section",
        element("p", escaped(say("isometry: an experiment of the lab")), class_="eyebrow"),
        element("h1", escaped(outcome.study.name)),
        element("p", code(words)) if words else EMPTY,
        element("p", escaped(say(outcome.study.question))),
        _verdict(outcome),
        table(say("Claims"), columns, rows) if rows else EMPTY,
        _failures(outcome),
        _pictures(outcome),
        element(
            "details",
            element("summary", escaped(say("Settings"))),
            table(say("Settings"), [Column(say("setting")), Column(say("value"))], settings),
        ),
        element("p", escaped(record_sentence(outcome)), class_="note"),
        element("p", escaped(origin_sentence(outcome)), class_="note"),
        element("p", escaped(outcome.study.experiment.source), class_="note"),
        id=f"outcome-{number}",
    )


def _verdict(outcome: Outcome) -> Markup:
    """Return whether all claims held, as a badge; what does not apply is told without one."""
    if outcome.why_not:
        return element("p", escaped(held_word(outcome)))
    badge = element("span", escaped(held_word(outcome)), class_=f"badge {sign_of(outcome)}")
    return element("p", badge, class_="verdict")


def _name(outcome: Outcome) -> str:
    return f"{outcome.study.name} {setting_words(outcome.study)}".strip()


def _failures(outcome: Outcome) -> Markup:
    return joined(
        element("div", element("p", escaped(who)), element("pre", *_lines(why)), class_="finding error")
        for who, why in failures(outcome)
    )


def _lines(text: str) -> list[Markup]:
    """Return lines with their indents, which are all that is told by white space."""
    return [Markup(f"{' ' * (len(line) - len(line.lstrip()))}{escaped(line)}\n") for line in text.splitlines()]


def _pictures(outcome: Outcome) -> Markup:
    try:
        return element("div", *(_picture(figure) for figure in outcome.figures), class_="plots")
    except MissingExtraError as error:
        return element("p", escaped(str(error)))


def _picture(figure: Figure) -> Markup:
    """Return a picture whose ink follows the page, light or dark."""
    drawn = as_svg(figure).replace(INK, "var(--ink)").replace(PAPER, "var(--paper)")
    label = escaped(say(figure.title))
    return element("figure", Markup(drawn.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)))
