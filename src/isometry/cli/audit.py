"""`isometry audit`: every parameter and buffer against what should have written it."""

from pathlib import Path
from typing import Annotated

import typer

from isometry._options import AsJson, Input, Lang, Model, PlanSeed
from isometry.cli.streams import BROKEN, document_stream, helpful_errors, make_console, write_line
from isometry.cli.subject import chosen_language, settings_of


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
    with helpful_errors():
        document = document_stream() if as_json else None
        from isometry.anatomy.builders import load_task_or_model, seed_everything
        from isometry.anatomy.task import Task
        from isometry.auditing.audit import audit as audit_model
        from isometry.auditing.result import AuditReport
        from isometry.planning.plan import Plan
        from isometry.planning.weights_file import load_weights

        lang = chosen_language(lang, settings_of(None, isolated=False))
        made = None if plan is None else Plan.load(plan)
        seed_everything(seed or 0)
        subject = load_task_or_model(model, input_words=input_words, seed=seed or 0)
        if weights is not None:
            load_weights(subject.model if isinstance(subject, Task) else subject, weights)
        found = audit_model(subject, made, seed=seed)
        if document is not None:
            write_line(document, found.to_json())
        else:
            make_console().print(AuditReport(found, lang))
    raise typer.Exit(BROKEN if found.verdict == "broken" else 0)
