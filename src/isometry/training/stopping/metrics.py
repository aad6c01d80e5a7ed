"""What a stopping rule reads from an evaluation: a metric by its name, and which way it is better."""

import difflib
import math
import re
from typing import Any, Literal, SupportsFloat

from torch import Tensor

from isometry._errors import SettingsError, UnknownNameError
from isometry.probes.running.readings import Evaluation

Mode = Literal["auto", "min", "max"]
FALLING = "loss error err perplexity ppl mse rmse mae mape nll bce ce kl deviance brier ece bpc wer cer fid lpips"
RISING = "accuracy acc auc auroc f1 precision recall r2 iou dice bleu rouge map ap mrr ndcg kappa mcc psnr ssim reward"
FALLS, RISES = frozenset(FALLING.split()), frozenset(RISING.split())
NONFINITE = ("nan", "inf", "-inf")  # how JSON holds what it has no number for; float() reads each


def metric_of(evaluation: Evaluation, name: str) -> float:
    """Return a metric of an evaluation, which may be no finite number.

    Args:
        evaluation: Where to look.
        name: The metric's name, such as `val_loss`.

    Raises:
        UnknownNameError: If the evaluation has no such metric.
    """
    if name in evaluation.metrics:
        return float(evaluation.metrics[name])
    near = difflib.get_close_matches(name, evaluation.metrics, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    has = ", ".join(sorted(evaluation.metrics)) or "no metrics"
    raise UnknownNameError(
        f"the evaluation at step {evaluation.step} has no metric {name!r}.{hint} It has: {has}. "
        f"Pass it with each evaluation, or name another one."
    )


def sign_of(name: str, mode: Mode) -> int:
    """Return 1 where less of a metric is better, -1 where more is.

    Args:
        name: The metric's name; its words decide under `auto`.
        mode: `min`, `max` or `auto`.

    Raises:
        SettingsError: If the mode is none of these, or the name does not tell.
    """
    if mode in {"min", "max"}:
        return 1 if mode == "min" else -1
    if mode != "auto":
        raise SettingsError(f"mode={mode!r} is not known. Give 'min' where less is better, 'max' where more is.")
    words = words_of(name)
    if bool(words & FALLS) == bool(words & RISES):
        raise SettingsError(
            f"the name {name!r} does not tell whether less or more is better. Give mode='min' or 'max'."
        )
    return 1 if words & FALLS else -1


def number_of(value: SupportsFloat) -> float:
    """Return a number, also of a tensor that still has its graph.

    Args:
        value: A number, or a tensor of one.
    """
    return float(value.detach() if isinstance(value, Tensor) else value)


def evaluation_state(evaluation: Evaluation | None) -> dict[str, Any] | None:
    """Return an evaluation as plain numbers and strings that strict JSON can hold."""
    if evaluation is None:
        return None
    metrics = {name: number_state(value) for name, value in evaluation.metrics.items()}
    return {"step": evaluation.step, "epoch": evaluation.epoch, "metrics": metrics}


def evaluation_from(state: dict[str, Any] | None) -> Evaluation | None:
    """Return the evaluation that a saved state holds."""
    if state is None:
        return None
    metrics = {name: float(value) for name, value in state["metrics"].items()}
    return Evaluation(step=state["step"], epoch=state["epoch"], metrics=metrics)


def number_state(value: float) -> float | str:
    """Return a number as strict JSON can hold it: itself, or the word for one that is not finite."""
    return value if math.isfinite(value) else NONFINITE[0 if math.isnan(value) else 1 if value > 0 else 2]


def require_falling(name: str) -> str:
    """Return a metric's name, if it may be one where less is better.

    Args:
        name: The metric's name.

    Raises:
        SettingsError: If a word of the name says that more is better.
    """
    if words_of(name) & RISES and not words_of(name) & FALLS:
        raise SettingsError(f"of {name!r} more is better, and this rule reads a loss or an error. Name one of these.")
    return name


def words_of(name: str) -> set[str]:
    """Return the words of a metric's name, in small letters."""
    return set(re.split(r"[^a-z0-9]+", name.lower()))
