"""The public names of isometry.training, for type checkers; `__init__.py` loads the same ones lazily."""

from isometry.training.labels.memorisation import Memorisation as Memorisation
from isometry.training.labels.suspects import Suspects as Suspects
from isometry.training.optim.clipping import Clipped as Clipped
from isometry.training.optim.clipping import ClipTally as ClipTally
from isometry.training.optim.clipping import clip_global_norm_ as clip_global_norm_
from isometry.training.optim.decay_audit import DecayAudit as DecayAudit
from isometry.training.optim.decay_audit import audit_decay as audit_decay
from isometry.training.optim.lamb import LAMB as LAMB
from isometry.training.optim.lars import LARS as LARS
from isometry.training.optim.rate import rate_bound as rate_bound
from isometry.training.optim.rate_bound import RateBound as RateBound
from isometry.training.optim.spikes import ZClip as ZClip
from isometry.training.optim.units import clip_by_unit_norm_ as clip_by_unit_norm_
from isometry.training.optim.units import units_of as units_of
from isometry.training.stopping.best import BestWeights as BestWeights
from isometry.training.stopping.descent import DoubleDescent as DoubleDescent
from isometry.training.stopping.label_wave import LabelWave as LabelWave
from isometry.training.stopping.label_wave import PredictionChanges as PredictionChanges
from isometry.training.stopping.prechelt import GL as GL
from isometry.training.stopping.prechelt import PQ as PQ
from isometry.training.stopping.prechelt import UP as UP
from isometry.training.stopping.probe import RandomLabelProbe as RandomLabelProbe
from isometry.training.stopping.probe import probed as probed
from isometry.training.stopping.probe import with_random_labels as with_random_labels
from isometry.training.stopping.replay import STOPPING_RULES as STOPPING_RULES
from isometry.training.stopping.replayed import Replay as Replay
from isometry.training.stopping.rule import Decision as Decision
from isometry.training.stopping.rule import StoppingRule as StoppingRule
from isometry.training.watching.adapters.lightning import LightningWatch as LightningWatch
from isometry.training.watching.adapters.skorch import SkorchWatch as SkorchWatch
from isometry.training.watching.adapters.transformers import TrainerWatch as TrainerWatch
from isometry.training.watching.checkpoint import load_checkpoint as load_checkpoint
from isometry.training.watching.reader import read_run as read_run
from isometry.training.watching.records import Records as Records
from isometry.training.watching.run import Run as Run
from isometry.training.watching.sink import Sink as Sink
from isometry.training.watching.sinks.tensorboard import TensorBoard as TensorBoard
from isometry.training.watching.sinks.terminal import Terminal as Terminal
from isometry.training.watching.sinks.wandb import Wandb as Wandb

__all__ = [
    "GL",
    "LAMB",
    "LARS",
    "PQ",
    "STOPPING_RULES",
    "UP",
    "BestWeights",
    "ClipTally",
    "Clipped",
    "DecayAudit",
    "Decision",
    "DoubleDescent",
    "LabelWave",
    "LightningWatch",
    "Memorisation",
    "PredictionChanges",
    "RandomLabelProbe",
    "RateBound",
    "Records",
    "Replay",
    "Run",
    "Sink",
    "SkorchWatch",
    "StoppingRule",
    "Suspects",
    "TensorBoard",
    "Terminal",
    "TrainerWatch",
    "Wandb",
    "ZClip",
    "audit_decay",
    "clip_by_unit_norm_",
    "clip_global_norm_",
    "load_checkpoint",
    "probed",
    "rate_bound",
    "read_run",
    "units_of",
    "with_random_labels",
]
