r"""What every quantile function must satisfy: the record, its laws, `check_quantile`.

The generalised inverse of a distribution function, $G(u) = \inf\{x : u \le F(x)\}$, is all that the equivalence
$G(u) \le x \iff u \le F(x)$ says; everything else follows from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import Settings, check, claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Ball, Kind, Residual, at_most, exactly
from mathcheck.engine.strategies import Interval

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Quantile:
    r"""A quantile function $G(u) = \inf\{x : u \le F(x)\}$ with its distribution function F, as somebody computes them.

    Args:
        quantile: G, `(*batch,)` in (0, 1) -> `(*batch,)`. Its values at 0 and 1 are not judged.
        cdf: $F(x) = P(X \le x)$, `(*batch,)` -> `(*batch,)`.
        left_cdf: $P(X < x)$, where F has jumps.
        domain: where x is looked for; its `reach` bounds how far.
        ulps: roundings by which G(u) and F(x) may be off. With 0 the equivalence holds for the computed F to the last
            bit: the standard for tables of probabilities, and for a root-finder that brackets.
        batch_shapes: leading shapes that the functions take.
        dtype: that they take, if only one.
    """

    quantile: Map
    cdf: Map
    left_cdf: Map | None = None
    domain: Interval = Interval(reach=10.0)
    ulps: float = 8.0
    batch_shapes: tuple[tuple[int, ...], ...] = ((1,), (3,))
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.ulps < math.inf:
            raise ValueError(f"ulps must be at least 0 and finite, got {self.ulps}")


Slip = Callable[[Quantile], Quantile]


def _level(change: Callable[[Tensor], Tensor]) -> Slip:
    """The slip that looks up the quantile of `change(u)`."""
    return lambda q: replace(q, quantile=lambda u: q.quantile(change(u)))


def _then(change: Callable[[Tensor], Tensor]) -> Slip:
    """The slip that puts `change(x)` in place of the quantile."""
    return lambda q: replace(q, quantile=lambda u: change(q.quantile(u)))


def _sharp(slip: Slip) -> Slip:
    """A slip that only a quantile function without rounding errors can show."""

    def applied(q: Quantile) -> Quantile:
        if q.ulps:
            raise NotImplementedError("as small as the rounding errors that the quantile function may have")
        return slip(q)

    return applied


def _shifted(x: Tensor, ulps: int) -> Tensor:
    """The float `ulps` places above x, or below."""
    for _ in range(abs(ulps)):
        x = torch.nextafter(x, torch.full_like(x, math.copysign(math.inf, ulps)))
    return x


def _upper(q: Quantile) -> Quantile:
    """sup{x : F(x) <= u}, which differs where F is flat at the level u."""
    return _level(lambda u: _shifted(u, 1))(q)


_SIDES: dict[str, Slip] = {
    "the other tail is counted (1 - u for u)": _level(lambda u: 1 - u),
    "the level is squared": _level(lambda u: (u * u).clamp(min=torch.finfo(u.dtype).tiny)),
}
_EXACT: dict[str, Slip] = {
    "the largest x with F(x) <= u is taken for the smallest with u <= F(x)": _sharp(_upper),
    "the float below is taken": _sharp(_then(lambda x: _shifted(x, -1))),
    "the float above is taken": _sharp(_then(lambda x: _shifted(x, 1))),
}
_TAILS: dict[str, Slip] = {
    "levels are clipped to the middle half": _level(lambda u: u.clamp(0.25, 0.75)),
}
_REPAIRS: dict[str, Slip] = {
    "a level is reached where F(x) equals it (it is looked up on the wrong side of a jump)": _level(
        lambda u: _shifted(u, -1)
    ),
    **_SIDES,
}


def _given(q: Quantile, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor, int | None]]:
    """A level, a place, and by how many ulps the level differs from F(place), where a wrong side shows; or not at all."""

    def of(shape: tuple[int, ...]) -> st.SearchStrategy[tuple[Tensor, Tensor, int | None]]:
        levels, places = (strategies.tensors(shape, dtype, d) for d in (strategies.unit_interval, q.domain))
        return st.tuples(levels, places, st.sampled_from([None, 0, 1, -1]))

    return st.sampled_from(list(q.batch_shapes)).flatmap(of)


def _level_at(q: Quantile, u: Tensor, place: Tensor, off: int | None) -> Tensor:
    if off is None:
        return u
    level = _shifted(q.cdf(place).detach(), off)
    return torch.where((level > 0) & (level < 1), level, u)


def _with_slack(q: Quantile, value: Tensor, x: Tensor) -> Ball:
    """`value` +- what the promised roundings of F(x) and of x may change in F."""
    slack = torch.zeros_like(value)
    if q.ulps:
        eps = torch.finfo(x.dtype).eps * q.ulps
        moved = torch.where(x.isfinite(), x.double().abs() * eps, 0.0)
        ends = [q.cdf((x.double() + sign * moved).to(x.dtype)).double() for sign in (1, -1)]
        slack = ((ends[0] - ends[1]).abs() + eps * q.cdf(x).double()).detach().cpu().nan_to_num(0.0).abs()
    return Ball(value, slack, kind=Kind.NUMERICAL, source="the distribution function")


@claim(given=_given, mutants=_SIDES | _TAILS | _EXACT, repairs=_REPAIRS, examples=60)
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
    for x in (place, found, _shifted(found, -1), _shifted(found, 1)):
        below = (found <= x).cpu()
        value = q.cdf(x).detach().double().cpu()
        # For G(u) <= x the level may not exceed F(x); for G(u) > x it must.
        least = torch.where(below, level, torch.nextafter(value, torch.full_like(value, math.inf)))
        most = torch.where(below, value, level)
        yield at_most(_with_slack(q, least, x), most, what="u and F(x) in the order of G(u) and x")


@claim(given=_given, mutants=_SIDES | _TAILS | {
    "the float below is taken": _EXACT["the float below is taken"],
}, repairs=_REPAIRS, examples=40)  # fmt: skip
def level_lies_between_the_limits(q: Quantile, u: Tensor, place: Tensor, off: int | None) -> Iterator[Residual]:
    r"""The level lies between the two limits of F at its quantile: $F(G(u){-}) \le u \le F(G(u))$.

    Error bound: 0 where no rounding is granted; otherwise the promised roundings, as in
    `lower_adjoint_of_the_distribution_function`.
    """
    u = _level_at(q, u, place, off)
    x = q.quantile(u).detach()
    level = u.double().cpu()
    yield at_most(_with_slack(q, level, x), q.cdf(x).detach().double().cpu(), what="u <= F(G(u))")
    if q.left_cdf is not None:
        left = q.left_cdf(x).detach().double().cpu()
        yield at_most(_with_slack(q, left, x), level, what="F(G(u)-) <= u")


@claim(
    given=lambda q, dtype: st.tuples(_given(q, dtype), st.sampled_from([1.0, 0.5, 1 - 2.0**-10, 1e-3])),
    mutants={
        "the other tail is counted (1 - u for u)": _SIDES["the other tail is counted (1 - u for u)"],
        "the sign of the quantile is changed": _then(lambda x: -x),
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


@claim(given=_given, mutants={
    "it is computed in another dtype": _then(
        lambda x: x.to(torch.float32 if x.dtype == torch.float64 else torch.float64)),
    "it is summed over the batch": _then(lambda x: x.sum()),
}, examples=30)  # fmt: skip
def shape_and_dtype_are_those_of_the_level(
    q: Quantile, u: Tensor, place: Tensor, off: int | None
) -> Iterator[Residual]:
    r"""The quantile has the shape and the dtype of the level: $G(u)$ for u of shape `(*batch,)` is $G$ of each entry.

    Error bound: 0.
    """
    x = q.quantile(u)
    yield exactly(tuple(x.shape), tuple(u.shape), kind=Kind.NUMERICAL, what="the shape of G(u)")
    yield exactly(x.dtype, u.dtype, kind=Kind.NUMERICAL, what="the dtype of G(u)")


def check_quantile(
    quantile: Quantile,
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
        TypeError: if `quantile` is no `Quantile`.
    """
    arguments.instances(Quantile, quantile=quantile)
    return check(quantile, laws(Quantile), expected_failures=expected_failures, settings=settings, dtype=dtype,
                 device=device)  # fmt: skip
