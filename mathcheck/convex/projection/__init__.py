r"""What every projection onto a closed convex set must satisfy: the record, its laws, `check_projection`.

$P(y) = \arg\min_{z \in C} \lVert y - z\rVert$ is the one point p of C with $\langle y - p,\, z - p\rangle \le 0$ for all z in C.
"""

from mathcheck.convex.projection.ball import no_point_of_the_ball_is_nearer, on_unit_ball, project_on_unit_ball
from mathcheck.convex.projection.laws import (
    Slip,
    check_projection,
    feasible,
    idempotent,
    nearest,
    non_expansive,
    points,
    points_of_the_set_stay,
    rows_are_independent,
    shape_and_dtype_stay,
)
from mathcheck.convex.projection.record import Projection
from mathcheck.convex.projection.sets import ConvexSet, Map, box, unit_ball

__all__ = [
    "ConvexSet",
    "Map",
    "Projection",
    "Slip",
    "box",
    "check_projection",
    "feasible",
    "idempotent",
    "nearest",
    "no_point_of_the_ball_is_nearer",
    "non_expansive",
    "on_unit_ball",
    "points",
    "points_of_the_set_stay",
    "project_on_unit_ball",
    "rows_are_independent",
    "shape_and_dtype_stay",
    "unit_ball",
]
