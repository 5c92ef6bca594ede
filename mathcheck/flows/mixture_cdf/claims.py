"""What the flow of a Gaussian mixture claims, and what a flow with a bounded image loses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import flint
import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Ball, Residual, at_most, close, exactly
from mathcheck.engine.strategies import Interval
from mathcheck.flows.bijection import Bijection
from mathcheck.flows.mixture_cdf.flow import LOG_ROOT_2PI, mixture_cdf
from mathcheck.oracles import arb


def mass_of_the_bounded_map(total: Any) -> Any:
    r"""$\int\varphi(f(x))f'(x)\,\mathrm dx = \mathrm{erf}(W/(2\sqrt2))$ for $f = \sum_k w_k(\Phi_k - \tfrac12)$.

    Args:
        total: $W = \sum_k w_k$, positive, a ball.

    Raises:
        TypeError: if it is no number.
    """
    arguments.scalars(total=total)
    return 1 - arb.erfc(total / (2 * arb.sqrt(arb.exact(2))))


Components = list[tuple[float, float, float]]
Mass = Callable[[Any], Any]


@claim(
    given=lambda mass, dtype: st.tuples(
        st.lists(
            st.tuples(
                st.sampled_from([0.5, 1.0, 2.25]), st.sampled_from([-1.0, 0.0, 1.5]), st.sampled_from([0.5, 1.0])
            ),
            min_size=1,
            max_size=2,
        )
    ),
    reference=mass_of_the_bounded_map,
    mutants={
        "the mass is taken to be one": lambda mass: lambda total: arb.exact(1),
        "half of the total weight is forgotten": lambda mass: lambda total: mass(2 * total),
        "the weights are taken to sum to one": lambda mass: lambda total: mass(total * 0 + 1),
        "the range is taken for the mass": lambda mass: lambda total: total,
    },
    examples=12,
)
def bounded_map_loses_mass(mass: Mass, components: Components) -> Iterator[Residual]:
    r"""A map onto a bounded interval makes no density: $\int\varphi(f(x))f'(x)\,\mathrm dx = \mathrm{erf}(W/(2\sqrt2)) < 1$.

    Error bound: the radius of the integral, certified on $[-T, T]$; what lies outside is positive and at most
    $(W - f(T) + f(-T))/\sqrt{2\pi}$, since $\varphi\le 1/\sqrt{2\pi}$.
    """

    def weighted(x: Any, function: Callable[[Any], Any]) -> Any:
        return sum((w * function((x - m) / s) / (1 if function is cdf else s) for w, m, s in components), arb.exact(0))

    def cdf(t: Any) -> Any:
        return arb.erfc(-t / arb.sqrt(arb.exact(2))) / 2 - arb.exact(0.5)

    def density(t: Any) -> Any:
        return arb.exp(-t * t / 2) / arb.sqrt(2 * flint.arb.pi())

    def both() -> list[Any]:
        total = sum((arb.exact(w) for w, _, _ in components), arb.exact(0))
        inside = arb.integral(lambda x: density(weighted(x, cdf)) * weighted(x, density), -9.0, 9.0)
        ends = [weighted(arb.exact(x), cdf) for x in (9.0, -9.0)]
        outside = (total - ends[0] + ends[1]) / arb.sqrt(2 * flint.arb.pi())
        return [mass(total), inside, inside + outside]

    value = arb.enclose(both, rel_bits=30)
    ours, inside, most = (
        Ball(value.mid[i], value.radius[i], kind=value.kind, source="certified integral") for i in range(3)
    )
    yield at_most(inside, ours, what="the integral from -9 to 9 <= the mass")
    yield at_most(ours, most, what="the mass <= the integral with its tails")


Build = Callable[[Tensor, Tensor, Tensor], Bijection]
Inputs = tuple[Tensor, Tensor, Tensor, Tensor]


def _mixtures(build: Build, dtype: torch.dtype) -> st.SearchStrategy[Inputs]:
    """One to three components and a point, which may lie 40 to 400 of their standard deviations away."""

    def of(k: int) -> st.SearchStrategy[Inputs]:
        ranges = Interval(reach=3.0), Interval(reach=5.0), Interval(reach=2.5)
        point = strategies.of_each(
            st.sampled_from([1.0, 8.0]),
            lambda size: strategies.tensors((), dtype, Interval(reach=5.0)).map(lambda x: x * size),
        )
        return st.tuples(*(strategies.tensors((k,), dtype, r) for r in ranges), point)

    return strategies.of_each(st.integers(1, 3), of)


def _exact_mixture(logits: Tensor, means: Tensor, log_scales: Tensor, x: Tensor) -> list[tuple[Any, Any, Any]]:
    """Weight, standardised point and scale of every component, in balls."""
    rows = zip(*(arb.exact_list(t) for t in (logits, means, log_scales)), strict=True)
    parts = [(arb.exp(logit), (arb.exact(x) - m) / arb.exp(s), arb.exp(s)) for logit, m, s in rows]
    total = sum((w for w, _, _ in parts), arb.exact(0))
    return [(w / total, t, s) for w, t, s in parts]


def _rounding(means: Tensor, log_scales: Tensor, x: Tensor) -> Tensor:
    """How far roundings move the standardised points, in units of eps."""
    scales = log_scales.double().cpu().exp()
    moved = (x.double().cpu().abs() + means.double().cpu().abs()) / scales
    return moved + (x.double().cpu() - means.double().cpu()).abs() / scales * (1 + log_scales.double().cpu().abs())


def _hazards(t: Tensor) -> Tensor:
    """A bound on the slopes of log Phi and of log phi."""
    return 1 + t.abs()


def _change(
    forward: Callable[[Tensor, Inputs], Tensor] | None = None, log_det: Callable[[Tensor, Inputs], Tensor] | None = None
) -> Callable[[Build], Build]:
    def slip(build: Build) -> Build:
        def built(logits: Tensor, means: Tensor, log_scales: Tensor) -> Bijection:
            b = build(logits, means, log_scales)

            def given(x: Tensor) -> Inputs:
                return logits, means, log_scales, x

            changes: dict[str, Any] = {}
            if forward is not None:
                changes["forward"] = lambda x: forward(b.forward(x), given(x))
            if log_det is not None:
                original = b.log_abs_det_jacobian or torch.zeros_like
                changes["log_abs_det_jacobian"] = lambda x: log_det(original(x), given(x))
            return replace(b, **changes)

        return built

    return slip


def _probability(logits: Tensor, means: Tensor, log_scales: Tensor, x: Tensor) -> Tensor:
    value: Tensor = (logits.softmax(0) * torch.special.ndtr((x - means) / log_scales.exp())).sum(-1)
    return value


@claim(
    given=_mixtures,
    reference=mixture_cdf,
    mutants={
        "the probability is formed before it is inverted": _change(lambda z, p: torch.special.ndtri(_probability(*p))),
        "only the lower tail is cared for": _change(
            lambda z, p: torch.where(z > 0, torch.special.ndtri(_probability(*p)), z)
        ),
        "the weights are not normalised": lambda build: lambda a, m, s: build(a.exp(), m, s),
        "variances are taken for standard deviations": lambda build: lambda a, m, s: build(a, m, s / 2),
        "one half is subtracted and nothing inverted": _change(lambda z, p: _probability(*p) - 0.5),
    },
)
def keeps_both_tails(build: Build, logits: Tensor, means: Tensor, log_scales: Tensor, x: Tensor) -> Iterator[Residual]:
    r"""The flow carries probabilities over, in the far tails too: $\Phi(f(x)) = F(x)$ and $\Phi(-f(x)) = 1 - F(x)$.

    Error bound: 16 roundings of $\log\Phi(-\lvert z\rvert)$, of z times the hazard $(\log\Phi)'(-\lvert z\rvert) \le 1 +
    \lvert z\rvert$, and of the standardised points times theirs; both logarithms are enclosed.
    """
    z = build(logits, means, log_scales).forward(x)
    yield exactly(z.isfinite(), torch.tensor(True), what="z is finite")
    sign = -1 if float(z) > 0 else 1

    def logs() -> list[Any]:
        root = arb.sqrt(arb.exact(2))
        parts = _exact_mixture(logits, means, log_scales, x)
        tail = sum((w * arb.erfc(-sign * t / root) for w, t, _ in parts), arb.exact(0)) / 2
        return [arb.log(arb.erfc(-sign * arb.exact(z) / root) / 2), arb.log(tail)]

    both = arb.enclose(logs, rel_bits=60)
    wide = (x.double().cpu() - means.double().cpu()) / log_scales.double().cpu().exp()
    weights = (logits.double().cpu().log_softmax(0) + torch.special.log_ndtr(sign * wide)).softmax(0)
    moved = (weights * _hazards(wide) * _rounding(means, log_scales, x)).sum()
    scale = both.mid[1].abs() + float(_hazards(z)) * z.double().cpu().abs() + moved + logits.double().cpu().abs().amax()
    true = Ball(both.mid[1], both.radius[1] + both.radius[0], kind=both.kind, source=both.source)
    yield close(both.mid[0].to(x.dtype), true, ulps=16, scale=scale, what="log Phi(z) in the nearer tail")


def _log_terms(p: Inputs) -> Tensor:
    logits, means, log_scales, x = p
    t = (x - means) / log_scales.exp()
    return logits.log_softmax(0) - log_scales - t * t / 2 - LOG_ROOT_2PI


@claim(
    given=_mixtures,
    reference=mixture_cdf,
    mutants={
        "densities are added before the logarithm is taken, which underflows": _change(
            None, lambda v, p: _log_terms(p).exp().sum(-1).log()
        ),
        "the base density is left out": _change(None, lambda v, p: _log_terms(p).logsumexp(-1)),
        "the scales are left out": _change(None, lambda v, p: v + p[2].amax() + 1e-3),
        "the sign of the log-derivative is changed": _change(None, lambda v, p: -v),
    },
    uses=(keeps_both_tails,),
)
def density_is_the_mixture(
    build: Build, logits: Tensor, means: Tensor, log_scales: Tensor, x: Tensor
) -> Iterator[Residual]:
    r"""The density of the flow is the Gaussian mixture, with mass one.

    $\log\varphi(f(x)) + \log f'(x) = \log\sum_k\pi_k\,\varphi(\tfrac{x-\mu_k}{\sigma_k})/\sigma_k$.

    Error bound: 16 roundings of both terms, of $z^2$, and of the standardised points times the slope $\lvert t_k\rvert$
    of the log-density, weighted by the components' posterior probabilities; the mixture is enclosed.
    """
    flow = build(logits, means, log_scales)
    if flow.log_abs_det_jacobian is None:
        raise NotImplementedError("the flow has no log_abs_det_jacobian")
    z, slope = flow.forward(x), flow.log_abs_det_jacobian(x)
    value = -z.double().cpu().square() / 2 - LOG_ROOT_2PI + slope.double().cpu()

    def mixture() -> Any:
        parts = _exact_mixture(logits, means, log_scales, x)
        terms = (w / s * arb.exp(-t * t / 2) for w, t, s in parts)
        return arb.log(sum(terms, arb.exact(0)) / arb.sqrt(2 * flint.arb.pi()))

    true = arb.enclose(mixture, rel_bits=50)
    wide = (x.double().cpu() - means.double().cpu()) / log_scales.double().cpu().exp()
    posterior = _log_terms(
        (logits.double().cpu(), means.double().cpu(), log_scales.double().cpu(), x.double().cpu())
    ).softmax(0)
    moved = (posterior * _hazards(wide) * _rounding(means, log_scales, x)).sum()
    scale = (
        true.mid.abs()
        + slope.double().cpu().abs()
        + z.double().cpu().square()
        + moved
        + logits.double().cpu().abs().amax()
        + 1
    )
    yield close(value.to(x.dtype), true, ulps=16, scale=scale, what="the log-density")


def _example(*rows: tuple[float, float, float]) -> Bijection:
    weights, means, scales = torch.tensor(rows, dtype=torch.float64).T
    return mixture_cdf(weights.log(), means, scales.log())


three_peaks = _example((0.3, -1.0, 0.25), (0.3, 0.25, 0.25), (0.4, 1.5, 0.25))
one_wide_one_narrow = _example((0.75, 0.5, 2.0), (0.25, -1.0, 0.125))
