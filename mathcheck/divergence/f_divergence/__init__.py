r"""What every f-divergence must satisfy, and the well-known ones: $D_f(P, Q) = \sum_{q_i > 0} q_i f(p_i/q_i) + f'(\infty)P(q = 0)$.

f is convex on the positive numbers with $f(1) = 0$; $f(0)$ is its limit and $f'(\infty) = \lim_{t\to\infty} f(t)/t$, both
possibly infinite. Without the last term, the *recession term*, the sum may be negative.
"""  # noqa: E501

from mathcheck.divergence.f_divergence.exact import Row, definition, enclosed
from mathcheck.divergence.f_divergence.laws import (
    check_f_divergence,
    equals_the_definition,
    jointly_convex,
    never_negative,
    pairs,
    processing_loses_information,
    rows_are_independent,
    zero_exactly_on_equal_arguments,
)
from mathcheck.divergence.f_divergence.record import FDivergence, Inf
from mathcheck.divergence.f_divergence.reference import (
    alpha_minus_half,
    alpha_three_halves,
    jensen_shannon,
    kl,
    neyman,
    pearson,
    reverse_kl,
    squared_hellinger,
    total_variation,
)

__all__ = [
    "FDivergence",
    "Inf",
    "Row",
    "alpha_minus_half",
    "alpha_three_halves",
    "check_f_divergence",
    "definition",
    "enclosed",
    "equals_the_definition",
    "jensen_shannon",
    "jointly_convex",
    "kl",
    "never_negative",
    "neyman",
    "pairs",
    "pearson",
    "processing_loses_information",
    "reverse_kl",
    "rows_are_independent",
    "squared_hellinger",
    "total_variation",
    "zero_exactly_on_equal_arguments",
]
