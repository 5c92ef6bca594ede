r"""Convex functions on the positive half-line and their conjugates $f^*(t) = \sup_{u \ge 0}\{ut - f(u)\}$: record, laws, table.

The table holds the generator f of every common f-divergence $D_f(P\,\|\,Q) = \mathbb E_Q[f(p/q)]$ with its conjugate, a
subgradient, and an output activation $g_f$ that maps all reals into the domain of $f^*$, so that
$\mathbb E_P[g_f(V)] - \mathbb E_Q[f^*(g_f(V))]$ is a lower bound of the divergence for every real function V.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Unpack

import torch
import z3
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import Options, check, claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Ball, Kind, Residual, at_most, close, exactly
from mathcheck.engine.strategies import Interval
from mathcheck.oracles import smt

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Conjugate:
    r"""A convex function f on $[0, \infty)$ and its conjugate, as somebody computes them; all functions act elementwise.

    Args:
        f: $f(u)$ for u >= 0.
        conjugate: $f^*(t)$ for t in its domain.
        subgradient: some $s \in \partial f(u)$ for u > 0.
        activation: $g_f(v)$ for any real v, increasing, into the domain of the conjugate and onto its interior up to
            values of the conjugate that do not matter.
        upper: the end of the domain of $f^*$, $\sup\{t : f^*(t) < \infty\}$; infinite where f grows faster than u.
        closed: whether `upper` itself belongs to the domain.
        reach: u is drawn from [1/reach, reach].
        dtype: that it takes, if only one.
    """

    f: Map
    conjugate: Map
    subgradient: Map
    activation: Map
    upper: float = math.inf
    closed: bool = False
    reach: float = 1e3
    dtype: torch.dtype | None = None


def _on(name: str, x: Tensor, inside: Callable[[Tensor], Tensor], stand_in: float, value: Map) -> Tensor:
    """`value(x)` where `inside(x)`, infinity elsewhere, and NaN for NaN; the gradient is finite on either side."""
    arguments.floating(**{name: x})
    within = inside(x)
    at = value(torch.where(within, x, stand_in))
    return torch.where(within, at, torch.where(x.isnan(), x, math.inf))


def _pair(f: Map, conjugate: Map, subgradient: Map, activation: Map, upper: float = math.inf, closed: bool = False
          ) -> Conjugate:  # fmt: skip
    """The record whose functions are infinite outside their domains and refuse what is no floating tensor."""
    stand_in = min(upper - 1, 0.0)
    return Conjugate(
        lambda u: _on("u", u, lambda x: x >= 0, 1.0, f),
        lambda t: _on("t", t, lambda x: x <= upper if closed else x < upper, stand_in, conjugate),
        lambda u: _on("u", u, lambda x: x > 0, 1.0, subgradient),
        lambda v: _on("v", v, lambda x: ~x.isnan(), 0.0, activation),
        upper,
        closed,
    )


def _js_conjugate(t: Tensor) -> Tensor:
    # 2 - exp(2t) = 1 - (exp(2t) - 1) without the cancellation at 0.
    return -torch.log1p(-torch.expm1(2 * t)) / 2


kl = _pair(lambda u: torch.special.xlogy(u, u), lambda t: (t - 1).exp(), lambda u: 1 + u.log(), lambda v: v)
r"""$f(u) = u\log u$, $f^*(t) = e^{t-1}$, $g_f(v) = v$: $D_f(P\,\|\,Q) = \mathrm{KL}(P\,\|\,Q)$."""

reverse_kl = _pair(lambda u: -u.log(), lambda t: -1 - (-t).log(), lambda u: -1 / u, lambda v: -(-v).exp(), 0.0)
r"""$f(u) = -\log u$, $f^*(t) = -1 - \log(-t)$ for t < 0, $g_f(v) = -e^{-v}$: $\mathrm{KL}(Q\,\|\,P)$."""

jensen_shannon = _pair(
    lambda u: (torch.special.xlogy(u, 2 * u / (1 + u)) - torch.log1p((u - 1) / 2)) / 2,
    _js_conjugate,
    lambda u: torch.log(2 * u / (1 + u)) / 2,
    lambda v: (math.log(2) - torch.nn.functional.softplus(-v)) / 2,
    upper=math.log(2) / 2,
)
r"""$f(u) = \tfrac12[u\log u - (u+1)\log\tfrac{u+1}2]$, $f^*(t) = -\tfrac12\log(2 - e^{2t})$ for $t < \tfrac12\log 2$."""

squared_hellinger = _pair(
    lambda u: ((u - 1) / (u.sqrt() + 1)).square(),
    lambda t: t / (1 - t),
    lambda u: 1 - u.rsqrt(),
    lambda v: -torch.expm1(-v),
    upper=1.0,
)
r"""$f(u) = (\sqrt u - 1)^2$, $f^*(t) = t/(1-t)$ for t < 1, $g_f(v) = 1 - e^{-v}$."""

total_variation = _pair(
    lambda u: (u - 1).abs() / 2,
    lambda t: t.clamp(min=-0.5),
    lambda u: (u - 1).sign() / 2,
    lambda v: v.tanh() / 2,
    upper=0.5,
    closed=True,
)
r"""$f(u) = \tfrac12\lvert u - 1\rvert$, $f^*(t) = \max(t, -\tfrac12)$ for $t \le \tfrac12$, $g_f(v) = \tfrac12\tanh v$."""

pearson = _pair(
    lambda u: (u - 1).square(),
    lambda t: torch.where(t > -2, t + t.square() / 4, -1.0),
    lambda u: 2 * (u - 1),
    lambda v: v,
)
r"""$f(u) = (u - 1)^2$, $f^*(t) = t + t^2/4$ for $t \ge -2$ and $-1$ below, $g_f(v) = v$."""

neyman = _pair(
    lambda u: (u - 1).square() / u,
    lambda t: 2 * t / (1 + (1 - t).sqrt()),
    lambda u: (u - 1) * (u + 1) / u.square(),
    lambda v: -torch.expm1(-v),
    upper=1.0,
    closed=True,
)
r"""$f(u) = (1 - u)^2/u$, $f^*(t) = 2 - 2\sqrt{1 - t}$ for $t \le 1$, $g_f(v) = 1 - e^{-v}$."""


def alpha(a: float) -> Conjugate:
    r"""$f(u) = \frac{u^a - 1 - a(u - 1)}{a(a - 1)}$, the generator of the alpha-divergence.

    $f^*(t) = \tfrac1a\big[(1 + (a-1)t)_+^{a/(a-1)} - 1\big]$, with domain $t < \frac1{1-a}$ for a < 1 (the end belongs to it for
    a < 0) and all reals for a > 1; $g_f(v) = (1 - e^{-v})/(1 - a)$ for a < 1 and v for a > 1. a = 2 gives half of
    Pearson's, a = -1 half of Neyman's, a = 1/2 twice the squared Hellinger; the limits at 1 and 0 are `kl` and `reverse_kl`.

    Args:
        a: any real but 0 and 1.

    Raises:
        TypeError, ValueError: if `a` is no number, 0, 1 or not finite.

    References:
        Nowozin, Cseke and Tomioka (2016), f-GAN, tables 1 and 2, for the other generators and their activations.
    """
    arguments.finite(a=a)
    if a in (0, 1):
        raise ValueError(f"a must be a finite number other than 0 and 1, got {a}")

    def conjugate(t: Tensor) -> Tensor:
        base = 1 + (a - 1) * t
        inside = base > 0
        log = (a / (a - 1)) * torch.where(inside, base, 1.0).log()
        return torch.where(inside, log.expm1() / a, -1 / a)

    return _pair(
        lambda u: (u**a - 1 - a * (u - 1)) / (a * (a - 1)),
        conjugate,
        lambda u: ((a - 1) * u.log()).expm1() / (a - 1),
        (lambda v: v) if a > 1 else (lambda v: -torch.expm1(-v) / (1 - a)),
        upper=math.inf if a > 1 else 1 / (1 - a),
        closed=a < 0,
    )


alpha_three_halves = alpha(1.5)
alpha_minus_half = alpha(-0.5)

Slip = Callable[[Conjugate], Conjugate]


def _value(change: Callable[[Tensor, Tensor], Tensor]) -> Slip:
    """The slip that puts `change(f*(t), t)` in place of the conjugate."""
    return lambda c: replace(c, conjugate=lambda t: change(c.conjugate(t), t))


def _activation(change: Callable[[Conjugate, Tensor], Tensor]) -> Slip:
    """The slip that puts `change(c, v)` in place of the activation."""

    def slip(c: Conjugate) -> Conjugate:
        if c.upper == math.inf:
            raise NotImplementedError("every real number lies in the conjugate's domain")
        return replace(c, activation=lambda v: change(c, v))

    return slip


_TOO_SMALL: dict[str, Slip] = {
    "1 is subtracted from the conjugate": _value(lambda value, t: value - 1),
    "the sign of the generator is changed": lambda c: replace(c, f=lambda u: -c.f(u)),
}
_TOO_LARGE: dict[str, Slip] = {"1 is added to the conjugate": _value(lambda value, t: value + 1)}
_DOUBLED: dict[str, Slip] = {
    "the generator is doubled, the conjugate is not": lambda c: replace(c, f=lambda u: 2 * c.f(u)),
    "the conjugate is doubled": _value(lambda value, t: 2 * value),
}
_SHIFTED: dict[str, Slip] = {
    **_TOO_LARGE,
    "1 is subtracted from the conjugate": _TOO_SMALL["1 is subtracted from the conjugate"],
    "the conjugate is doubled": _DOUBLED["the conjugate is doubled"],
}
_SUBGRADIENT: dict[str, Slip] = {
    "the subgradient is that at 1/u (the ratio is upside down)": lambda c: replace(
        c, subgradient=lambda u: c.subgradient(1 / u)
    ),
}
_ACTIVATION: dict[str, Slip] = {
    "the activation is left out": _activation(lambda c, v: v),
    "1 is added to the activation": _activation(lambda c, v: c.activation(v) + 1),
}
_REPAIRS: dict[str, Slip] = {
    **_TOO_SMALL,
    **_TOO_LARGE,
    "the conjugate is halved": _value(lambda value, t: value / 2),
    "the generator is halved": lambda c: replace(c, f=lambda u: c.f(u) / 2),
    **_SUBGRADIENT,
}
law = functools.partial(claim, repairs=_REPAIRS, examples=40)


def _ratios(c: Conjugate, dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
    return strategies.tensors((6,), dtype, strategies.log_uniform(1 / c.reach, c.reach))


def _outputs(c: Conjugate, dtype: torch.dtype, reach: float = 6.0) -> st.SearchStrategy[Tensor]:
    return strategies.tensors((6,), dtype, Interval(reach=reach))


def _slope(function: Map, x: Tensor) -> Tensor:
    """The elementwise derivative."""
    leaf = x.detach().clone().requires_grad_()
    value = function(leaf)
    if not value.requires_grad:
        raise NotImplementedError("the conjugate is not differentiable by autograd")
    return torch.autograd.grad(value.sum(), leaf)[0]


def _size(c: Conjugate, u: Tensor, t: Tensor) -> Tensor:
    """The sum of the magnitudes whose roundings the bound of `fenchel_young` counts."""
    generator = 1 + u + c.f(u).abs() + (u * c.subgradient(u)).abs()
    conjugate = c.conjugate(t).abs() + (1 + t.abs()) * (u.abs() + _slope(c.conjugate, t).abs())
    return (generator + (u * t).abs() + conjugate).detach().double().cpu()


@law(
    given=lambda c, dtype: st.tuples(_ratios(c, dtype), _outputs(c, dtype)),
    mutants=_TOO_SMALL,
)
def fenchel_young(c: Conjugate, u: Tensor, v: Tensor) -> Iterator[Residual]:
    r"""The inequality of Fenchel and Young holds: $f(u) + f^*(t) \ge ut$ for all u and all t in the domain of $f^*$.

    Error bound: 8 roundings of the three terms and of what relative roundings of u and of $1 + \lvert t\rvert$ change in
    them: $1 + u + \lvert f\rvert + \lvert uf'\rvert + \lvert ut\rvert + \lvert f^*\rvert$ and
    $(1 + \lvert t\rvert)(u + f^{*\prime})$.
    """
    u, t = (x.reshape(-1) for x in torch.meshgrid(u, c.activation(v), indexing="ij"))
    wide = c.f(u).double() + c.conjugate(t).double()
    yield at_most(u.double() * t.double(), wide, ulps=8 * torch.finfo(u.dtype).eps / torch.finfo(torch.float64).eps,
                  scale=_size(c, u, t), what="u t <= f(u) + f*(t)")  # fmt: skip


@law(
    given=lambda c, dtype: _ratios(c, dtype).map(lambda u: (u,)),
    mutants=_TOO_LARGE | _DOUBLED | _SUBGRADIENT | _TOO_SMALL,
)
def equality_at_the_subgradient(c: Conjugate, u: Tensor) -> Iterator[Residual]:
    r"""At a subgradient the inequality is an equality: $f(u) + f^*(s) = us$ for $s \in \partial f(u)$.

    Error bound: as in `fenchel_young`; the rounding of s itself is among them.
    """
    s = c.subgradient(u)
    yield close((c.f(u).double() + c.conjugate(s).double()).to(u.dtype), (u * s).detach(), scale=_size(c, u, s),
                what="f(u) + f*(s)")  # fmt: skip


@law(given=lambda c, dtype: _outputs(c, dtype).map(lambda v: (v,)), mutants=_SHIFTED)
def conjugate_is_the_supremum(c: Conjugate, v: Tensor) -> Iterator[Residual]:
    r"""The conjugate is not larger than the supremum: $f^*(t) = ut - f(u)$ at $u = f^{*\prime}(t)$.

    Error bound: as in `fenchel_young`; an error of u changes $ut - f(u)$ in second order only.
    """
    t = c.activation(v)
    u = _slope(c.conjugate, t).clamp(min=0)
    yield close((u.double() * t.double() - c.f(u).double()).to(t.dtype), c.conjugate(t).detach(),
                scale=_size(c, u.clamp(min=torch.finfo(u.dtype).tiny), t), what="u t - f(u)")  # fmt: skip


@law(
    given=lambda c, dtype: strategies.tensors((6,), dtype, strategies.log_uniform(0.1, 10.0)).map(lambda u: (u,)),
    mutants=_TOO_LARGE | _TOO_SMALL | _DOUBLED | {
        "the activation reaches only part of the domain": lambda c: replace(
            c, activation=lambda v: c.activation(v.tanh() / 8)
        ),
    },
    examples=15,
)  # fmt: skip
def biconjugate_is_the_generator(c: Conjugate, u: Tensor) -> Iterator[Residual]:
    r"""The generator is the conjugate of its conjugate: $f(u) = \sup_v\{u\,g_f(v) - f^*(g_f(v))\}$.

    So the bound on the divergence can be tight: the activation leaves out nothing that matters.

    Error bound: the supremum over v in [-30, 30] is enclosed by concavity in t: left and right of the best point of a grid
    the function lies below the chords from the other side, extended. To that come 8 roundings as in `fenchel_young`.
    """
    grid = torch.linspace(-30, 30, 61, dtype=u.dtype, device=u.device).expand(len(u), -1)
    for _ in range(4):
        t = c.activation(grid)
        heights = u[:, None].double() * t.double() - c.conjugate(t).double()
        heights = torch.where(heights.isfinite(), heights, -math.inf)
        best = heights.argmax(-1, keepdim=True)
        around = torch.cat([best - 1, best, best + 1], -1).clamp(0, grid.shape[-1] - 1)
        ends = grid.gather(-1, around)
        (ta, tb, tc), (ha, hb, hc) = (x.gather(-1, around).double().unbind(-1) for x in (t, heights))
        share = torch.linspace(0, 1, 41, dtype=u.dtype, device=u.device)
        grid = ends[:, :1] + (ends[:, 2:] - ends[:, :1]) * share
    right = torch.where(tb > ta, (hb - ha) / (tb - ta) * (tc - tb), 0.0)
    left = torch.where(tc > tb, (hb - hc) / (tc - tb) * (tb - ta), 0.0)
    above = torch.maximum(right, left).clamp(min=0)
    known = (hb.isfinite() & above.isfinite()).detach()
    if not bool(known.any()):
        yield exactly(bool(known.any()), True, kind=Kind.NUMERICAL, what="the supremum over v is finite somewhere")
        return
    mid, spread = (hb + above / 2).detach()[known], (above / 2).detach()[known]
    size = _size(c, u[known], tb[known].detach().to(u.dtype))
    yield close(c.f(u)[known], Ball(mid, spread, kind=Kind.NUMERICAL, source="supremum over a grid, by concavity"),
                scale=size, what="f(u)")  # fmt: skip


@law(given=lambda c, dtype: _outputs(c, dtype, 1e4).map(lambda v: (v,)), mutants=_ACTIVATION)
def activation_maps_into_the_domain(c: Conjugate, v: Tensor) -> Iterator[Residual]:
    r"""The activation maps every real number into the domain of the conjugate: $f^*(g_f(v)) < \infty$.

    Error bound: 0 below the open end of the domain for $\lvert v\rvert \le 6$; beyond, where $g_f(v)$ may round to that end,
    2 ulps of the end. A value of $-\infty$ where an exponential overflows is the limit.
    """
    t, near = c.activation(v), v.abs() <= 6
    end = torch.full_like(t, c.upper)
    yield exactly(bool(t.isnan().any()), False, kind=Kind.NUMERICAL, what="g_f(v) is NaN")
    if c.upper < math.inf:
        yield at_most(t, end, ulps=2, scale=abs(c.upper), what="g_f(v) <= end of the domain")
        if bool(near.any()):
            inside = t[near] <= end[near] if c.closed else t[near] < end[near]
            yield exactly(bool(inside.all()), True, kind=Kind.NUMERICAL, what="g_f(v) lies in the domain")
    if bool(near.any()):
        finite = bool(c.conjugate(t[near]).isfinite().all())
        yield exactly(finite, True, kind=Kind.NUMERICAL, what="f*(g_f(v)) is finite")


@law(given=lambda c, dtype: _ratios(c, dtype).map(lambda u: (u,)), mutants={
    "1/100 is added to the generator": lambda c: replace(c, f=lambda u: c.f(u) + 0.01),
}, examples=5)  # fmt: skip
def generator_vanishes_at_one(c: Conjugate, u: Tensor) -> Iterator[Residual]:
    r"""The generator vanishes at 1 and keeps shape and dtype: $f(1) = 0$, so a distribution is at distance 0 of itself.

    Error bound: 0; differences of equal floats and logarithms of 1 are exact.
    """
    one = torch.ones_like(u)
    yield exactly(c.f(one), torch.zeros_like(u), what="f(1)")


@claim(given=lambda c, dtype: _outputs(c, dtype).map(lambda v: (v,)), reference=squared_hellinger, mutants=_SHIFTED,
       examples=12)  # fmt: skip
def no_real_number_gives_more(c: Conjugate, v: Tensor) -> Iterator[Residual]:
    r"""No real root w of u gives more, and one gives as much: $t/(1 - t) = \max_w\{w^2 t - (w - 1)^2\}$ for t < 1.

    Error bound: 4 roundings of the conjugate, for a difference and a quotient; z3 decides for all w.
    """
    w, points = z3.Real("w"), c.activation(v)
    for t, value in zip(points.tolist(), c.conjugate(points).tolist(), strict=True):
        s, slack = Fraction(t), Fraction(4 * torch.finfo(v.dtype).eps * abs(value))
        above, below = (z3.Q(x.numerator, x.denominator) for x in (Fraction(value) + slack, Fraction(value) - slack))
        yield smt.for_all(w * w * z3.Q(s.numerator, s.denominator) - (w - 1) * (w - 1) <= above, what="w^2 t - f(w^2)")
        yield smt.for_all(below <= z3.Q(s.numerator, (1 - s).numerator), what="the largest w^2 t - f(w^2)")


def check_conjugate(conjugate: Conjugate, **options: Unpack[Options]) -> list[Evidence]:
    r"""Judges a convex function on the half-line and its conjugate by every law of such a pair.

    Args:
        conjugate: the record.
        options: `expected_failures`, `settings`, `dtype`, `device`, `name` as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample, the true value and a diagnosis.
        TypeError: if `conjugate` is no `Conjugate`.
    """
    arguments.instances(Conjugate, conjugate=conjugate)
    return check(conjugate, laws(Conjugate), **options)
