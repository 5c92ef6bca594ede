r"""What every projection onto a closed convex set must satisfy: the record, its laws, `check_projection`.

$P(y) = \arg\min_{z \in C} \lVert y - z\rVert$ is the one point p of C with $\langle y - p,\, z - p\rangle \le 0$ for all z in C.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Unpack

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.convex.projection import slips
from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import Options, check, claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Kind, Residual, at_most, close, exactly
from mathcheck.engine.strategies import BATCH_SHAPES, Interval
from mathcheck.oracles import arb

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ConvexSet:
    r"""A closed convex set C of $\mathbb R^n$, described without its projection.

    Args:
        dimension: n, at least 1.
        violation: `(*batch, n)` -> `(*batch,)`: 0 in C and positive outside, in the unit of x, e.g. how far the worst
            constraint is missed.
        member: `(*batch, n)` -> `(*batch, n)`: turns any point into some point of C, every point of C into itself.
        exact: whether a projection can be computed without rounding, as for a box; it must then be exact.
    """

    dimension: int
    violation: Map
    member: Map
    exact: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.dimension, int) or self.dimension < 1:
            raise ValueError(f"dimension must be an integer of at least 1, got {self.dimension!r}")


def box(lower: Sequence[float], upper: Sequence[float]) -> ConvexSet:
    r"""$C = \{z : l_i \le z_i \le u_i\}$; ends may be infinite, and a coordinate with equal ends is fixed.

    Args:
        lower: n numbers; rounded to the dtype of the points, as `upper` is.
        upper: n numbers, none below that of `lower`.

    Raises:
        TypeError, ValueError: if the ends are not n pairs of numbers in order, with a number between them.
    """
    arguments.sequences((int, float), lower=lower, upper=upper)
    low, high = [float(x) for x in lower], [float(x) for x in upper]
    if len(low) != len(high) or not low:
        raise ValueError(f"lower and upper must hold n >= 1 numbers each, got {len(low)} and {len(high)}")
    if not all(a <= b and a < math.inf and b > -math.inf for a, b in zip(low, high, strict=True)):
        raise ValueError(f"lower must not exceed upper, got lower={low}, upper={high}")

    def ends(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.new_tensor(low), x.new_tensor(high)

    def violation(x: Tensor) -> Tensor:
        a, b = ends(x)
        # A comparison with NaN is false: counted as a violation.
        return torch.where((a <= x) & (x <= b), 0.0, torch.maximum(a - x, x - b)).amax(-1)

    return ConvexSet(len(low), violation, lambda x: x.clamp(*ends(x)), exact=True)


def unit_ball(dimension: int) -> ConvexSet:
    r"""$C = \{z : \lVert z\rVert \le 1\}$ in `dimension` dimensions."""
    norm = functools.partial(torch.linalg.vector_norm, dim=-1, keepdim=True)
    return ConvexSet(
        dimension,
        lambda x: (norm(x) - 1).squeeze(-1).clamp(min=0.0),
        lambda x: torch.where(norm(x) <= 1, x, x.sign() * x.abs().clamp(max=1.0) / math.sqrt(dimension)),
    )


@dataclass(frozen=True)
class Projection:
    r"""A projection onto a closed convex set, as somebody computes it.

    Args:
        project: `(*batch, n)` -> `(*batch, n)`.
        onto: the set.
        reach: entries of the points are drawn from [-reach, reach].
        batch_shapes: leading shapes that it takes.
        dtype: that it takes, if only one.
    """

    project: Map
    onto: ConvexSet
    reach: float = 100.0
    batch_shapes: tuple[tuple[int, ...], ...] = ((1,), (3,))
    dtype: torch.dtype | None = None


def project_on_unit_ball(y: Tensor) -> Tensor:
    r"""$P(y) = y / \max(1, \lVert y\rVert)$ over the last dimension.

    Args:
        y: `(*batch, n)`, n at least 1; finite.

    Returns:
        `(*batch, n)`; the point itself, to the last bit, where it lies in the ball.

    Raises:
        TypeError: if `y` is no floating tensor.
        ValueError: if `y` has no entry in its last dimension.
    """
    arguments.vectors(y=y)
    length: Tensor = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    return y / length.clamp(min=1.0)


on_unit_ball = Projection(project_on_unit_ball, unit_ball(3), reach=10.0, batch_shapes=BATCH_SHAPES)

Slip = Callable[[Projection], Projection]


law = functools.partial(claim, repairs=slips.REPAIRS, examples=60)


def points(p: Projection, dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
    """Points of the domain `(*batch, n)`, in and out of the set.

    Raises:
        TypeError: if `p` is no record, or `dtype` neither float32 nor float64.
    """
    arguments.instances(Projection, p=p)
    arguments.dtypes(dtype=dtype)
    numbers = st.one_of(Interval(reach=p.reach).elements(dtype), Interval(reach=min(2.0, p.reach)).elements(dtype))
    return st.sampled_from(list(p.batch_shapes)).flatmap(
        lambda batch: strategies.tensors((*batch, p.onto.dimension), dtype, numbers)
    )


def _pairs(p: Projection, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    return points(p, dtype).flatmap(
        lambda y: st.tuples(st.just(y), points(replace(p, batch_shapes=(tuple(y.shape[:-1]),)), dtype))
    )


def _pairs_in_and_out(p: Projection, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    """Pairs of any points, and pairs of the set, whose projections differ."""
    pairs = _pairs(p, dtype)
    return st.one_of(pairs, pairs.map(lambda pair: (p.onto.member(pair[0]), p.onto.member(pair[1]))))


def _single(p: Projection, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor]]:
    return points(p, dtype).map(lambda y: (y,))


def _length(x: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x.double().cpu(), dim=-1)
    return length


def _agree(p: Projection, actual: Tensor, expected: Tensor, size: Tensor, what: str) -> Residual:
    """To the last bit on exact sets; elsewhere 8 n roundings of `size`, one for every operation on n entries."""
    if p.onto.exact:
        return exactly(actual, expected, what=what)
    return close(actual, expected, ulps=8 * p.onto.dimension, scale=size[..., None].expand(actual.shape), what=what)


def _not_positive(
    p: Projection, term: Callable[..., Fraction], tensors: Sequence[Tensor], size: Tensor, what: str
) -> Iterator[Residual]:
    """Row by row, the sum of `term` over the coordinates is at most 0 in rational arithmetic."""
    n, kind = p.onto.dimension, Kind.EXACT if p.onto.exact else Kind.NUMERICAL
    bounds = (0 if p.onto.exact else 8 * n * torch.finfo(tensors[0].dtype).eps) * size.reshape(-1)
    rows = [t.detach().reshape(-1, n).tolist() for t in tensors]
    for *row, bound in zip(*rows, bounds.tolist(), strict=True):
        entries = [[Fraction(v) if math.isfinite(v) else None for v in part] for part in row]
        if any(None in part for part in entries):
            yield Residual(math.nan, 0.0, kind, f"{what} is finite")
            continue
        error = float(sum((term(*at) for at in zip(*entries, strict=True)), Fraction(0)))
        yield Residual(max(error, 0.0), bound, kind, what, error, 0.0, source="rational arithmetic")


def _shape(value: Tensor, y: Tensor) -> Residual | None:
    if value.shape == y.shape:
        return None
    return exactly(tuple(value.shape), tuple(y.shape), kind=Kind.NUMERICAL, what="the shape of P(y)")


@law(given=_single, mutants=slips.OMITTED | slips.SHORT)
def feasible(p: Projection, y: Tensor) -> Iterator[Residual]:
    r"""The projection lies in the set: $P(y) \in C$.

    Error bound: 0 for a box, to the last bit; elsewhere 8n roundings of $\lVert y\rVert + \lVert P(y)\rVert$.
    """
    value = p.project(y)
    if (wrong := _shape(value, y)) is not None:
        yield wrong
        return
    size = 0.0 if p.onto.exact else _length(y) + _length(value)
    yield at_most(p.onto.violation(value), 0.0, ulps=8 * p.onto.dimension, scale=size, what="distance of P(y) from C")


@law(given=_single, mutants=slips.SHORT)
def idempotent(p: Projection, y: Tensor) -> Iterator[Residual]:
    r"""Projecting twice is projecting once: $P(P(y)) = P(y)$.

    Error bound: 0 for a box, to the last bit; elsewhere 8n roundings of $\lVert P(y)\rVert$.
    """
    once = p.project(y)
    yield _agree(p, p.project(once), once, _length(once), "P(P(y))")


@law(given=_single, mutants=slips.OTHER | slips.ARGUMENT | slips.RESULT)
def points_of_the_set_stay(p: Projection, y: Tensor) -> Iterator[Residual]:
    r"""Points of the set stay where they are: $P(z) = z$ for $z \in C$.

    Error bound: 0 for a box, to the last bit; elsewhere 8n roundings of $\lVert z\rVert$.
    """
    z = p.onto.member(y)
    yield _agree(p, p.project(z), z, _length(z), "P(z)")


@law(given=_pairs, mutants=slips.OTHER | slips.ARGUMENT | slips.REFLECTED)
def nearest(p: Projection, y: Tensor, other: Tensor) -> Iterator[Residual]:
    r"""No point of the set is nearer.

    $\langle y - P(y),\, z - P(y)\rangle \le 0$ for all $z \in C$, which is $\lVert y - P(y)\rVert \le \lVert y - z\rVert$ for all
    z, with equality for $z = P(y)$ only.

    Error bound: 0 for a box, in rational arithmetic; elsewhere 8n roundings of P(y) and of z, each of size
    $\lVert y\rVert + \lVert P(y)\rVert + \lVert z\rVert$, times $\lVert y - P(y)\rVert + \lVert z - P(y)\rVert$.
    """
    value, z = p.project(y), p.onto.member(other)
    if (wrong := _shape(value, y)) is not None:
        yield wrong
        return
    size = (_length(y) + _length(value) + _length(z)) * (_length(y - value) + _length(z - value))
    yield from _not_positive(p, lambda y, v, z: (y - v) * (z - v), [y, value, z], size, "<y - P(y), z - P(y)>")


@law(given=_pairs_in_and_out, mutants=slips.DOUBLED | slips.ARGUMENT | slips.REFLECTED)
def non_expansive(p: Projection, x: Tensor, y: Tensor) -> Iterator[Residual]:
    r"""It is firmly non-expansive.

    $\lVert P(x) - P(y)\rVert^2 \le \langle P(x) - P(y),\, x - y\rangle$, hence $\lVert P(x) - P(y)\rVert \le \lVert x - y\rVert$.

    Error bound: 0 for a box, in rational arithmetic; elsewhere 8n roundings of both projections, each of size
    $\lVert x\rVert + \lVert y\rVert + \lVert P(x)\rVert + \lVert P(y)\rVert$, times
    $\lVert x - y\rVert + 2\lVert P(x) - P(y)\rVert$.
    """
    px, py = p.project(x), p.project(y)
    if (wrong := _shape(px, x) or _shape(py, y)) is not None:
        yield wrong
        return
    size = (_length(x) + _length(y) + _length(px) + _length(py)) * (_length(x - y) + 2 * _length(px - py))
    yield from _not_positive(p, lambda a, b, x, y: (a - b) * (a - b - x + y), [px, py, x, y], size,
                             "|P(x) - P(y)|^2 - <P(x) - P(y), x - y>")  # fmt: skip


@law(
    given=_single,
    mutants={
        "the batch is averaged first": slips.instead(
            lambda p, y: p.project(y.reshape(-1, y.shape[-1]).mean(0).expand(y.shape))
        ),
        "the first row is returned for all": slips.instead(
            lambda p, y: p.project(y).reshape(-1, y.shape[-1])[0].expand(y.shape)
        ),
    },
)
def rows_are_independent(p: Projection, y: Tensor) -> Iterator[Residual]:
    r"""Every row of a batch is projected alone: $P(y)_b$ does not change with the other rows.

    Error bound: 0 for a box, to the last bit; elsewhere 8n roundings of $\lVert P(y)_b\rVert$.
    """
    count = math.prod(y.shape[:-1])
    if max(map(math.prod, p.batch_shapes)) < 2:
        raise NotImplementedError("the projection takes one row at a time")
    value = p.project(y)
    if (wrong := _shape(value, y)) is not None:
        yield wrong
        return
    for k in (0, count - 1) if count > 1 else ():
        row = y.reshape(-1, y.shape[-1])[k].expand(y.shape).contiguous()
        alone = p.project(row).reshape(-1, y.shape[-1])[k]
        yield _agree(p, value.reshape(-1, y.shape[-1])[k], alone, _length(alone), f"row {k} among other rows")


@law(
    given=_single,
    mutants={
        "the batch's dimensions are flattened": slips.instead(lambda p, y: p.project(y).reshape(-1)[None]),
        "it is computed in another dtype": slips.instead(
            lambda p, y: p.project(y).to(torch.float32 if y.dtype == torch.float64 else torch.float64)
        ),
    },
)
def shape_and_dtype_stay(p: Projection, y: Tensor) -> Iterator[Residual]:
    r"""The projection has the shape and the dtype of the point: $P$ maps `(*batch, n)` to `(*batch, n)`.

    Error bound: 0.
    """
    value = p.project(y)
    yield exactly(tuple(value.shape), tuple(y.shape), kind=Kind.NUMERICAL, what="the shape of P(y)")
    yield exactly(value.dtype, y.dtype, kind=Kind.NUMERICAL, what="the dtype of P(y)")


@claim(
    given=_single,
    reference=on_unit_ball,
    mutants=slips.OTHER | slips.ARGUMENT | slips.REFLECTED | slips.SHORT,
    uses=(nearest,),
)
def no_point_of_the_ball_is_nearer(p: Projection, y: Tensor) -> Iterator[Residual]:
    r"""Of all points of the unit ball none is nearer, and P(y) is one of them.

    $\max_{\lVert z\rVert\le1}\langle y-P(y),\, z-P(y)\rangle = \lVert y-P(y)\rVert - \langle y-P(y),\, P(y)\rangle \le 0$ and
    $\lVert P(y)\rVert \le 1$, both in ball arithmetic.

    Error bound: 8n roundings of P(y) as in `nearest`, with 1 for the largest $\lVert z\rVert$; 8n of 1 for the length.
    """
    value, n = p.project(y), p.onto.dimension

    def gap(row: list[Any]) -> list[Any]:
        apart = [a - b for a, b in zip(row[:n], row[n:], strict=True)]
        lengths = [arb.sqrt(sum(v * v for v in part)) for part in (apart, row[n:])]
        return [lengths[0] - sum(a * b for a, b in zip(apart, row[n:], strict=True)), lengths[1]]

    true = arb.enclose_rows(gap, torch.cat([y, value], -1))
    size = (_length(y) + _length(value) + 1) * (_length(y - value) + 1 + _length(value))
    ends = torch.stack([torch.zeros_like(size), torch.ones_like(size)], -1).to(y.dtype)
    scale = torch.stack([size, torch.ones_like(size)], -1)
    yield at_most(true, ends, ulps=8 * n, scale=scale, what="the largest <y - P(y), z - P(y)>, and |P(y)|")


def check_projection(
    projection: Projection | Map, onto: ConvexSet | None = None, **options: Unpack[Options]
) -> list[Evidence]:
    r"""Judges an implementation of $P(y) = \arg\min_{z \in C}\lVert y - z\rVert$ by every law of a projection.

    Args:
        projection: a `Projection`, or the function that one would hold.
        onto: the set C, if `projection` is a function, e.g. `box([0, 0], [1, 1])`.
        options: `expected_failures`, `settings`, `dtype`, `device`, `name` as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample, the true value and a diagnosis.
        TypeError: if `projection` is neither a record nor a function, a function comes without its set, or a record
            with one.
    """
    if isinstance(projection, Projection):
        if onto is not None:
            raise TypeError("onto must be left out where projection is a Projection, which carries its own")
        return check(projection, laws(Projection), **options)
    if not callable(projection) or not isinstance(onto, ConvexSet):
        raise TypeError(
            "projection must be a Projection, or a function with onto=ConvexSet, "
            f"got {type(projection).__name__} and {type(onto).__name__}"
        )
    return check(Projection(projection, onto), laws(Projection), **options)
