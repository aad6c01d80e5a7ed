"""The findings of a diagnosis as HTML: each cause with its numbers, its symptoms folded below it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from isometry.report.facts import Facts
from isometry.report.finding import Finding
from isometry.report.glyphs import UNICODE
from isometry.report.language import say
from isometry.report.markup import EMPTY, SPACE, Markup, code, element, escaped, joined
from isometry.report.numerals import counted
from isometry.report.outline import MAX_PLACES, Cause, causes, measured_against, proof_sentence, suggestion


def findings_markup(diagnosis: Facts, *, prefix: str = "") -> Markup:
    """All findings, each with an anchor of its code.

    Args:
        diagnosis: Whose findings.
        prefix: What the anchors begin with, for a second diagnosis on the same page.

    Returns:
        An article a cause, or a sentence if there are no findings.
    """
    if not diagnosis.findings:
        return element("p", escaped(say("No findings: every rule that was judged holds.")))
    anchor = numbered_anchors(prefix)
    return joined(article(cause, anchor) for cause in causes(diagnosis.findings))


def sign_and_word(word: str) -> Markup:
    """Return a verdict or severity as sign and word; colour is added by the style, never instead."""
    return badge(word, word)


def badge(kind: str, word: str) -> Markup:
    """Return a word under the sign and colour of a verdict or severity."""
    sign = element("span", escaped(UNICODE.signs[kind]), aria_hidden="true")
    return element("span", sign, SPACE, escaped(say(word)), class_=f"badge {kind}")


def numbered_anchors(prefix: str) -> Callable[[str], str]:
    """Return a giver of identifiers for findings: the code, and from the second of one code on also a number."""
    given: Counter[str] = Counter()

    def anchor(finding_code: str) -> str:
        given[finding_code] += 1
        number = given[finding_code]
        return f"{prefix}{finding_code}" + (f"-{number}" if number > 1 else "")

    return anchor


def article(cause: Cause, anchor: Callable[[str], str], *, when: str = "", done: str = "") -> Markup:
    """A finding with its numbers, what it explains folded below it.

    Args:
        cause: The finding.
        anchor: Gives the identifier of its code.
        when: At what time it was made, for a run; else empty.
        done: What was done about it meanwhile, likewise.

    Returns:
        The article.
    """
    finding = cause.finding
    return element(
        "article",
        _heading(finding, anchor(finding.code), when),
        element("p", escaped(say(finding.message)), class_="message"),
        _facts(finding, done),
        _symptoms(cause.symptoms, anchor),
        class_=f"finding {finding.severity}",
    )


def _heading(finding: Finding, anchor: str, when: str) -> Markup:
    link = element("a", code(finding.code), href=f"#{anchor}")
    time = joined((SPACE, element("span", escaped(when), class_="when"))) if when else EMPTY
    return element("h3", sign_and_word(finding.severity), SPACE, link, SPACE, escaped(finding.name), time, id=anchor)


def _facts(finding: Finding, done: str = "") -> Markup:
    return element("dl", *(_fact(label, content) for label, content in _labelled(finding, done) if content))


def _fact(label: str, content: Markup) -> Markup:
    return element("div", element("dt", escaped(say(label))), element("dd", content))


def _labelled(finding: Finding, done: str) -> Iterator[tuple[str, Markup]]:
    yield "where", _where(finding.where)
    yield "measured", escaped(measured_against(finding))
    yield "cause", escaped(say(finding.cause))
    yield "because", code(finding.because) if finding.because else EMPTY
    yield "tested", EMPTY if finding.proof is None else escaped(proof_sentence(finding.proof, finding.unit))
    yield "done", escaped(done)
    yield "remedy", escaped(say(finding.remedy.text))
    yield "code", code(suggestion(finding.remedy)) if finding.remedy.suggestion else EMPTY


def _where(where: tuple[str, ...]) -> Markup:
    """Return the first names; the others fold away."""
    shown = _names(where[:MAX_PLACES])
    rest = where[MAX_PLACES:]
    if not rest:
        return shown
    return joined(
        (shown, element("details", element("summary", escaped(say("and {count} more", count=len(rest)))), _names(rest)))
    )


def _names(names: Iterable[str]) -> Markup:
    return Markup(", ".join(code(name) for name in names))


def _symptoms(symptoms: tuple[Finding, ...], anchor: Callable[[str], str]) -> Markup:
    if not symptoms:
        return EMPTY
    names = ", ".join(symptom.name for symptom in symptoms)
    words = say("explains {count}: {names}", count=counted(len(symptoms), "more finding"), names=names)
    summary = element("summary", escaped(words))
    return element("details", summary, *(_symptom(symptom, anchor(symptom.code)) for symptom in symptoms))


def _symptom(finding: Finding, anchor: str) -> Markup:
    return element(
        "section",
        element("h4", sign_and_word(finding.severity), SPACE, code(finding.code), SPACE, escaped(finding.name)),
        element("p", escaped(say(finding.message))),
        _facts(finding),
        id=anchor,
        class_="symptom",
    )
