r"""What every probability density must satisfy: the record, its laws, `check_density`."""

from mathcheck.probability.density.laws import (
    cdf_is_the_mass_below,
    cdf_rises_from_zero_to_one,
    check_density,
    finite_on_the_support,
    gradient_is_that_of_differences,
    integrates_to_one,
    integrates_to_one_at_all_parameters,
    is_the_distribution_named,
    minus_infinity_outside_the_support,
    one_parameter_serves_many_points,
    rows_are_independent,
    score_has_mean_zero,
    shape_and_dtype_are_those_of_the_point,
)
from mathcheck.probability.density.record import Density, Map

__all__ = [
    "Density",
    "Map",
    "cdf_is_the_mass_below",
    "cdf_rises_from_zero_to_one",
    "check_density",
    "finite_on_the_support",
    "gradient_is_that_of_differences",
    "integrates_to_one",
    "integrates_to_one_at_all_parameters",
    "is_the_distribution_named",
    "minus_infinity_outside_the_support",
    "one_parameter_serves_many_points",
    "rows_are_independent",
    "score_has_mean_zero",
    "shape_and_dtype_are_those_of_the_point",
]
