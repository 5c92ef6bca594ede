"""The laws of a projection, and `check_projection`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Unpack

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.convex.projection import slips
from mathcheck.convex.projection.record import Projection
from mathcheck.convex.projection.sets import ConvexSet, Map
from mathcheck.engine import arguments, strategies
from mathcheck.engine.check import Options, check
from mathcheck.engine.claim import claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Kind, Residual, at_most, close, exactly
from mathcheck.engine.strategies import Interval

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
    return strategies.of_each(
        st.sampled_from(list(p.batch_shapes)),
        lambda batch: strategies.tensors((*batch, p.onto.dimension), dtype, numbers),
    )


def _pairs(p: Projection, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    return points(p, dtype).flatmap(
        lambda y: st.tuples(st.just(y), points(replace(p, batch_shapes=(tuple(y.shape[:-1]),)), dtype))
    )


def _pairs_in_and_out(p: Projection, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    """Pairs of any points, and pairs of the set, whose projections differ."""
    pairs = _pairs(p, dtype)
    return st.one_of(pairs, pairs.map(lambda pair: (p.onto.member(pair[0]), p.onto.member(pair[1]))))


def single(p: Projection, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor]]:
    """One batch of points."""
    return points(p, dtype).map(lambda y: (y,))


def length(x: Tensor) -> Tensor:
    """The Euclidean norms of the rows, in float64."""
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


@law(given=single, mutants=slips.OMITTED | slips.SHORT)
def feasible(p: Projection, y: Tensor) -> Iterator[Residual]:
    r"""The projection lies in the set: $P(y) \in C$.

    Error bound: 0 for a box, to the last bit; elsewhere 8n roundings of $\lVert y\rVert + \lVert P(y)\rVert$.
    """
    value = p.project(y)
    if (wrong := _shape(value, y)) is not None:
        yield wrong
        return
    size = 0.0 if p.onto.exact else length(y) + length(value)
    yield at_most(p.onto.violation(value), 0.0, ulps=8 * p.onto.dimension, scale=size, what="distance of P(y) from C")


@law(given=single, mutants=slips.SHORT)
def idempotent(p: Projection, y: Tensor) -> Iterator[Residual]:
    r"""Projecting twice is projecting once: $P(P(y)) = P(y)$.

    Error bound: 0 for a box, to the last bit; elsewhere 8n roundings of $\lVert y\rVert + \lVert P(y)\rVert$: so far may P(y)
    lie from the set, as in `feasible`, and no farther is it moved.
    """
    once = p.project(y)
    if (wrong := _shape(once, y)) is not None:
        yield wrong
        return
    yield _agree(p, p.project(once), once, length(y) + length(once), "P(P(y))")


@law(given=single, mutants=slips.OTHER | slips.ARGUMENT | slips.RESULT)
def points_of_the_set_stay(p: Projection, y: Tensor) -> Iterator[Residual]:
    r"""Points of the set stay where they are: $P(z) = z$ for $z \in C$.

    Error bound: 0 for a box, to the last bit; elsewhere 8n roundings of $\lVert z\rVert$.
    """
    z = p.onto.member(y)
    yield _agree(p, p.project(z), z, length(z), "P(z)")


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
    size = (length(y) + length(value) + length(z)) * (length(y - value) + length(z - value))
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
    size = (length(x) + length(y) + length(px) + length(py)) * (length(x - y) + 2 * length(px - py))
    yield from _not_positive(
        p, lambda a, b, x, y: (a - b) * (a - b - x + y), [px, py, x, y], size, "|P(x) - P(y)|^2 - <P(x) - P(y), x - y>"
    )


@law(
    given=single,
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
        yield _agree(p, value.reshape(-1, y.shape[-1])[k], alone, length(alone), f"row {k} among other rows")


@law(
    given=single,
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


def check_projection(
    projection: Projection | Map, onto: ConvexSet | None = None, **options: Unpack[Options]
) -> list[Evidence]:
    r"""Judges an implementation of $P(y) = \arg\min_{z \in C}\lVert y - z\rVert$ by every law of a projection.

    Args:
        projection: a `Projection`, or the function that one would hold.
        onto: the set C, if `projection` is a function, e.g. `box([0, 0], [1, 1])`.
        options: `expected_failures`, `require`, `settings`, `dtype`, `device`, `name` as in `mathcheck.check`.

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
