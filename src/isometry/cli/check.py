"""`isometry check`: whether a network can train, on the screen, as a page or as one document."""

from typing import TYPE_CHECKING, Annotated

import typer

from isometry._errors import SettingsError
from isometry._options import (
    AsJson,
    Assign,
    BatchSize,
    Config,
    Form,
    Format,
    Html,
    Ignore,
    Input,
    Isolated,
    Lang,
    Model,
    Seed,
    Select,
    Steps,
    Verbose,
)
from isometry.cli.streams import BROKEN, document_stream, helpful_errors, make_console, require_places, write_line
from isometry.cli.subject import chosen_language, load, settings_of

if TYPE_CHECKING:
    from isometry.report.diagnosis import Diagnosis

JACOBIAN_VECTORS = 2  # random directions; their mean squares differ by a few per cent


def check(
    model: Model,
    *,
    input_words: Input = None,
    batch_size: BatchSize = 256,
    seed: Seed = 0,
    select: Select = None,
    ignore: Ignore = None,
    assign: Assign = None,
    steps: Steps = None,
    no_proof: Annotated[bool, typer.Option("--no-proof", help="Put no cause to an experiment.")] = False,
    jacobian: Annotated[bool, typer.Option("--jacobian", help="Measure the Jacobian's singular values.")] = False,
    config: Config = None,
    isolated: Isolated = False,
    form: Form = None,
    lang: Lang = None,
    as_json: AsJson = False,
    html: Html = None,
    verbose: Verbose = False,
) -> None:
    """Say whether a network can train; exit with 1 if it is broken."""
    with helpful_errors():
        chosen = _format(form, as_json=as_json)
        document = None if chosen is Format.text else document_stream()
        require_places(html)
        from isometry.checking.check import diagnose
        from isometry.checking.configuration import with_words
        from isometry.report.terminal import TerminalReport

        configuration = settings_of(config, isolated=isolated)
        lang = chosen_language(lang, configuration)
        settings = with_words(
            configuration.settings,
            select=select or (),
            ignore=ignore or (),
            assignments=assign or (),
            steps=steps,
            proofs=0 if no_proof else None,
            jacobian=JACOBIAN_VECTORS if jacobian else None,
        )
        diagnosis = diagnose(load(model, input_words, batch_size=batch_size, seed=seed), seed=seed, settings=settings)
        if html is not None:
            diagnosis.save_html(html, lang=lang)
        if document is not None:
            write_line(document, _in_format(chosen, diagnosis, model))
        else:
            make_console().print(TerminalReport(diagnosis, lang, verbose))
    raise typer.Exit(BROKEN if diagnosis.verdict == "broken" else 0)


def _format(form: Format | None, *, as_json: bool) -> Format:
    if as_json and form not in {None, Format.json}:
        raise SettingsError(f"--json and --format {form} both say what to print. Give one of them.")
    return Format.json if as_json else form or Format.text


def _in_format(form: Format, diagnosis: "Diagnosis", word: str) -> str:
    from isometry.checking.publish import annotations, sarif

    match form:
        case Format.sarif:
            return sarif(diagnosis, word)
        case Format.github:
            return annotations(diagnosis, word)
        case _:
            return diagnosis.to_json()
