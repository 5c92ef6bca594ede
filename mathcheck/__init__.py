"""Is the maths right? The derivations behind generative models as proofs, as fast code, and as claims to judge by."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mathcheck.arrays import from_arrays as from_arrays
    from mathcheck.claim import Claim as Claim
    from mathcheck.claim import Refuted as Refuted
    from mathcheck.claim import Settings as Settings
    from mathcheck.claim import check as check
    from mathcheck.claim import verify as verify
    from mathcheck.convex.conjugate import Conjugate as Conjugate
    from mathcheck.convex.conjugate import check_conjugate as check_conjugate
    from mathcheck.convex.projection import Projection as Projection
    from mathcheck.convex.projection import check_projection as check_projection
    from mathcheck.convex.smooth_max import SmoothMax as SmoothMax
    from mathcheck.convex.smooth_max import check_smooth_max as check_smooth_max
    from mathcheck.divergence.divergence import Divergence as Divergence
    from mathcheck.divergence.divergence import check_divergence as check_divergence
    from mathcheck.evidence import Evidence as Evidence
    from mathcheck.evidence import Status as Status
    from mathcheck.flows.bijection import Bijection as Bijection
    from mathcheck.flows.bijection import check_bijection as check_bijection
    from mathcheck.inference.evidence_bound import EvidenceBound as EvidenceBound
    from mathcheck.inference.evidence_bound import check_evidence_bound as check_evidence_bound
    from mathcheck.inference.gradient_estimator import GradientEstimator as GradientEstimator
    from mathcheck.inference.gradient_estimator import check_gradient_estimator as check_gradient_estimator
    from mathcheck.linear.linear_map import LinearMap as LinearMap
    from mathcheck.linear.linear_map import check_linear_map as check_linear_map
    from mathcheck.markov.integrator import Integrator as Integrator
    from mathcheck.markov.integrator import check_integrator as check_integrator
    from mathcheck.markov.markov_kernel import MarkovKernel as MarkovKernel
    from mathcheck.markov.markov_kernel import check_markov_kernel as check_markov_kernel
    from mathcheck.probability.density import Density as Density
    from mathcheck.probability.density import check_density as check_density
    from mathcheck.probability.discrete_families import bernoullis as bernoullis
    from mathcheck.probability.discrete_families import categoricals as categoricals
    from mathcheck.probability.discrete_families import poissons as poissons
    from mathcheck.probability.families import normals as normals
    from mathcheck.probability.importance import Importance as Importance
    from mathcheck.probability.importance import check_importance as check_importance
    from mathcheck.probability.log_likelihood import LogLikelihood as LogLikelihood
    from mathcheck.probability.log_likelihood import check_log_likelihood as check_log_likelihood
    from mathcheck.probability.quantile import Quantile as Quantile
    from mathcheck.probability.quantile import check_quantile as check_quantile
    from mathcheck.probability.sampler import Sampler as Sampler
    from mathcheck.probability.sampler import check_sampler as check_sampler
    from mathcheck.pytest_plugin import parametrize as parametrize
    from mathcheck.residual import Ball as Ball
    from mathcheck.residual import Kind as Kind
    from mathcheck.residual import Residual as Residual
    from mathcheck.residual import Undecided as Undecided
    from mathcheck.residual import at_most as at_most
    from mathcheck.residual import close as close
    from mathcheck.residual import exactly as exactly

__version__ = "0.1.0"

# Loaded on first use: importing the package must not cost the seconds that torch takes.
_EXPORTS = {
    "mathcheck.residual": ["Ball", "Kind", "Residual", "Undecided", "at_most", "close", "exactly"],
    "mathcheck.evidence": ["Evidence", "Status"],
    "mathcheck.claim": ["Claim", "Refuted", "Settings", "check", "verify"],
    "mathcheck.arrays": ["from_arrays"],
    "mathcheck.pytest_plugin": ["parametrize"],
    "mathcheck.probability.families": ["normals"],
    "mathcheck.linear.linear_map": ["LinearMap", "check_linear_map"],
    "mathcheck.convex.conjugate": ["Conjugate", "check_conjugate"],
    "mathcheck.convex.projection": ["Projection", "check_projection"],
    "mathcheck.convex.smooth_max": ["SmoothMax", "check_smooth_max"],
    "mathcheck.probability.density": ["Density", "check_density"],
    "mathcheck.probability.discrete_families": ["bernoullis", "categoricals", "poissons"],
    "mathcheck.probability.importance": ["Importance", "check_importance"],
    "mathcheck.probability.log_likelihood": ["LogLikelihood", "check_log_likelihood"],
    "mathcheck.probability.quantile": ["Quantile", "check_quantile"],
    "mathcheck.probability.sampler": ["Sampler", "check_sampler"],
    "mathcheck.divergence.divergence": ["Divergence", "check_divergence"],
    "mathcheck.flows.bijection": ["Bijection", "check_bijection"],
    "mathcheck.inference.evidence_bound": ["EvidenceBound", "check_evidence_bound"],
    "mathcheck.inference.gradient_estimator": ["GradientEstimator", "check_gradient_estimator"],
    "mathcheck.markov.integrator": ["Integrator", "check_integrator"],
    "mathcheck.markov.markov_kernel": ["MarkovKernel", "check_markov_kernel"],
}
_WHERE = {name: module for module, names in _EXPORTS.items() for name in names}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'mathcheck' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
