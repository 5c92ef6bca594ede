r"""What every quantile function must satisfy: the record, its laws, `check_quantile`.

The generalised inverse of a distribution function, $G(u) = \inf\{x : u \le F(x)\}$, is all that the equivalence
$G(u) \le x \iff u \le F(x)$ says; everything else follows from it.
"""

from mathcheck.probability.quantile.laws import (
    cdf_rises_from_zero_to_one,
    check_quantile,
    increasing,
    level_lies_between_the_limits,
    lower_adjoint_of_the_distribution_function,
    no_probability_lies_beyond_the_ends,
    shape_and_dtype_are_those_of_the_level,
)
from mathcheck.probability.quantile.record import Map, Quantile

__all__ = [
    "Map",
    "Quantile",
    "cdf_rises_from_zero_to_one",
    "check_quantile",
    "increasing",
    "level_lies_between_the_limits",
    "lower_adjoint_of_the_distribution_function",
    "no_probability_lies_beyond_the_ends",
    "shape_and_dtype_are_those_of_the_level",
]
