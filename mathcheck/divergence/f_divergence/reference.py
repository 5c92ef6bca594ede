"""The well-known f-divergences of distributions on finitely many outcomes."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import flint

from mathcheck.divergence import finite
from mathcheck.divergence.f_divergence.record import FDivergence, Inf
from mathcheck.oracles import arb


def _zero() -> Any:
    return flint.arb(0)


def _js(t: Any) -> Any:
    return (t * arb.log(t) - (t + 1) * arb.log((t + 1) / 2)) / 2


def _alpha(alpha: Fraction) -> FDivergence:
    a = alpha

    def generator(t: Any) -> Any:
        return (t ** arb.exact(a) - 1 - (t - 1) * arb.exact(a)) / arb.exact(a * (a - 1))

    def limits() -> tuple[Any, Any]:
        return arb.exact(1 / a) if a > 0 else Inf, arb.exact(1 / (1 - a)) if a < 1 else Inf

    return FDivergence(lambda p, q: finite.alpha_divergence(p, q, float(a)), generator, limits, ulps=128.0)


kl = FDivergence(finite.kl, lambda t: t * arb.log(t), lambda: (_zero(), Inf))
reverse_kl = FDivergence(finite.reverse_kl, lambda t: -arb.log(t), lambda: (Inf, _zero()))
jensen_shannon = FDivergence(finite.jensen_shannon, _js, lambda: (flint.arb(2).log() / 2, flint.arb(2).log() / 2))
squared_hellinger = FDivergence(
    finite.squared_hellinger, lambda t: (arb.sqrt(t) - 1) ** 2, lambda: (flint.arb(1), flint.arb(1))
)
total_variation = FDivergence(
    finite.total_variation, lambda t: abs(t - 1) / 2, lambda: (flint.arb(0.5), flint.arb(0.5))
)
pearson = FDivergence(finite.pearson, lambda t: (t - 1) ** 2, lambda: (flint.arb(1), Inf))
neyman = FDivergence(finite.neyman, lambda t: (t - 1) ** 2 / t, lambda: (Inf, flint.arb(1)))
alpha_three_halves = _alpha(Fraction(3, 2))
alpha_minus_half = _alpha(Fraction(-1, 2))
