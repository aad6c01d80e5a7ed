"""The public names of isometry.training, for type checkers; `__init__.py` loads the same ones lazily."""

from isometry.training.optim.rate import rate_bound as rate_bound
from isometry.training.optim.rate_bound import RateBound as RateBound
from isometry.training.watching.adapters.lightning import LightningWatch as LightningWatch
from isometry.training.watching.adapters.skorch import SkorchWatch as SkorchWatch
from isometry.training.watching.adapters.transformers import TrainerWatch as TrainerWatch
from isometry.training.watching.checkpoint import load_checkpoint as load_checkpoint
from isometry.training.watching.reader import read_run as read_run
from isometry.training.watching.records import Records as Records
from isometry.training.watching.run import Run as Run
from isometry.training.watching.sink import Sink as Sink

__all__ = [
    "LightningWatch",
    "RateBound",
    "Records",
    "Run",
    "Sink",
    "SkorchWatch",
    "TrainerWatch",
    "load_checkpoint",
    "rate_bound",
    "read_run",
]
