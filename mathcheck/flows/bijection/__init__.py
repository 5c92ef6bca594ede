r"""What every bijection of a flow must satisfy: the record, its laws, `check_bijection`."""

from mathcheck.flows.bijection.context import conditional_bijection
from mathcheck.flows.bijection.laws import (
    check_bijection,
    determinant_keeps_its_sign,
    every_target_is_reached,
    finite_on_the_domain,
    inverse_log_det_is_the_negative,
    inverse_undoes_forward,
    log_det_is_that_of_the_jacobian,
    one_pass_is_two,
    rows_are_independent,
    shape_and_dtype_are_those_of_the_point,
)
from mathcheck.flows.bijection.record import Bijection, Map, Pair, Points

__all__ = [
    "Bijection",
    "Map",
    "Pair",
    "Points",
    "check_bijection",
    "conditional_bijection",
    "determinant_keeps_its_sign",
    "every_target_is_reached",
    "finite_on_the_domain",
    "inverse_log_det_is_the_negative",
    "inverse_undoes_forward",
    "log_det_is_that_of_the_jacobian",
    "one_pass_is_two",
    "rows_are_independent",
    "shape_and_dtype_are_those_of_the_point",
]
