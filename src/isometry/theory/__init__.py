"""Numbers in, numbers out: moments and critical points, signals in wide networks, spectra, products, kernels; no torch.

Names are loaded when they are first used.
"""

from isometry._lazy import lazy_names

_HOMES = {
    "Bounds": "isometry.theory.products",
    "CriticalPoint": "isometry.theory.criticality",
    "Depths": "isometry.theory.meanfield",
    "Dual": "isometry.theory.duals",
    "Fans": "isometry.theory.fans",
    "Growth": "isometry.theory.products",
    "Kernels": "isometry.theory.kernels",
    "LINEAR": "isometry.theory.spectra",
    "LinearProblem": "isometry.theory.least_squares",
    "Passage": "isometry.theory.stacks",
    "PhaseDiagram": "isometry.theory.phases",
    "Slopes": "isometry.theory.spectra",
    "Spectrum": "isometry.theory.kernel_flow",
    "Stack": "isometry.theory.stacks",
    "TwoScales": "isometry.theory.least_squares",
    "WideNetwork": "isometry.theory.kernels",
    "backward_gain": "isometry.theory.criticality",
    "correlation_map": "isometry.theory.meanfield",
    "critical_point": "isometry.theory.criticality",
    "critical_weight_variances": "isometry.theory.phases",
    "depths": "isometry.theory.meanfield",
    "descent_risk": "isometry.theory.least_squares",
    "dual_of": "isometry.theory.duals",
    "edge_of_chaos": "isometry.theory.phases",
    "erf": "isometry.theory.duals",
    "fans_of": "isometry.theory.fans",
    "flow_weights": "isometry.theory.kernel_flow",
    "forward_gain": "isometry.theory.criticality",
    "gaussian_mean": "isometry.theory.quadrature",
    "gaussian_slope_mean_square": "isometry.theory.quadrature",
    "gelu": "isometry.theory.duals",
    "jacobian_atoms": "isometry.theory.spectra",
    "jacobian_density": "isometry.theory.spectra",
    "jacobian_edge": "isometry.theory.spectra",
    "jacobian_moments": "isometry.theory.spectra",
    "kernels_of": "isometry.theory.kernels",
    "leaky_relu": "isometry.theory.duals",
    "least_norm_risk": "isometry.theory.least_squares",
    "length_map": "isometry.theory.criticality",
    "length_slope": "isometry.theory.criticality",
    "log_norm_variance": "isometry.theory.fluctuations",
    "lyapunov_exponents": "isometry.theory.products",
    "marchenko_pastur": "isometry.theory.least_squares",
    "passages": "isometry.theory.stacks",
    "phase_diagram": "isometry.theory.phases",
    "product_bounds": "isometry.theory.products",
    "product_growth": "isometry.theory.products",
    "relative_spread": "isometry.theory.meanfield",
    "settled_length": "isometry.theory.meanfield",
    "sigmoid": "isometry.theory.duals",
    "silu": "isometry.theory.duals",
    "slope_moments": "isometry.theory.meanfield",
    "slopes_of": "isometry.theory.spectra",
    "spectrum_of": "isometry.theory.kernel_flow",
    "susceptibility": "isometry.theory.criticality",
    "tanh": "isometry.theory.duals",
    "tuned_ridge_risk": "isometry.theory.least_squares",
    "two_scale_risk": "isometry.theory.least_squares",
}

__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll] - the stub beside this file lists them

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
