r"""What every linear map and its adjoint must satisfy: the record, its laws, `check_linear_map`."""

from mathcheck.linear.linear_map.laws import (
    adjoint_moves_across_the_inner_product,
    backward_pass_is_the_adjoint,
    check_linear_map,
    equals_its_matrix,
    memory_layout_does_not_matter,
    rows_are_independent,
    shape_and_dtype_are_as_declared,
    sums_and_multiples_pass_through,
)
from mathcheck.linear.linear_map.record import LinearMap, Map

__all__ = [
    "LinearMap",
    "Map",
    "adjoint_moves_across_the_inner_product",
    "backward_pass_is_the_adjoint",
    "check_linear_map",
    "equals_its_matrix",
    "memory_layout_does_not_matter",
    "rows_are_independent",
    "shape_and_dtype_are_as_declared",
    "sums_and_multiples_pass_through",
]
