"""The laws of a quantile function, and `check_quantile`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import strategies
from mathcheck.engine.adapting import subject
from mathcheck.engine.check import check
from mathcheck.engine.claim import Settings, claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.guard import SubjectFault, SubjectHangs
from mathcheck.engine.residual import Ball, Kind, Residual, at_most, exactly, promised
from mathcheck.probability.distribution_function import beyond, is_distribution_function, places
from mathcheck.probability.quantile import slips
from mathcheck.probability.quantile.record import Map, Quantile

_SOURCE = "the distribution function"

_PROMISE = "say in the record by how many roundings the two may be off, with ulps"


def _given(q: Quantile, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor, int | None]]:
    """A level, a place, and by how many ulps the level differs from F(place), where a wrong side shows; or not at all."""

    def of(shape: tuple[int, ...]) -> st.SearchStrategy[tuple[Tensor, Tensor, int | None]]:
        levels, places = (strategies.tensors(shape, dtype, d) for d in (strategies.unit_interval, q.domain))
        return st.tuples(levels, places, st.sampled_from([None, 0, 1, -1]))

    return strategies.of_each(st.sampled_from(list(q.batch_shapes)), of)


def _level_at(q: Quantile, u: Tensor, place: Tensor, off: int | None) -> Tensor:
    if off is None:
        return u
    level = slips.shifted(q.cdf(place).detach(), off)
    return torch.where((level > 0) & (level < 1), level, u)


def _with_slack(q: Quantile, value: Tensor, x: Tensor) -> Ball:
    """`value` +- what the promised roundings of F(x) and of x may change in F."""
    slack = torch.zeros_like(value)
    if q.ulps:
        eps = torch.finfo(x.dtype).eps * q.ulps
        moved = torch.where(x.isfinite(), x.double().abs() * eps, 0.0)
        ends = [q.cdf((x.double() + sign * moved).to(x.dtype)).double() for sign in (1, -1)]
        slack = ((ends[0] - ends[1]).abs() + eps * q.cdf(x).double()).detach().cpu().nan_to_num(0.0).abs()
    return Ball(value, slack, kind=Kind.NUMERICAL, source=_SOURCE)


def _granted(q: Quantile, residual: Residual) -> Residual:
    """A comparison as it is, or where no rounding is granted held to that."""
    return residual if q.ulps else promised(residual)


@claim(
    given=_given, mutants=slips.SIDES | slips.TAILS | slips.EXACT, repairs=slips.REPAIRS, examples=60, remedy=_PROMISE
)
def lower_adjoint_of_the_distribution_function(
    q: Quantile, u: Tensor, place: Tensor, off: int | None
) -> Iterator[Residual]:
    r"""The quantile is at most x exactly where the level is at most F(x): $G(u) \le x \iff u \le F(x)$.

    x is any place, and the quantile itself with its two neighbours.

    Error bound: 0 where no rounding is granted; otherwise the promised roundings of F(x), and what F changes when x
    moves by as many.
    """
    u = _level_at(q, u, place, off)
    found = q.quantile(u).detach()
    level = u.double().cpu()
    for x in (place, found, slips.shifted(found, -1), slips.shifted(found, 1)):
        below = (found <= x).cpu()
        value = q.cdf(x).detach().double().cpu()
        # For G(u) <= x the level may not exceed F(x); for G(u) > x it must.
        least = torch.where(below, level, torch.nextafter(value, torch.full_like(value, math.inf)))
        most = torch.where(below, value, level)
        yield _granted(q, at_most(_with_slack(q, least, x), most, what="u and F(x) in the order of G(u) and x"))


@claim(
    given=_given,
    mutants=slips.SIDES
    | slips.TAILS
    | {
        "the float below is taken": slips.EXACT["the float below is taken"],
    },
    repairs=slips.REPAIRS,
    examples=40,
    remedy=_PROMISE,
)
def level_lies_between_the_limits(q: Quantile, u: Tensor, place: Tensor, off: int | None) -> Iterator[Residual]:
    r"""The level lies between the two limits of F at its quantile: $F(G(u){-}) \le u \le F(G(u))$.

    Error bound: 0 where no rounding is granted; otherwise the promised roundings, as in
    `lower_adjoint_of_the_distribution_function`.
    """
    u = _level_at(q, u, place, off)
    x = q.quantile(u).detach()
    level = u.double().cpu()
    yield _granted(q, at_most(_with_slack(q, level, x), q.cdf(x).detach().double().cpu(), what="u <= F(G(u))"))
    if q.left_cdf is not None:
        left = q.left_cdf(x).detach().double().cpu()
        yield _granted(q, at_most(_with_slack(q, left, x), level, what="F(G(u)-) <= u"))


@claim(
    given=lambda q, dtype: st.tuples(_given(q, dtype), st.sampled_from([1.0, 0.5, 1 - 2.0**-10, 1e-3])),
    mutants={
        "the other tail is counted (1 - u for u)": slips.SIDES["the other tail is counted (1 - u for u)"],
        "the sign of the quantile is changed": slips.then(lambda x: -x),
    },
    examples=40,
)
def increasing(q: Quantile, levels: tuple[Tensor, Tensor, int | None], factor: float) -> Iterator[Residual]:
    r"""It increases with the level: $G(u) \le G(v)$ for $u \le v$.

    Error bound: 0 where no rounding is granted; otherwise the promised roundings of both values.
    """
    u = _level_at(q, *levels)
    low, high = q.quantile(u * factor).detach(), q.quantile(u).detach()
    scale = torch.maximum(low.abs(), high.abs()).double().cpu() if q.ulps else 0.0
    yield at_most(low, high, ulps=2 * q.ulps, scale=scale, what="G(u) <= G(v)")


@claim(
    given=_given,
    mutants={
        "it is computed in another dtype": slips.then(
            lambda x: x.to(torch.float32 if x.dtype == torch.float64 else torch.float64)
        ),
        "it is summed over the batch": slips.then(lambda x: x.sum()),
    },
    examples=30,
)
def shape_and_dtype_are_those_of_the_level(
    q: Quantile, u: Tensor, place: Tensor, off: int | None
) -> Iterator[Residual]:
    r"""The quantile has the shape and the dtype of the level: $G(u)$ for u of shape `(*batch,)` is $G$ of each entry.

    Error bound: 0.
    """
    x = q.quantile(u)
    yield exactly(tuple(x.shape), tuple(u.shape), kind=Kind.NUMERICAL, what="the shape of G(u)")
    yield exactly(x.dtype, u.dtype, kind=Kind.NUMERICAL, what="the dtype of G(u)")


def _places_and_ends(q: Quantile, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor]]:
    return places(q.domain, dtype).map(lambda x: (x,))


@claim(
    given=_places_and_ends,
    mutants=slips.DISTRIBUTION,
    repairs={"the distribution function is kept between 0 and 1": slips.cdf(lambda level: level.clamp(0.0, 1.0))},
    examples=25,
)
def cdf_rises_from_zero_to_one(q: Quantile, x: Tensor) -> Iterator[Residual]:
    r"""The distribution function rises from 0 to 1 on the whole line: $0 \le F(x) \le F(y) \le 1$ for $x \le y$.

    So do the left limits, where there are any, between the values. Where F raises an exception outside the domain it is
    not judged there.

    Error bound: 8 roundings of $F(x)(1 + \lvert\log F(x)\rvert)$ and what F changes when x is moved by 8 roundings; 0 below 0.
    """
    batch = min(q.batch_shapes, key=math.prod)

    def single(function: Map) -> Map:
        return lambda x: torch.stack([function(place.expand(batch)).flatten()[0] for place in x])

    yield from is_distribution_function(single(q.cdf), x, left=single(q.left_cdf) if q.left_cdf else None)


@claim(
    given=lambda q, dtype: st.sampled_from(list(q.batch_shapes)).map(lambda shape: (torch.zeros(shape, dtype=dtype),)),
    mutants=slips.SIDES_OF_THE_ENDS | slips.TAILS,
    repairs=slips.SIDES_OF_THE_ENDS,
    examples=3,
)
def no_probability_lies_beyond_the_ends(q: Quantile, zero: Tensor) -> Iterator[Residual]:
    r"""No probability lies below the quantile of 0, or above that of 1: $P(X < G(0)) = 0$ and $F(G(1)) = 1$.

    $G(0)$ may be the lower end of the support or, as $\inf\{x : 0 \le F(x)\}$, $-\infty$; $G(1)$ is the upper end, hence
    no infinity where F is 1 at the end of the domain. A function that refuses these levels, by an exception, is not judged.

    Error bound: the ends may be off by the promised roundings, and so may F there; 0 for infinities.
    """
    try:
        first, last = (q.quantile(level).detach() for level in (zero, zero + 1))
    except SubjectHangs:
        raise
    except SubjectFault as refusal:
        raise NotImplementedError(f"the levels 0 and 1 are refused: {refusal}") from refusal
    strays = int((first.isnan() | (first == math.inf) | last.isnan() | (last == -math.inf)).sum())
    yield exactly(strays, 0, kind=Kind.NUMERICAL, what="ends that are NaN, or the other infinity")
    rounding, largest = q.ulps * torch.finfo(zero.dtype).eps, torch.finfo(zero.dtype).max
    below, above = ((x + sign * rounding * x.abs()).clamp(-largest, largest) for x, sign in ((first, -1), (last, 1)))
    left = q.left_cdf(below) if q.left_cdf else q.cdf(slips.shifted(below, -1).clamp(min=-largest))
    mass = torch.where(first == -math.inf, 0.0, left.detach()).double().cpu()
    level = torch.where(last == math.inf, 1.0, q.cdf(above).detach()).double().cpu()
    masses, most = (Ball(p, rounding * p.abs(), kind=Kind.NUMERICAL, source=_SOURCE) for p in (mass, 0 * mass + 1))
    yield _granted(q, at_most(masses, torch.zeros_like(mass), what="P(X < G(0)) <= 0"))
    yield _granted(q, at_most(most, level, what="1 <= F(G(1))"))
    if math.isfinite(q.domain.upper):
        end = torch.full_like(zero, beyond(q.domain.upper, zero.dtype, up=True))
        if bool((q.cdf(end) >= 1).all()):
            yield exactly(int((last == math.inf).sum()), 0, kind=Kind.NUMERICAL, what="G(1) that are infinite")


def check_quantile(
    quantile: Quantile | Any,
    *,
    expected_failures: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> list[Evidence]:
    r"""Judges a quantile function $G(u) = \inf\{x : u \le F(x)\}$ by every law of one.

    Args:
        quantile: the quantile function with its distribution function.
        expected_failures, settings, dtype, device: as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample, the true value and a diagnosis.
        TypeError: if `quantile` is no `Quantile`, and no adapter makes one of it.
    """
    quantile = subject("quantile", Quantile, quantile)
    return check(
        quantile, laws(Quantile), expected_failures=expected_failures, settings=settings, dtype=dtype, device=device
    )
