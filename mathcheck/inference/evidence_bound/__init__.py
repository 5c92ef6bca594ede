r"""What every estimate of a lower bound on the evidence must satisfy: the record, its laws, `check_evidence_bound`.

A latent-variable model has the evidence $p(x) = \sum_z p(x, z)$. K draws $z_k$ from a proposal q have the log-weights
$\ell_k = \log p(x, z_k) - \log q(z_k)$. The importance-weighted bound is $L_K = \mathbb E\log\frac1K\sum_k e^{\ell_k}$, and
$L_1 \le L_K \le L_{K+1} \le \log p(x)$; the ELBO is $L_1$, of which the mean of K log-weights is an estimate as well.
"""

from mathcheck.inference.evidence_bound.laws import (
    bounds_tighten_on_a_finite_model,
    bounds_tighten_on_a_normal_model,
    check_evidence_bound,
    draws_of_weight_zero_are_limits,
    equals_the_definition,
    gradient_is_the_normalised_weights,
    rows_are_independent,
    shifts_with_its_weights,
    symmetric,
    tight_at_the_posterior,
)
from mathcheck.inference.evidence_bound.record import EvidenceBound

__all__ = [
    "EvidenceBound",
    "bounds_tighten_on_a_finite_model",
    "bounds_tighten_on_a_normal_model",
    "check_evidence_bound",
    "draws_of_weight_zero_are_limits",
    "equals_the_definition",
    "gradient_is_the_normalised_weights",
    "rows_are_independent",
    "shifts_with_its_weights",
    "symmetric",
    "tight_at_the_posterior",
]
