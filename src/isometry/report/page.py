"""The report as one HTML file without network access: words first, then pictures, then every number as a table."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files

from isometry.probes.race_result import RaceResult
from isometry.report.alignment import paired
from isometry.report.course_pictures import jacobian_pictures, jacobian_table, trial_pictures
from isometry.report.facts import Facts
from isometry.report.language import say, speaking
from isometry.report.markup import EMPTY, SPACE, Column, Markup, code, element, escaped, joined, table
from isometry.report.outline import cost_sentence, loss_sentence, skipped_rows, tally, trial_sentence
from isometry.report.page_findings import findings_markup, sign_and_word
from isometry.report.page_tables import key_numbers, layer_table, plan_table, race_table
from isometry.report.pictures import layer_pictures, race_pictures
from isometry.report.plot import Picture, svg
from isometry.report.race import finals_sentence, settings_sentence, winner_sentence

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
AFTER_PREFIX = "after-"  # of the anchors of the second diagnosis


def page(
    before: Facts,
    *,
    after: Facts | None = None,
    race: RaceResult | None = None,
    plan_rows: Sequence[Mapping[str, str]] = (),
    title: str = "",
    lang: str = "en",
) -> str:
    """The whole report as an HTML document.

    Args:
        before: The diagnosis of the model as it was given.
        after: The diagnosis of the treated model, if there is one to compare with.
        race: What training both for a short time showed.
        plan_rows: The plan of the initialisation, a row a parameter; keys are the headings.
        title: What the browser's tab says; by default the model's name.
        lang: The language, `en` or `vi`.

    Returns:
        A document that loads nothing and runs nothing.
    """
    with speaking(lang):
        return _document(before, after=after, race=race, plan_rows=plan_rows, title=title, lang=lang)


def _document(
    before: Facts,
    *,
    after: Facts | None,
    race: RaceResult | None,
    plan_rows: Sequence[Mapping[str, str]],
    title: str,
    lang: str,
) -> str:
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", escaped(title or f"{before.model}: {say(before.verdict)}")),
    )
    body = element(
        "body", Markup(fragment(before, after=after, race=race, plan_rows=plan_rows)), class_="isometry-page"
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang=lang)}\n"


def fragment(
    before: Facts,
    *,
    after: Facts | None = None,
    race: RaceResult | None = None,
    plan_rows: Sequence[Mapping[str, str]] = (),
) -> str:
    """The report with its style as one element, to stand inside another page such as a notebook.

    Args:
        before: As for `page`.
        after: As for `page`.
        race: As for `page`.
        plan_rows: As for `page`.

    Returns:
        A `style` and a `main` element; the style touches nothing outside.
    """
    style = files("isometry.report").joinpath("style.css").read_text(encoding="utf-8")
    content = element(
        "main",
        _headline(before, after),
        *_findings(before, after),
        *_numbers_and_pictures(before, after),
        *_race(race),
        *_trials([before] if after is None else [before, after]),
        *_jacobians([before] if after is None else [before, after]),
        *_section("Plan", plan_table(plan_rows) if plan_rows else EMPTY),
        *_layers(before, after),
        *_remarks([before] if after is None else [before, after]),
        _measurement(before, after),
        class_="isometry",
    )
    return f"<style>\n{style}</style>\n{content}"


def _headline(before: Facts, after: Facts | None) -> Markup:
    lines = [_verdict(before, "" if after is None else "before")]
    if after is not None:
        lines.append(_verdict(after, "after"))
    return element(
        "header",
        element("p", escaped(say("isometry: can this network train?")), class_="eyebrow"),
        element("h1", escaped(before.model)),
        *lines,
    )


def _verdict(diagnosis: Facts, name: str) -> Markup:
    label = element("span", escaped(say(name)), SPACE, class_="side") if name else EMPTY
    rest = element("span", escaped(tally(diagnosis.findings)), class_="tally")
    return element("p", label, sign_and_word(diagnosis.verdict), SPACE, rest, class_="verdict")


def _findings(before: Facts, after: Facts | None) -> Iterator[Markup]:
    yield from _section("Findings" if after is None else "Findings before", findings_markup(before))
    if after is not None:
        yield from _section("Findings after", findings_markup(after, prefix=AFTER_PREFIX))


def _numbers_and_pictures(before: Facts, after: Facts | None) -> Iterator[Markup]:
    diagnoses = [before] if after is None else [before, after]
    names = ["measured"] if after is None else ["before", "after"]
    pairs = paired(before.layers, () if after is None else after.layers)
    figures = element("div", *map(_figure, layer_pictures(pairs, names=names)), class_="figures")
    title = "Key numbers" if after is None else "Before and after"
    yield from _section(title, joined((key_numbers(diagnoses, names), figures)))


def _race(race: RaceResult | None) -> Iterator[Markup]:
    if race is None:
        return
    content = (
        element("p", element("strong", escaped(f"{winner_sentence(race)}.")), SPACE, escaped(say(race.reason))),
        element("div", *map(_figure, race_pictures(race)), class_="figures"),
        element(
            "p",
            escaped(say("Thin lines: training loss. Marked lines: loss on the examples named above.")),
            class_="note",
        ),
        race_table(race),
        element("p", escaped(f"{finals_sentence(race.first)}; {finals_sentence(race.second)}."), class_="note"),
        element("p", escaped(f"{settings_sentence(race)}."), class_="note"),
    )
    yield from _section("Race", joined(content))


def _trials(diagnoses: Sequence[Facts]) -> Iterator[Markup]:
    sentences = [trial_sentence(each.trial) for each in diagnoses if each.trial is not None]
    figures = [_figure(picture) for picture in trial_pictures(diagnoses)]
    content = (*(element("p", escaped(f"{each}.")) for each in sentences), element("div", *figures, class_="figures"))
    yield from _section("Trial", joined(content) if sentences else EMPTY)


def _jacobians(diagnoses: Sequence[Facts]) -> Iterator[Markup]:
    for each in diagnoses:
        if each.jacobian is not None:
            figures = map(_figure, jacobian_pictures(each.jacobian))
            content = (jacobian_table(each.jacobian), element("div", *figures, class_="figures"))
            yield from _section("Jacobian, singular values", joined(content))


def _layers(before: Facts, after: Facts | None) -> Iterator[Markup]:
    pairs = paired(before.layers, () if after is None else after.layers)
    yield from _section("All layers", layer_table(pairs, is_comparison=after is not None) if pairs else EMPTY)


def _remarks(diagnoses: Sequence[Facts]) -> Iterator[Markup]:
    """Yield what was skipped and what is to be known about the measurement; what both have in common is said once."""
    skipped = skipped_rows(dict.fromkeys(row for diagnosis in diagnoses for row in diagnosis.skipped))
    columns = (Column(say("rules")), Column(say("reason")))
    yield from _section(
        "Skipped rules", table(say("Rules that were not judged"), columns, skipped) if skipped else EMPTY
    )
    warnings = dict.fromkeys(warning for diagnosis in diagnoses for warning in diagnosis.warnings)
    items = (element("li", escaped(say(warning))) for warning in warnings)
    yield from _section("Warnings", element("ul", *items) if warnings else EMPTY)


def _measurement(before: Facts, after: Facts | None) -> Markup:
    versions = Markup(", ".join(code(f"{name} {version}") for name, version in before.versions.items()))
    sentences = (
        [_conditions(before)]
        if after is None
        else [f"{say('before')}: {_conditions(before)}", f"{say('after')}: {_conditions(after)}"]
    )
    return element(
        "footer",
        element("h2", escaped(say("How this was measured"))),
        *(element("p", escaped(f"{sentence}.")) for sentence in sentences),
        element("p", versions),
    )


def _conditions(diagnosis: Facts) -> str:
    return "; ".join((loss_sentence(diagnosis), say("seed {seed}", seed=diagnosis.seed), cost_sentence(diagnosis.cost)))


def _section(title: str, content: Markup) -> Iterator[Markup]:
    """Yield a section with its heading; nothing if it is empty."""
    if content:
        yield element("section", element("h2", escaped(say(title))), content)


def _figure(picture: Picture) -> Markup:
    return element("figure", element("figcaption", escaped(picture.title)), svg(picture))
