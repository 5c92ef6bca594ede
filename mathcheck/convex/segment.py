r"""Projection onto a set that fixes some coordinates and keeps the others between bounds.

$C = \{z : z_i = a_i \text{ for } i \in F,\ l \le z_i \le u \text{ otherwise}\}$, such as the segment $\{a\} \times [0, 1]$ or the
pictures that agree with the observed pixels. The nearest point of C has $z_i = a_i$ on F and $\min(\max(y_i, l), u)$ off it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from types import NoneType

import torch
import z3
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.convex.projection import Projection, Slip, box, points
from mathcheck.engine import arguments
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Kind, Residual, exactly
from mathcheck.engine.strategies import BATCH_SHAPES
from mathcheck.oracles import smt


def project_on_segment(y: Tensor, fixed: Tensor, values: Tensor, lower: float = 0.0, upper: float = 1.0) -> Tensor:
    r"""$P(y)_i = a_i$ where `fixed`, and $\min(\max(y_i, l), u)$ elsewhere: the nearest point, without rounding.

    Args:
        y: `(*batch, *event)`, any floats; infinite entries go to the bounds, NaN stays where it is not fixed.
        fixed: mask of the shape of y, or of the event, i.e. of its last dimensions.
        values: $a$, of the shape and the dtype of y or of its last dimensions; read only where `fixed`, where it need
            not lie in [lower, upper].
        lower: $l$, finite or $-\infty$.
        upper: $u$, finite or $\infty$, at least `lower`.

    Returns:
        A new tensor of the shape of y. Its gradient in y is 1 where $l \le y_i \le u$ and nothing is fixed, else 0.

    Raises:
        TypeError: if `y` or `values` is no floating tensor, `fixed` no mask, or a bound no number.
        ValueError: if dtypes or shapes do not fit, the bounds are not in order, or a fixed value is not finite.

    References:
        Boyd and Vandenberghe, Convex Optimization, section 8.1.1: projection on a rectangle.
    """
    arguments.floating(y=y, values=values)
    arguments.masks(fixed=fixed)
    arguments.numbers(lower=lower, upper=upper)
    for name, tensor in (("fixed", fixed), ("values", values)):
        if tensor.ndim > y.ndim or tensor.shape != y.shape[y.ndim - tensor.ndim :]:
            raise ValueError(f"{name} must have the last dimensions of y, {tuple(y.shape)}, got {tuple(tensor.shape)}")
    if not (lower <= upper and lower < math.inf and upper > -math.inf):
        raise ValueError(f"lower must not exceed upper, got lower={lower}, upper={upper}")
    if not bool((values.isfinite() | ~fixed).all()):
        raise ValueError("values must be finite where fixed, got an infinite or NaN entry")
    return torch.where(fixed, values, y.clamp(lower, upper))


def segment(fixed: Sequence[float | None], lower: float = 0.0, upper: float = 1.0) -> Projection:
    r"""The projection that sets coordinate i to `fixed[i]`, or clips it to [lower, upper] where that is `None`.

    Args:
        fixed: n entries, a number or `None` each; n at least 1.
        lower: $l$.
        upper: $u$, at least `lower`.

    Raises:
        TypeError, ValueError: if there is no entry, or something other than a number, or the bounds are not in order.
    """
    arguments.sequences((int, float, NoneType), fixed=fixed)
    arguments.numbers(lower=lower, upper=upper)
    entries = list(fixed)
    mask = torch.tensor([a is not None for a in entries])
    numbers = torch.tensor([0.0 if a is None else float(a) for a in entries], dtype=torch.float64)
    onto = box(*([bound if a is None else a for a in entries] for bound in (lower, upper)))

    def project(y: Tensor) -> Tensor:
        return project_on_segment(y, mask.to(y.device), numbers.to(y), lower, upper)

    return Projection(project, onto, batch_shapes=BATCH_SHAPES)


reference = segment([0.25, None, 1.5, None])
"""Two fixed coordinates, one of them outside the bounds of the others, and two in [0, 1]."""


def _ends(p: Projection, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The smallest and the largest point of a box, by what its description makes of extreme points."""
    far = torch.full((p.onto.dimension,), torch.finfo(dtype).max, dtype=dtype)
    return p.onto.member(-far), p.onto.member(far)


