"""The generators of the well-known f-divergences, with their conjugates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import torch
import z3
from torch import Tensor

from mathcheck.convex.conjugate import slips
from mathcheck.convex.conjugate.laws import outputs
from mathcheck.convex.conjugate.record import Conjugate, Map
from mathcheck.engine import arguments
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Residual
from mathcheck.oracles import smt


def _on(name: str, x: Tensor, inside: Callable[[Tensor], Tensor], stand_in: float, value: Map) -> Tensor:
    """`value(x)` where `inside(x)`, infinity elsewhere, and NaN for NaN; the gradient is finite on either side."""
    arguments.floating(**{name: x})
    within = inside(x)
    at = value(torch.where(within, x, stand_in))
    return torch.where(within, at, torch.where(x.isnan(), x, math.inf))


def _pair(
    f: Map, conjugate: Map, subgradient: Map, activation: Map, upper: float = math.inf, closed: bool = False
) -> Conjugate:
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


@claim(
    given=lambda c, dtype: outputs(c, dtype).map(lambda v: (v,)),
    reference=squared_hellinger,
    mutants=slips.SHIFTED,
    examples=12,
)
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
