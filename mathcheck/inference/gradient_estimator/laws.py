"""The laws of a gradient estimator, and `check_gradient_estimator`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine.adapting import subject
from mathcheck.engine.check import check
from mathcheck.engine.claim import Settings, claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Ball, Kind, Residual, close, exactly
from mathcheck.engine.strategies import of_each
from mathcheck.inference.gradient_estimator import slips
from mathcheck.inference.gradient_estimator.record import GradientEstimator
from mathcheck.oracles import arb, derivative

Point = tuple[Tensor]


def _thetas(g: GradientEstimator, dtype: torch.dtype) -> st.SearchStrategy[Point]:
    numbers = st.tuples(*(interval.elements(dtype) for interval in g.parameters))
    return numbers.map(lambda values: (torch.tensor(values, dtype=dtype),))


def _with_noise(g: GradientEstimator, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    draws = of_each(st.sampled_from(list(g.batch_shapes)), lambda batch: g.noise.draws(batch, dtype))
    return st.tuples(_thetas(g, dtype).map(lambda point: point[0]), draws)


def _ill_formed(g: GradientEstimator, theta: Tensor) -> Residual | None:
    """What is wrong with the estimates before anything is averaged: their shape, or a NaN or infinity at a node."""
    value = g.estimate(theta, g.noise.zeros((2,), theta.dtype).to(theta.device))
    shape = exactly(tuple(value.shape), (2, *theta.shape), kind=Kind.NUMERICAL, what="the shape of two estimates")
    if shape.error:
        return shape
    finite = bool(g.noise.sums(lambda noise: g.estimate(theta, noise).detach(), theta)[0].isfinite().all())
    return None if finite else exactly(finite, True, kind=Kind.NUMERICAL, what="every estimate is finite")


def _moved(g: GradientEstimator, theta: Tensor, noise: Tensor) -> Tensor:
    """How far a rounding of each parameter in turn moves each estimate, in float64."""
    value = g.estimate(theta, noise).detach().double()
    distance = torch.zeros_like(value)
    for j in range(theta.numel()):
        moved = theta.clone()
        moved[j] = moved[j] * (1 + 4 * torch.finfo(theta.dtype).eps)
        distance = distance + (g.estimate(moved, noise).detach().double() - value).abs()
    # An estimate that is no number is told as such, not as one that may lie anywhere.
    return distance.nan_to_num(nan=0.0)


def _moment(g: GradientEstimator, theta: Tensor, power: int = 1) -> Ball:
    """The expectation of a power of the estimates over the noise, `(p,)`; the radius covers the estimates' rounding."""
    mean = g.noise.expectation(lambda noise: g.estimate(theta, noise).detach() ** power, theta)

    def rounding(noise: Tensor) -> Tensor:
        value = g.estimate(theta, noise).detach().double()
        slack = 64 * torch.finfo(theta.dtype).eps * g.noise.size(value) + _moved(g, theta, noise)
        return slack if power == 1 else 2 * slack * value.abs() + slack * slack

    slack, _ = g.noise.sums(rounding, theta)
    return Ball(mean.mid, mean.radius + slack, kind=mean.kind, source=mean.source)


def _difference_gradient(g: GradientEstimator, theta: Tensor) -> Ball:
    """The gradient of the mean of the integrand, from its values alone; unresolved nodes count in the radius."""
    integrand = g.integrand
    if integrand is None:
        raise NotImplementedError("the estimator states no integrand")
    ends = [torch.tensor([getattr(i, end) for i in g.parameters], dtype=torch.float64) for end in ("lower", "upper")]

    def value(t: Tensor) -> Tensor:
        return torch.cat(g.noise.sums(lambda noise: integrand(t, noise), t))

    found = derivative.difference_jacobian(value, theta.detach().double().cpu(), *ends)
    gap = (found.mid[0] - found.mid[1]).abs() * max(getattr(g.noise, "nodes", 0) / 4, 1)
    return Ball(found.mid[1], found.radius[1] + gap, kind=Kind.NUMERICAL, source="differences of the expectation")


def _compare(ours: Ball, true: Ball, what: str) -> Residual:
    kind = max(ours.kind, true.kind, key=lambda kind: kind.strength)
    return close(ours.mid, Ball(true.mid, true.radius + ours.radius, kind=kind, source=true.source), what=what)


@claim(given=_thetas, mutants=slips.SIGN | slips.FACTOR | slips.MEAN, repairs=slips.MEAN_REPAIRS, examples=30)
def unbiased(g: GradientEstimator, theta: Tensor) -> Iterator[Residual]:
    r"""The estimator is unbiased: $\mathbb E_z[g(\theta, z)] = \nabla_\theta\,\mathbb E_z[h(\theta, z)]$.

    The mean is taken with every draw injected: over all outcomes, or over the nodes of a Gauss-Hermite rule. Two
    oracles: the gradient of the objective's closed form in ball arithmetic, and extrapolated differences of the
    expectation by its definition.

    Error bound: the radii of both sides; the mean's holds the rule's own error estimate and the mean over the noise of
    64 roundings of each estimate (of the largest one, for outcomes: a score is a difference of numbers of that size)
    and of what a rounding of each parameter makes it move.
    """
    wrong = _ill_formed(g, theta)
    if wrong is not None:
        yield wrong
        return
    if g.objective is None and g.integrand is None:
        raise NotImplementedError("the estimator states neither an objective nor an integrand")
    mean, objective = _moment(g, theta), g.objective
    if objective is not None:
        true = arb.enclose(
            lambda: arb.gradient(objective, arb.exact_list(theta)), rel_bits=60, source="derivative of J"
        )
        yield _compare(mean, true, "mean estimate")
    if g.integrand is not None:
        yield _compare(mean, _difference_gradient(g, theta), "mean estimate")


