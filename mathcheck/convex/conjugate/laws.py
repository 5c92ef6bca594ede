"""The laws of a convex conjugate, and `check_conjugate`."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Unpack

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.convex.conjugate import slips
from mathcheck.convex.conjugate.record import Conjugate, Map
from mathcheck.engine import strategies
from mathcheck.engine.adapting import subject
from mathcheck.engine.check import Options, check
from mathcheck.engine.claim import claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Ball, Kind, Residual, at_most, close, exactly
from mathcheck.engine.strategies import Interval

law = functools.partial(claim, repairs=slips.REPAIRS, examples=40)


def _ratios(c: Conjugate, dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
    return strategies.tensors((6,), dtype, strategies.log_uniform(1 / c.reach, c.reach))


def outputs(c: Conjugate, dtype: torch.dtype, reach: float = 6.0) -> st.SearchStrategy[Tensor]:
    """Real numbers, as a critic gives them."""
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
    given=lambda c, dtype: st.tuples(_ratios(c, dtype), outputs(c, dtype)),
    mutants=slips.TOO_SMALL,
)
def fenchel_young(c: Conjugate, u: Tensor, v: Tensor) -> Iterator[Residual]:
    r"""The inequality of Fenchel and Young holds: $f(u) + f^*(t) \ge ut$ for all u and all t in the domain of $f^*$.

    Error bound: 8 roundings of the three terms and of what relative roundings of u and of $1 + \lvert t\rvert$ change in
    them: $1 + u + \lvert f\rvert + \lvert uf'\rvert + \lvert ut\rvert + \lvert f^*\rvert$ and
    $(1 + \lvert t\rvert)(u + f^{*\prime})$.
    """
    u, t = (x.reshape(-1) for x in torch.meshgrid(u, c.activation(v), indexing="ij"))
    wide = c.f(u).double() + c.conjugate(t).double()
    yield at_most(
        u.double() * t.double(),
        wide,
        ulps=8 * torch.finfo(u.dtype).eps / torch.finfo(torch.float64).eps,
        scale=_size(c, u, t),
        what="u t <= f(u) + f*(t)",
    )


@law(
    given=lambda c, dtype: _ratios(c, dtype).map(lambda u: (u,)),
    mutants=slips.TOO_LARGE | slips.DOUBLED | slips.SUBGRADIENT | slips.TOO_SMALL,
)
def equality_at_the_subgradient(c: Conjugate, u: Tensor) -> Iterator[Residual]:
    r"""At a subgradient the inequality is an equality: $f(u) + f^*(s) = us$ for $s \in \partial f(u)$.

    Error bound: as in `fenchel_young`; the rounding of s itself is among them.
    """
    s = c.subgradient(u)
    yield close(
        (c.f(u).double() + c.conjugate(s).double()).to(u.dtype),
        (u * s).detach(),
        scale=_size(c, u, s),
        what="f(u) + f*(s)",
    )


@law(given=lambda c, dtype: outputs(c, dtype).map(lambda v: (v,)), mutants=slips.SHIFTED)
def conjugate_is_the_supremum(c: Conjugate, v: Tensor) -> Iterator[Residual]:
    r"""The conjugate is not larger than the supremum: $f^*(t) = ut - f(u)$ at $u = f^{*\prime}(t)$.

    Error bound: as in `fenchel_young`; an error of u changes $ut - f(u)$ in second order only.
    """
    t = c.activation(v)
    u = _slope(c.conjugate, t).clamp(min=0)
    yield close(
        (u.double() * t.double() - c.f(u).double()).to(t.dtype),
        c.conjugate(t).detach(),
        scale=_size(c, u.clamp(min=torch.finfo(u.dtype).tiny), t),
        what="u t - f(u)",
    )


@law(
    given=lambda c, dtype: strategies.tensors((6,), dtype, strategies.log_uniform(0.1, 10.0)).map(lambda u: (u,)),
    mutants=slips.TOO_LARGE
    | slips.TOO_SMALL
    | slips.DOUBLED
    | {
        "the activation reaches only part of the domain": lambda c: replace(
            c, activation=lambda v: c.activation(v.tanh() / 8)
        ),
    },
    examples=15,
)
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
    yield close(
        c.f(u)[known],
        Ball(mid, spread, kind=Kind.NUMERICAL, source="supremum over a grid, by concavity"),
        scale=size,
        what="f(u)",
    )


@law(given=lambda c, dtype: outputs(c, dtype, 1e4).map(lambda v: (v,)), mutants=slips.ACTIVATION)
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


@law(
    given=lambda c, dtype: _ratios(c, dtype).map(lambda u: (u,)),
    mutants={
        "1/100 is added to the generator": lambda c: replace(c, f=lambda u: c.f(u) + 0.01),
    },
    examples=5,
)
def generator_vanishes_at_one(c: Conjugate, u: Tensor) -> Iterator[Residual]:
    r"""The generator vanishes at 1 and keeps shape and dtype: $f(1) = 0$, so a distribution is at distance 0 of itself.

    Error bound: 0; differences of equal floats and logarithms of 1 are exact.
    """
    one = torch.ones_like(u)
    yield exactly(c.f(one), torch.zeros_like(u), what="f(1)")


def check_conjugate(conjugate: Conjugate | Any, **options: Unpack[Options]) -> list[Evidence]:
    r"""Judges a convex function on the half-line and its conjugate by every law of such a pair.

    Args:
        conjugate: the record.
        options: `expected_failures`, `require`, `settings`, `dtype`, `device`, `name` as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample, the true value and a diagnosis.
        TypeError: if `conjugate` is no `Conjugate`, and no adapter makes one of it.
    """
    conjugate = subject("conjugate", Conjugate, conjugate)
    return check(conjugate, laws(Conjugate), **options)
