"""`isometry init`: new weights by a recipe or by a saved plan."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from isometry._errors import PlanError
from isometry._options import AsJson, BatchSize, Input, Model, PlanSeed, Protect
from isometry.cli.streams import document_stream, helpful_errors, make_console, require_places, write_line
from isometry.cli.subject import load

if TYPE_CHECKING:
    from torch import nn

    from isometry.anatomy.task import Task
    from isometry.planning.plan import Plan


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
    with helpful_errors():
        document = document_stream() if as_json else None
        require_places(out, save_plan)
        protected = tuple(protect or ())
        if plan is None:
            task = load(model, input_words, batch_size=batch_size, seed=seed or 0, protect=protected)
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
        console = make_console(quiet=as_json)
        console.print(made)
        places = {"hash": made.hash, "weights": str(out)} | ({} if save_plan is None else {"plan": str(save_plan)})
        for noun, words in places.items():
            console.print(f"{noun}: {escape(words)}", soft_wrap=True)
        if document is not None:
            head = {"schema": 1, "model": type(network).__name__, "seed": made.seed}
            tail = {"parameters": list(made.rows()), "notes": list(made.notes)}
            write_line(document, json.dumps(head | places | tail, indent=2, allow_nan=False))
    raise typer.Exit(0)


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
