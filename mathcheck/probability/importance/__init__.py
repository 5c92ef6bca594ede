r"""What every importance-sampling estimator must satisfy: the record, its laws, `check_importance`.

K draws $x_k$ from a proposal q estimate a mean under p by the weights $w_k = p(x_k)/q(x_k)$, which are known by their
logarithms $\ell_k$: $\frac1K\sum_k w_k f(x_k)$, unbiased, or $\sum_k w_k f(x_k)/\sum_k w_k$ where p is known up to a factor.
"""

from mathcheck.probability.importance.laws import (
    check_importance,
    draws_of_weight_zero_are_limits,
    effective_size_is_between_one_and_all,
    equals_the_definition,
    linear_in_the_values,
    log_evidence_is_that_of_the_mean_weight,
    rows_are_independent,
    self_normalised_is_a_mean,
    shifts_with_its_weights,
    unbiased,
)
from mathcheck.probability.importance.record import Estimate, Importance, Weighted

__all__ = [
    "Estimate",
    "Importance",
    "Weighted",
    "check_importance",
    "draws_of_weight_zero_are_limits",
    "effective_size_is_between_one_and_all",
    "equals_the_definition",
    "linear_in_the_values",
    "log_evidence_is_that_of_the_mean_weight",
    "rows_are_independent",
    "self_normalised_is_a_mean",
    "shifts_with_its_weights",
    "unbiased",
]
