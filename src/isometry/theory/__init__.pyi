"""The public names of isometry.theory, for type checkers; `__init__.py` loads the same ones lazily."""

from isometry.theory.criticality import CriticalPoint as CriticalPoint
from isometry.theory.criticality import backward_gain as backward_gain
from isometry.theory.criticality import critical_point as critical_point
from isometry.theory.criticality import forward_gain as forward_gain
from isometry.theory.criticality import length_map as length_map
from isometry.theory.criticality import length_slope as length_slope
from isometry.theory.criticality import susceptibility as susceptibility
from isometry.theory.duals import Dual as Dual
from isometry.theory.duals import dual_of as dual_of
from isometry.theory.duals import erf as erf
from isometry.theory.duals import gelu as gelu
from isometry.theory.duals import leaky_relu as leaky_relu
from isometry.theory.duals import sigmoid as sigmoid
from isometry.theory.duals import silu as silu
from isometry.theory.duals import tanh as tanh
from isometry.theory.fans import Fans as Fans
from isometry.theory.fans import fans_of as fans_of
from isometry.theory.fluctuations import log_norm_variance as log_norm_variance
from isometry.theory.kernel_flow import Spectrum as Spectrum
from isometry.theory.kernel_flow import flow_weights as flow_weights
from isometry.theory.kernel_flow import spectrum_of as spectrum_of
from isometry.theory.kernels import Kernels as Kernels
from isometry.theory.kernels import WideNetwork as WideNetwork
from isometry.theory.kernels import kernels_of as kernels_of
from isometry.theory.least_squares import LinearProblem as LinearProblem
from isometry.theory.least_squares import TwoScales as TwoScales
from isometry.theory.least_squares import descent_risk as descent_risk
from isometry.theory.least_squares import least_norm_risk as least_norm_risk
from isometry.theory.least_squares import marchenko_pastur as marchenko_pastur
from isometry.theory.least_squares import tuned_ridge_risk as tuned_ridge_risk
from isometry.theory.least_squares import two_scale_risk as two_scale_risk
from isometry.theory.meanfield import Depths as Depths
from isometry.theory.meanfield import correlation_map as correlation_map
from isometry.theory.meanfield import depths as depths
from isometry.theory.meanfield import relative_spread as relative_spread
from isometry.theory.meanfield import settled_length as settled_length
from isometry.theory.meanfield import slope_moments as slope_moments
from isometry.theory.phases import PhaseDiagram as PhaseDiagram
from isometry.theory.phases import critical_weight_variances as critical_weight_variances
from isometry.theory.phases import edge_of_chaos as edge_of_chaos
from isometry.theory.phases import phase_diagram as phase_diagram
from isometry.theory.products import Bounds as Bounds
from isometry.theory.products import Growth as Growth
from isometry.theory.products import lyapunov_exponents as lyapunov_exponents
from isometry.theory.products import product_bounds as product_bounds
from isometry.theory.products import product_growth as product_growth
from isometry.theory.quadrature import gaussian_mean as gaussian_mean
from isometry.theory.quadrature import gaussian_slope_mean_square as gaussian_slope_mean_square
from isometry.theory.spectra import LINEAR as LINEAR
from isometry.theory.spectra import Slopes as Slopes
from isometry.theory.spectra import jacobian_atoms as jacobian_atoms
from isometry.theory.spectra import jacobian_density as jacobian_density
from isometry.theory.spectra import jacobian_edge as jacobian_edge
from isometry.theory.spectra import jacobian_moments as jacobian_moments
from isometry.theory.spectra import slopes_of as slopes_of
from isometry.theory.stacks import Passage as Passage
from isometry.theory.stacks import Stack as Stack
from isometry.theory.stacks import passages as passages

__all__ = [
    "LINEAR",
    "Bounds",
    "CriticalPoint",
    "Depths",
    "Dual",
    "Fans",
    "Growth",
    "Kernels",
    "LinearProblem",
    "Passage",
    "PhaseDiagram",
    "Slopes",
    "Spectrum",
    "Stack",
    "TwoScales",
    "WideNetwork",
    "backward_gain",
    "correlation_map",
    "critical_point",
    "critical_weight_variances",
    "depths",
    "descent_risk",
    "dual_of",
    "edge_of_chaos",
    "erf",
    "fans_of",
    "flow_weights",
    "forward_gain",
    "gaussian_mean",
    "gaussian_slope_mean_square",
    "gelu",
    "jacobian_atoms",
    "jacobian_density",
    "jacobian_edge",
    "jacobian_moments",
    "kernels_of",
    "leaky_relu",
    "least_norm_risk",
    "length_map",
    "length_slope",
    "log_norm_variance",
    "lyapunov_exponents",
    "marchenko_pastur",
    "passages",
    "phase_diagram",
    "product_bounds",
    "product_growth",
    "relative_spread",
    "settled_length",
    "sigmoid",
    "silu",
    "slope_moments",
    "slopes_of",
    "spectrum_of",
    "susceptibility",
    "tanh",
    "tuned_ridge_risk",
    "two_scale_risk",
]
