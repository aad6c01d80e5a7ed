"""The command `isometry`: parses words, calls the library, sets the exit code."""

import json
import os
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TextIO

import typer
from rich.console import Console
from rich.markup import escape

from isometry._errors import IsometryError, PlanError, SettingsError
from isometry._files import require_place
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
    PlanSeed,
    Protect,
    RaceSteps,
    Seed,
    Select,
    Steps,
    Verbose,
)

if TYPE_CHECKING:
    from torch import nn

    from isometry.anatomy.task import Task
    from isometry.checking.configuration import Configuration
    from isometry.planning.plan import Plan
    from isometry.report.diagnosis import Diagnosis

BROKEN, MISUSE = 1, 2
DEFECT = 70  # sysexits.h's code for a defect of the program
INTERRUPTED, PIPE_CLOSED = 130, 141  # the shell's codes for the signals
JACOBIAN_VECTORS = 2  # random directions; their mean squares differ by a few per cent

app = typer.Typer(
    help="Says whether a PyTorch network can train, names the cause, repairs the initialisation and proves it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
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
    with _helpful_errors():
        chosen = _format(form, as_json=as_json)
        document = None if chosen is Format.text else _document_stream()
        _require_places(html)
        from isometry.checking.check import diagnose
        from isometry.checking.configuration import with_words
        from isometry.report.terminal import TerminalReport

        configuration = _configuration(config, isolated=isolated)
        lang = _language(lang, configuration)
        settings = with_words(
            configuration.settings,
            select=select or (),
            ignore=ignore or (),
            assignments=assign or (),
            steps=steps,
            proofs=0 if no_proof else None,
            jacobian=JACOBIAN_VECTORS if jacobian else None,
        )
        diagnosis = diagnose(_load(model, input_words, batch_size=batch_size, seed=seed), seed=seed, settings=settings)
        if html is not None:
            diagnosis.save_html(html, lang=lang)
        if document is not None:
            _write_line(document, _in_format(chosen, diagnosis, model))
        else:
            _console().print(TerminalReport(diagnosis, lang, verbose))
    raise typer.Exit(BROKEN if diagnosis.verdict == "broken" else 0)


@app.command()
def fix(
    model: Model,
    *,
    out: Annotated[Path | None, typer.Option(help="Write the repaired weights here, as safetensors.")] = None,
    race: Annotated[bool, typer.Option("--race", help="Train both networks side by side and compare.")] = False,
    race_steps: RaceSteps = 300,
    protect: Protect = None,
    input_words: Input = None,
    batch_size: BatchSize = 256,
    seed: Seed = 0,
    select: Select = None,
    ignore: Ignore = None,
    assign: Assign = None,
    steps: Steps = None,
    config: Config = None,
    isolated: Isolated = False,
    lang: Lang = None,
    as_json: AsJson = False,
    html: Html = None,
) -> None:
    """Initialise again what the findings blame, and measure again; exit with 1 if the result is broken."""
    with _helpful_errors():
        document = _document_stream() if as_json else None
        _require_places(out, html)
        from isometry.checking.configuration import with_words
        from isometry.lab.screen import fix_on_screen
        from isometry.planning.weights_file import save_weights

        configuration = _configuration(config, isolated=isolated)
        lang = _language(lang, configuration)
        settings = with_words(
            configuration.settings, select=select or (), ignore=ignore or (), assignments=assign or (), steps=steps
        )
        task = _load(model, input_words, batch_size=batch_size, seed=seed, protect=tuple(protect or ()))
        console = _console(quiet=as_json)
        repair, result = fix_on_screen(
            console, task, steps=race_steps if race else 0, seed=seed, lang=lang, settings=settings
        )
        if out is not None:
            save_weights(task.model, out)
            console.print(f"weights: {escape(str(out))}", soft_wrap=True)
        if html is not None:
            repair.save_html(html, result, lang=lang)
            console.print(f"report: {escape(str(html))}", soft_wrap=True)
        if document is not None:
            _write_line(document, repair.to_json(result))
    raise typer.Exit(BROKEN if repair.after.verdict == "broken" else 0)


@app.command()
def init(
    model: Model,
    *,
    out: Annotated[Path, typer.Option(help="Write the weights here, as safetensors.")],
    recipe: Annotated[str | None, typer.Option(help="Name of a recipe or of a scheme; auto without one.")] = None,
    plan: Annotated[Path | None, typer.Option(help="Apply the plan of this file instead of making one.")] = None,
    save_plan: Annotated[Path | None, typer.Option(help="Write the plan here, as TOML.")] = None,
    protect: Protect = None,
    input_words: Input = None,
    batch_size: BatchSize = 256,
    seed: PlanSeed = None,
    as_json: AsJson = False,
) -> None:
    """Initialise a network by a recipe or by a saved plan, and write its weights."""
    with _helpful_errors():
        document = _document_stream() if as_json else None
        _require_places(out, save_plan)
        protected = tuple(protect or ())
        if plan is None:
            task = _load(model, input_words, batch_size=batch_size, seed=seed or 0, protect=protected)
            network, made = task.model, _made(task, recipe or "auto", seed=seed or 0)
        elif recipe is None:
            network, made = _replayed(model, plan, protect=protected, seed=seed)
        else:
            raise PlanError("--recipe and --plan both say what to write. Give one of them.")
        from isometry.planning.materialise import materialise
        from isometry.planning.weights_file import save_weights

        if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
            materialise(network, made)
        else:
            made.apply(network)
        save_weights(network, out)
        if save_plan is not None:
            made.save(save_plan)
        console = _console(quiet=as_json)
        console.print(made)
        places = {"hash": made.hash, "weights": str(out)} | ({} if save_plan is None else {"plan": str(save_plan)})
        for noun, words in places.items():
            console.print(f"{noun}: {escape(words)}", soft_wrap=True)
        if document is not None:
            head = {"schema": 1, "model": type(network).__name__, "seed": made.seed}
            tail = {"parameters": list(made.rows()), "notes": list(made.notes)}
            _write_line(document, json.dumps(head | places | tail, indent=2, allow_nan=False))
    raise typer.Exit(0)


@app.command()
def audit(
    model: Model,
    *,
    plan: Annotated[Path | None, typer.Option(help="Hold the weights against the plan of this file.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Load these weights first, as safetensors.")] = None,
    input_words: Input = None,
    seed: PlanSeed = None,
    lang: Lang = None,
    as_json: AsJson = False,
) -> None:
    """Look at every parameter and buffer for what nobody wrote or planned; exit with 1 if an error is found."""
    with _helpful_errors():
        document = _document_stream() if as_json else None
        from isometry.anatomy.builders import load_task_or_model, seed_everything
        from isometry.anatomy.task import Task
        from isometry.auditing.audit import audit as audit_model
        from isometry.auditing.result import AuditReport
        from isometry.planning.plan import Plan
        from isometry.planning.weights_file import load_weights

        lang = _language(lang, _configuration(None, isolated=False))
        made = None if plan is None else Plan.load(plan)
        seed_everything(seed or 0)
        subject = load_task_or_model(model, input_words=input_words, seed=seed or 0)
        if weights is not None:
            load_weights(subject.model if isinstance(subject, Task) else subject, weights)
        found = audit_model(subject, made, seed=seed)
        if document is not None:
            _write_line(document, found.to_json())
        else:
            _console().print(AuditReport(found, lang))
    raise typer.Exit(BROKEN if found.verdict == "broken" else 0)


@app.command()
def explain(
    word: Annotated[str | None, typer.Argument(metavar="[CODE or NAME]", help="Such as BWD101.")] = None,
) -> None:
    """Print what a finding means and what helps; without a code, list them all."""
    with _helpful_errors():
        from isometry.findings.explanation import explain as explain_rule
        from isometry.findings.explanation import pages

        console = _console()
        if word is not None:
            console.print(explain_rule(word), crop=False)
            return
        for page in pages():
            console.print(f"{page.code}  {page.name:22} {escape(page.title)}", soft_wrap=True)


@app.command()
def demo(
    *,
    html: Annotated[Path, typer.Option(help="Where to write the report.")] = Path("isometry-demo.html"),
    seed: Seed = 0,
) -> None:
    """Find the textbook's deep sigmoid network broken, repair it, and race both on scikit-learn's digits."""
    with _helpful_errors():
        _require_places(html)
        from isometry.lab.demo import run_demo

        repair, _ = run_demo(_console(), html=html, seed=seed)
    raise typer.Exit(BROKEN if repair.after.verdict == "broken" else 0)


def _configuration(config: Path | None, *, isolated: bool) -> "Configuration":
    from isometry.checking.configuration import Configuration, find_configuration, load_configuration

    if config is not None and isolated:
        raise SettingsError("--config names a file and --isolated reads none. Give one of them.")
    if isolated:
        return Configuration()
    return find_configuration() if config is None else load_configuration(config)


def _language(lang: str | None, configuration: "Configuration") -> str:
    """Return the language of a report; one that nobody speaks is told before the work."""
    from isometry.report.language import catalogue

    chosen = lang or configuration.lang
    catalogue(chosen)
    return chosen


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


def _load(word: str, input_words: str | None, *, batch_size: int, seed: int, protect: tuple[str, ...] = ()) -> "Task":
    from isometry.anatomy.builders import load_task, seed_everything

    seed_everything(seed)
    return load_task(word, input_words=input_words, protect=protect, batch_size=batch_size, seed=seed)


def _made(task: "Task", recipe: str, *, seed: int) -> "Plan":
    from isometry.repair import plan

    return plan(task, seed=seed, recipe=recipe)


def _replayed(word: str, path: Path, *, protect: tuple[str, ...], seed: int | None) -> "tuple[nn.Module, Plan]":
    """Return the model of a builder and the plan of a file, under another seed if one is given."""
    from isometry.anatomy.builders import load_model, seed_everything
    from isometry.planning.door import withhold
    from isometry.planning.plan import Plan

    saved = Plan.load(path)
    made = saved if seed is None else replace(saved, seed=seed)
    seed_everything(made.seed)
    model = load_model(word)
    return model, withhold(made, model, protect)


def _require_places(*places: Path | None) -> None:
    for place in places:
        if place is not None:
            require_place(place)


def _console(*, quiet: bool = False) -> Console:
    return Console(highlight=False, quiet=quiet)


def _document_stream() -> TextIO:
    """Return standard output for one document; what the user's code and its children print goes to standard error.

    It stays so until the process ends, since some libraries print a last line when they are unloaded.
    """
    sys.stdout.flush()
    try:
        document = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    except (OSError, ValueError):  # a stream without a file behind it, as in tests and notebooks
        document = sys.stdout
    sys.stdout = sys.stderr
    return document


def _write_line(document: TextIO, text: str) -> None:
    document.write(text + "\n")
    document.flush()


@contextmanager
def _helpful_errors() -> Generator[None]:
    """Print an error as its sentence, without a traceback; a defect of ours with it."""
    try:
        yield
    except IsometryError as error:
        _fail(f"{type(error).__name__}: {error}", MISUSE)
    except KeyboardInterrupt:
        _fail("Interrupted; nothing was left half written.", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads what is still buffered
        raise typer.Exit(PIPE_CLOSED) from None
    except typer.Exit:
        raise
    except Exception:  # noqa: BLE001 - nothing is hidden: the traceback is printed
        traceback.print_exc()
        _fail("This is a defect of isometry, not of your model: please report it with the lines above.", DEFECT)


def _fail(sentence: str, code: int) -> NoReturn:
    Console(stderr=True, highlight=False).print(escape(sentence), soft_wrap=True)
    raise typer.Exit(code)
