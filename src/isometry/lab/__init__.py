"""Experiments that reproduce the phenomena behind the tool, and what they are made of, for one's own models.

Names are loaded when they are first used.
"""

from isometry._lazy import lazy_names

_HOMES = {
    "Curve": "isometry.lab.curve.result",
    "CurveReport": "isometry.lab.curve.report",
    "KernelSpectrum": "isometry.probes.tangent.laziness",
    "Laziness": "isometry.lab.lazy",
    "Outcome": "isometry.lab.outcome",
    "OutcomeReport": "isometry.lab.showing.report",
    "WideNetworkClassifier": "isometry.lab.kernel_regression",
    "WideNetworkRegressor": "isometry.lab.kernel_regression",
    "alignment": "isometry.probes.tangent.laziness",
    "drift": "isometry.probes.tangent.laziness",
    "kernel_spectrum": "isometry.probes.tangent.laziness",
    "laziness": "isometry.lab.lazy",
    "mean_tangent_kernel": "isometry.probes.tangent.kernel",
    "run_experiment": "isometry.lab.door",
    "save_png": "isometry.lab.showing.drawing",
    "sweep": "isometry.lab.curve.sweep",
    "tangent_kernel": "isometry.probes.tangent.kernel",
}

__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll] - the stub beside this file lists them

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
