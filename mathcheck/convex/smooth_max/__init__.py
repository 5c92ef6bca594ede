r"""Smooth maximum $v_\beta(x) = \beta^{-1}\log\sum_i e^{\beta x_i}$: the record, its laws, and a safe implementation.

$\max_i x_i \le v_\beta(x) \le \max_i x_i + \log(n)/\beta$; the gradient is the softmax of $\beta x$; as $\beta\to\infty$ the
value tends to the maximum and the gradient to the uniform distribution on the set where it is attained.
"""

from mathcheck.convex.smooth_max.laws import (
    between_the_maximum_and_its_bound,
    check_smooth_max,
    convex,
    decreases_with_beta,
    equals_the_definition,
    gradient_is_the_softmax,
    gradient_tends_to_the_argmax,
    infinite_entries_are_limits,
    minus_infinity_has_no_weight,
    shape_and_dtype_are_those_of_the_argument,
    shifts_with_its_argument,
    symmetric,
    tends_to_the_maximum,
)
from mathcheck.convex.smooth_max.record import SmoothMax
from mathcheck.convex.smooth_max.reference import reference, smooth_max

__all__ = [
    "SmoothMax",
    "between_the_maximum_and_its_bound",
    "check_smooth_max",
    "convex",
    "decreases_with_beta",
    "equals_the_definition",
    "gradient_is_the_softmax",
    "gradient_tends_to_the_argmax",
    "infinite_entries_are_limits",
    "minus_infinity_has_no_weight",
    "reference",
    "shape_and_dtype_are_those_of_the_argument",
    "shifts_with_its_argument",
    "smooth_max",
    "symmetric",
    "tends_to_the_maximum",
]
