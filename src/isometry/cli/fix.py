"""`isometry fix` and `isometry demo`: a repair on the screen, and what came of it."""

from pathlib import Path
from typing import Annotated

import typer

from isometry._options import (
    AsJson,
    Assign,
    BatchSize,
    Config,
    Html,
    Ignore,
    Input,
    Isolated,
    Lang,
    Model,
    Protect,
    RaceSteps,
    Seed,
    Select,
    Steps,
)
from isometry._phrases import Phrase
from isometry.cli.streams import (
    BROKEN,
    document_stream,
    helpful_errors,
    make_console,
    print_said,
    require_places,
    write_line,
)
from isometry.cli.subject import chosen_language, load, settings_of


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
    with helpful_errors():
        document = document_stream() if as_json else None
        require_places(out, html)
        from isometry.checking.configuration import with_words
        from isometry.lab.screen import fix_on_screen
        from isometry.planning.weights_file import save_weights

        configuration = settings_of(config, isolated=isolated)
        lang = chosen_language(lang, configuration)
        settings = with_words(
            configuration.settings, select=select or (), ignore=ignore or (), assignments=assign or (), steps=steps
        )
        task = load(model, input_words, batch_size=batch_size, seed=seed, protect=tuple(protect or ()))
        console = make_console(quiet=as_json)
        repair, result = fix_on_screen(
            console, task, steps=race_steps if race else 0, seed=seed, lang=lang, settings=settings
        )
        if out is not None:
            save_weights(task.model, out)
            print_said(console, Phrase("weights: {path}", path=out), lang=lang)
        if html is not None:
            repair.save_html(html, result, lang=lang)
            print_said(console, Phrase("report: {path}", path=html), lang=lang)
        if document is not None:
            write_line(document, repair.to_json(result))
    raise typer.Exit(BROKEN if repair.after.verdict == "broken" else 0)


def demo(
    *,
    html: Annotated[Path, typer.Option(help="Where to write the report.")] = Path("isometry-demo.html"),
    seed: Seed = 0,
) -> None:
    """Find the textbook's deep sigmoid network broken, repair it, and race both on scikit-learn's digits."""
    with helpful_errors():
        require_places(html)
        from isometry.lab.demo import run_demo

        repair, _ = run_demo(make_console(), html=html, seed=seed)
    raise typer.Exit(BROKEN if repair.after.verdict == "broken" else 0)