@claim(
    given=_thetas,
    mutants=slips.FACTOR | {"each estimate is scaled to length 1": slips.MEAN["each estimate is scaled to length 1"]},
    repairs=slips.REPAIRS,
    examples=30,
)
def variance_is_as_stated(g: GradientEstimator, theta: Tensor) -> Iterator[Residual]:
    r"""Each coordinate of an estimate has the stated variance.

    $\mathbb E_z[g_i(\theta, z)^2] - \mathbb E_z[g_i(\theta, z)]^2 = v_i(\theta)$.

    Error bound: the radius of the second moment plus $2\lvert\mathbb E g_i\rvert$ times that of the mean, and its
    square; both as in `unbiased`.
    """
    stated = g.variance
    if stated is None:
        raise NotImplementedError("the estimator states no variance")
    wrong = _ill_formed(g, theta)
    if wrong is not None:
        yield wrong
        return
    first, second = _moment(g, theta), _moment(g, theta, 2)
    radius = second.radius + 2 * first.mid.abs() * first.radius + first.radius**2
    # The difference of the two moments is rounded in float64.
    radius = radius + 4 * torch.finfo(torch.float64).eps * second.mid.abs()
    ours = Ball(second.mid - first.mid**2, radius, kind=second.kind, source=second.source)
    yield _compare(
        ours, arb.enclose(lambda: stated(list(arb.exact_list(theta))), rel_bits=60), "variance of an estimate"
    )


@claim(given=_with_noise, mutants=slips.BATCH, repairs=slips.REPAIRS, examples=40)
def rows_are_independent(g: GradientEstimator, theta: Tensor, noise: Tensor) -> Iterator[Residual]:
    r"""Every draw makes an estimate of its own: $g(\theta, z)_b = g(\theta, z_b)$ for every row b.

    Error bound: 64 roundings of the estimate, and what a rounding of each parameter makes it move.
    """
    rows = slips.row_by_row(g).estimate(theta, noise)
    value = g.estimate(theta, noise)
    if value.shape != rows.shape:
        yield exactly(tuple(value.shape), tuple(rows.shape), kind=Kind.NUMERICAL, what="the shape of the estimates")
        return
    true = Ball(rows, _moved(slips.row_by_row(g), theta, noise), kind=Kind.NUMERICAL, source="the draw alone")
    yield close(value, true, ulps=64, what="estimate of a draw among others")


@claim(
    given=_with_noise,
    mutants={
        "it is computed in another dtype": slips.then(
            lambda value: value.to(torch.float32 if value.dtype == torch.float64 else torch.float64)
        ),
        "the draws are summed": slips.then(lambda value: value.reshape(-1, value.shape[-1]).sum(0)),
    },
    repairs=slips.REPAIRS,
    examples=40,
)
def shape_and_dtype_are_those_of_the_arguments(
    g: GradientEstimator, theta: Tensor, noise: Tensor
) -> Iterator[Residual]:
    r"""One gradient for each draw, in the dtype of the parameters.

    For theta `(p,)` and noise `(*batch, *event)` the estimates have shape `(*batch, p)`, $p = \dim\theta$, and are finite.

    Error bound: 0.
    """
    value = g.estimate(theta, noise)
    batch = noise.shape[: noise.ndim - len(g.noise.event_shape)]
    yield exactly(tuple(value.shape), (*batch, *theta.shape), kind=Kind.NUMERICAL, what="the shape of the estimates")
    yield exactly(value.dtype, theta.dtype, kind=Kind.NUMERICAL, what="the dtype of the estimates")
    yield exactly(bool(value.isfinite().all()), True, kind=Kind.NUMERICAL, what="the estimates are finite")


def check_gradient_estimator(
    estimator: GradientEstimator | Any,
    *,
    expected_failures: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> list[Evidence]:
    r"""Judges an estimator of $\nabla_\theta\,\mathbb E_z[h(\theta, z)]$ by every law of a gradient estimator.

    Args:
        estimator: a `GradientEstimator` that states an `integrand`, an `objective`, or both.
        expected_failures, settings, dtype, device: as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample, the true value and a diagnosis.
        TypeError: if `estimator` is no `GradientEstimator`, and no adapter makes one of it.
        ValueError: if it has no parameters, or states neither an integrand nor an objective.
    """
    estimator = subject("gradient_estimator", GradientEstimator, estimator, argument="estimator")
    if not estimator.parameters:
        raise ValueError("estimator.parameters must name at least one interval, got none")
    if estimator.objective is None and estimator.integrand is None:
        raise ValueError("estimator must state an integrand or an objective, got neither")
    return check(
        estimator,
        laws(GradientEstimator),
        expected_failures=expected_failures,
        settings=settings,
        dtype=dtype,
        device=device,
    )
