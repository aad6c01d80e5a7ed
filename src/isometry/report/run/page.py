"""The summary of a run as one HTML file without network access: what happened, the courses, the layers over time."""

from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files

from isometry.report.language import say, speaking
from isometry.report.markup import EMPTY, SPACE, Markup, code, element, escaped, joined
from isometry.report.outline import Cause
from isometry.report.page import POLICY
from isometry.report.page_findings import article, badge, numbered_anchors
from isometry.report.plot import svg
from isometry.report.run.facts import RunFacts
from isometry.report.run.heat_map import HeatMap, heat_map, pooling_sentence
from isometry.report.run.history import Grid, Quantity, grids
from isometry.report.run.pictures import run_pictures
from isometry.report.run.tables import (
    evaluation_table,
    extreme_table,
    grid_table,
    key_numbers,
    layer_table,
    parameter_table,
)
from isometry.report.run.words import (
    Incident,
    fault_action,
    fault_cause,
    fault_sentence,
    incidents,
    progress_words,
    setting_words,
    sign_of,
    tally_words,
)

MAX_ARTICLES = 12  # incidents that stand open; older ones fold away
MAX_COLUMNS = 96  # recorded steps of a heat map
QUANTITIES: tuple[tuple[str, str, Quantity], ...] = (
    ("activation", "Activation at each layer, root mean square", lambda state: state.layer.activation_rms),
    ("gradient", "Gradient of each layer's weight, root mean square", lambda state: state.gradient_rms),
    ("update", "Update over weight, of each layer", lambda state: state.update_ratio),
)


def run_page(facts: RunFacts, *, lang: str = "en") -> str:
    """The summary of a run as an HTML document.

    Args:
        facts: The run, ended or not.
        lang: The language, `en` or `vi`.

    Returns:
        A document that loads nothing and runs nothing.
    """
    with speaking(lang):
        head = element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=POLICY),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("title", escaped(f"{facts.name}: {say(facts.state)}")),
        )
        body = element("body", Markup(run_fragment(facts)), class_="isometry-page")
        return f"<!DOCTYPE html>\n{element('html', head, body, lang=lang)}\n"


def run_fragment(facts: RunFacts) -> str:
    """Return the summary with its style as one element, to stand inside another page such as a notebook."""
    style = files("isometry.report").joinpath("style.css").read_text(encoding="utf-8")
    content = element(
        "main",
        _headline(facts),
        *_section("Events, newest first", _events(facts)),
        *_section("Key numbers", key_numbers(facts)),
        *_section("Course", _figures(facts)),
        *_section("Layers over the steps", _heat_maps(facts)),
        *_section("Evaluations", evaluation_table(facts)),
        *_section("The processes", extreme_table(facts)),
        *_section("All layers", layer_table(facts)),
        *_section("All parameters", parameter_table(facts)),
        _measurement(facts),
        class_="isometry",
    )
    return f"<style>\n{style}</style>\n{content}"


def _headline(facts: RunFacts) -> Markup:
    progress = element("span", escaped(" · ".join(progress_words(facts))), class_="tally")
    state = badge(sign_of(facts), facts.state)
    return element(
        "header",
        element("p", escaped(say("isometry: how did this training go?")), class_="eyebrow"),
        element("h1", escaped(facts.name)),
        element("p", state, SPACE, progress, class_="verdict"),
        element("p", escaped(say(facts.reason))) if facts.reason else EMPTY,
        element("p", escaped(" · ".join(setting_words(facts))), class_="note"),
    )


def _events(facts: RunFacts) -> Markup:
    happened = incidents(facts)[::-1]
    if not happened:
        return element("p", escaped(say("Nothing to report: no rule has found anything.")))
    anchor = numbered_anchors("")
    articles = [_incident(incident, anchor(_code(incident))) for incident in happened]
    rest = articles[MAX_ARTICLES:]
    summary = element("summary", escaped(say("and {count} more", count=len(rest))))
    return joined(
        (
            element("p", escaped(", ".join(tally_words(facts))), class_="note"),
            *articles[:MAX_ARTICLES],
            element("details", summary, *rest) if rest else EMPTY,
        )
    )


def _code(incident: Incident) -> str:
    return "fault" if incident.finding is None else incident.finding.code


def _incident(incident: Incident, anchor: str) -> Markup:
    finding, fault = incident.finding, incident.fault
    if finding is not None:
        shown = replace(finding, severity=incident.severity)
        done = ""
        if fault is not None:  # its words are plainer than those of the rule about it
            shown = replace(shown, cause=fault_cause(fault), measured=None, allowed=None)
            done = fault_action(fault)
        return article(Cause(shown, ()), lambda _: anchor, when=incident.time, done=done)
    time = element("span", escaped(incident.time), class_="when")
    return element(
        "article",
        element(
            "h3", badge(incident.severity, incident.severity), SPACE, escaped(incident.title), SPACE, time, id=anchor
        ),
        element("p", escaped("" if fault is None else fault_sentence(fault)), class_="message"),
        class_=f"finding {incident.severity}",
    )


def _figures(facts: RunFacts) -> Markup:
    figures = [
        element("figure", element("figcaption", escaped(picture.title)), svg(picture))
        for picture in run_pictures(facts)
    ]
    if not figures:
        words = say("No loss was finite.") if facts.readings else say("No step was recorded yet.")
        return element("p", escaped(words))
    note = say("Thin line: means of the training loss over stretches of steps. Lines from top to bottom: events.")
    return joined((element("div", *figures, class_="figures"), element("p", escaped(note), class_="note")))


def _heat_maps(facts: RunFacts) -> Markup:
    shown = grids(facts.readings, [quantity for _, _, quantity in QUANTITIES], most=MAX_COLUMNS)
    maps = [
        _heat_figure(key, say(title), grid)
        for (key, title, _), grid in zip(QUANTITIES, shown, strict=True)
        if not grid.is_empty
    ]
    if not maps:
        return EMPTY
    note = say("The stronger the colour, the larger; the scale is logarithmic. Below each picture stand its numbers.")
    return joined((element("p", escaped(note), class_="note"), element("div", *maps, class_="figures")))


def _heat_figure(key: str, title: str, grid: Grid) -> Markup:
    pooling = pooling_sentence(grid)
    return element(
        "figure",
        element("figcaption", escaped(title)),
        heat_map(HeatMap(f"heat-{key}", title, grid)),
        element("p", escaped(pooling), class_="note") if pooling else EMPTY,
        element("details", element("summary", escaped(say("numbers"))), grid_table(title, grid)),
    )


def _measurement(facts: RunFacts) -> Markup:
    versions = Markup(", ".join(code(f"{name} {version}") for name, version in facts.versions.items()))
    return element(
        "footer",
        element("h2", escaped(say("How this was measured"))),
        *(element("p", escaped(sentence)) for sentence in _conditions(facts)),
        element("p", versions),
    )


def _conditions(facts: RunFacts) -> Iterator[str]:
    if not facts.readings:
        return
    measured = [reading for reading in facts.readings if reading.is_measured] or facts.readings
    last = measured[-1]
    yield say(
        "{count} recorded steps are shown, every {every} steps one was recorded.",
        count=len(measured),
        every=facts.every,
    )
    if last.rows:
        yield say("Sizes at a layer are those of at most {rows} rows of its output.", rows=last.rows)
    if last.noise_scale is None and last.noise_unit:
        yield say("There is no noise scale: {reason}.", reason=say(last.noise_unit))


def _section(title: str, content: Markup) -> Iterator[Markup]:
    """Yield a section with its heading; nothing if it is empty."""
    if content:
        yield element("section", element("h2", escaped(say(title))), content)
