r"""What every estimator of a gradient must satisfy: the record, its laws, `check_gradient_estimator`."""

from mathcheck.inference.gradient_estimator.laws import (
    Point,
    check_gradient_estimator,
    rows_are_independent,
    shape_and_dtype_are_those_of_the_arguments,
    unbiased,
    variance_is_as_stated,
)
from mathcheck.inference.gradient_estimator.record import Estimate, GradientEstimator, Variance

__all__ = [
    "Estimate",
    "GradientEstimator",
    "Point",
    "Variance",
    "check_gradient_estimator",
    "rows_are_independent",
    "shape_and_dtype_are_those_of_the_arguments",
    "unbiased",
    "variance_is_as_stated",
]