def _changed(change: str) -> Slip:
    """Slips of the formula on a box whose fixed coordinates are those with equal ends."""

    def slip(p: Projection) -> Projection:
        def project(y: Tensor) -> Tensor:
            low, high = (end.to(y.device) for end in _ends(p, y.dtype))
            right, fixed = p.project(y), low == high
            return {
                "unfixed": torch.where(fixed, y, right),
                "ends": torch.where((y < low) | (y > high), torch.where(y < low, high, low), right),
                "rounded": torch.where(fixed, right, torch.where(y - low < high - y, low, high)),
                "one-sided": torch.where(fixed, right, torch.maximum(y, low)),
                "scaled": torch.where(fixed, right, low + (high - low) * torch.sigmoid(y)),
            }[change]

        return replace(p, project=project)

    return slip


_SLIPS: dict[str, Slip] = {
    "the fixed coordinates are left as they are": _changed("unfixed"),
    "the two bounds change places": _changed("ends"),
    "the nearer bound is returned, also for points between": _changed("rounded"),
    "the upper bound is forgotten": _changed("one-sided"),
    "a sigmoid takes the place of clipping": _changed("scaled"),
}


def _points(p: Projection, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor]]:
    return points(replace(p, batch_shapes=((),)), dtype).map(lambda y: (y,))


@claim(given=_points, reference=reference, mutants=_SLIPS, examples=60)
def nearest_of_all_real_points(p: Projection, y: Tensor) -> Iterator[Residual]:
    r"""The result is the nearest of all points of the set, not only of those that were tried.

    $\forall z \in C:\ \langle y - P(y),\, z - P(y)\rangle \le 0$, and $P(y) \in C$.

    Error bound: 0; y and P(y) are floats, hence rational, and z3 decides the statement for all real z.
    """
    value = p.project(y)
    low, high = _ends(p, y.dtype)
    rows = [[Fraction(v) for v in t.tolist()] for t in (y, value, low, high)]
    z = z3.Reals(" ".join(f"z{i}" for i in range(len(rows[0]))))
    q = [[z3.RealVal(str(v)) for v in row] for row in rows]
    inside = [z3.And(a <= c, c <= b) for a, b, c in zip(q[2], q[3], z, strict=True)]
    product = z3.Sum([(a - v) * (c - v) for a, v, c in zip(q[0], q[1], z, strict=True)])
    for i, (v, a, b) in enumerate(zip(*rows[1:], strict=True)):
        yield exactly(a <= v <= b, True, what=f"coordinate {i} of P(y) keeps its bounds")
    yield smt.for_all(product <= 0, given=inside, what="<y - P(y), z - P(y)> <= 0 for all z in C")


@claim(
    given=lambda p, dtype: points(p, dtype).map(lambda y: (y,)),
    reference=reference,
    mutants={name: slip for name, slip in _SLIPS.items() if "change places" not in name}
    | {
        "the gradient is passed straight through": lambda p: replace(
            p, project=lambda y: y + (p.project(y) - y).detach()
        ),
        "the gradient is detached": lambda p: replace(p, project=lambda y: p.project(y).detach() + 0 * y),
    },
    examples=60,
)
def gradient_is_one_where_nothing_changes(p: Projection, y: Tensor) -> Iterator[Residual]:
    r"""Its derivative is 1 on the coordinates inside the bounds and 0 on those clipped or fixed.

    $\partial P(y)_i / \partial y_j = 1$ if $i = j$ and $l_i < y_i < u_i$, and 0 if $i \ne j$, $l_i = u_i$ or
    $y_i \notin [l_i, u_i]$.

    Error bound: 0; the derivative is computed by copying. At a bound every number in [0, 1] is a derivative from some
    side, and nothing is compared.
    """
    leaf = y.detach().clone().requires_grad_()
    value = p.project(leaf)
    if not value.requires_grad:
        raise NotImplementedError("the projection is not differentiable by autograd")
    low, high = (end.to(y.device) for end in _ends(p, y.dtype))
    weights = torch.arange(1, y.shape[-1] + 1, dtype=y.dtype, device=y.device)
    gradient = torch.autograd.grad((value * weights).sum(), leaf)[0]
    inside = (low < y) & (y < high)
    decided = inside | (low == high) | (y < low) | (y > high)
    true = torch.where(inside, weights, 0.0)
    if bool(decided.any()):
        yield exactly(gradient[decided], true[decided], kind=Kind.NUMERICAL, what="the derivative of P")
