"""The outcomes of experiments as one HTML page without network access."""

from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files

from isometry._errors import MissingExtraError
from isometry.lab.drawing import as_svg
from isometry.lab.runner import Outcome
from isometry.lab.words import claim_rows, held_word, record_sentence
from isometry.report.language import say, speaking
from isometry.report.markup import Column, Markup, element, escaped, joined, table

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
CLAIM_COLUMNS = ("", "claim", "measured", "range")


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
        head = element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=POLICY),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("title", escaped(", ".join(outcome.experiment.name for outcome in outcomes))),
            element("style", Markup(style)),
        )
        content = element("main", *(_section(outcome) for outcome in outcomes), class_="isometry")
        body = element("body", content, class_="isometry-page")
        return f"<!DOCTYPE html>\n{element('html', head, body, lang=lang)}\n"


def _section(outcome: Outcome) -> Markup:
    columns = [Column(say(name) if name else "") for name in CLAIM_COLUMNS]
    settings = [(name, str(value)) for name, value in asdict(outcome.settings).items()]
    return element(
        "section",
        element("p", escaped(say("isometry: an experiment of the lab")), class_="eyebrow"),
        element("h1", escaped(outcome.experiment.name)),
        element("p", escaped(say(outcome.experiment.question))),
        element("p", element("strong", escaped(held_word(outcome)))),
        table(say("Claims"), columns, claim_rows(outcome)),
        _pictures(outcome),
        table(say("Settings"), [Column(say("setting")), Column(say("value"))], settings),
        element("p", escaped(record_sentence(outcome))),
        element("p", escaped(outcome.experiment.source), class_="source"),
    )


def _pictures(outcome: Outcome) -> Markup:
    try:
        return joined(element("figure", Markup(as_svg(figure))) for figure in outcome.figures)
    except MissingExtraError as error:
        return element("p", escaped(str(error)))
