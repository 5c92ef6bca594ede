r"""What every Kullback-Leibler divergence must satisfy: the record, its laws, `check_divergence`."""

from mathcheck.divergence.divergence.laws import (
    additive_over_independent_coordinates,
    check_divergence,
    equals_the_certified_integral,
    equals_the_definition,
    finite_wherever_the_true_value_is,
    gradient_is_that_of_the_definition,
    never_negative,
    rows_are_independent,
    shape_and_dtype_are_those_of_the_arguments,
    zero_on_equal_arguments,
)
from mathcheck.divergence.divergence.record import DIAGONAL, Divergence

__all__ = [
    "DIAGONAL",
    "Divergence",
    "additive_over_independent_coordinates",
    "check_divergence",
    "equals_the_certified_integral",
    "equals_the_definition",
    "finite_wherever_the_true_value_is",
    "gradient_is_that_of_the_definition",
    "never_negative",
    "rows_are_independent",
    "shape_and_dtype_are_those_of_the_arguments",
    "zero_on_equal_arguments",
]
