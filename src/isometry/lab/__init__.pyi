"""The public names of isometry.lab, for type checkers; `__init__.py` loads the same ones lazily."""

from isometry.lab.curve.report import CurveReport as CurveReport
from isometry.lab.curve.result import Curve as Curve
from isometry.lab.curve.sweep import sweep as sweep
from isometry.lab.door import run_experiment as run_experiment
from isometry.lab.kernel_regression import WideNetworkClassifier as WideNetworkClassifier
from isometry.lab.kernel_regression import WideNetworkRegressor as WideNetworkRegressor
from isometry.lab.lazy import Laziness as Laziness
from isometry.lab.lazy import laziness as laziness
from isometry.lab.outcome import Outcome as Outcome
from isometry.lab.showing.drawing import save_png as save_png
from isometry.lab.showing.report import OutcomeReport as OutcomeReport
from isometry.probes.tangent.kernel import mean_tangent_kernel as mean_tangent_kernel
from isometry.probes.tangent.kernel import tangent_kernel as tangent_kernel
from isometry.probes.tangent.laziness import KernelSpectrum as KernelSpectrum
from isometry.probes.tangent.laziness import alignment as alignment
from isometry.probes.tangent.laziness import drift as drift
from isometry.probes.tangent.laziness import kernel_spectrum as kernel_spectrum

__all__ = [
    "Curve",
    "CurveReport",
    "KernelSpectrum",
    "Laziness",
    "Outcome",
    "OutcomeReport",
    "WideNetworkClassifier",
    "WideNetworkRegressor",
    "alignment",
    "drift",
    "kernel_spectrum",
    "laziness",
    "mean_tangent_kernel",
    "run_experiment",
    "save_png",
    "sweep",
    "tangent_kernel",
]
