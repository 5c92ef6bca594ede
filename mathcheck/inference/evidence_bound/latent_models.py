r"""Latent-variable models whose evidence is known, and the bounds on it by their definition, in ball arithmetic.

A finite model is given by probabilities $q(z)$ and log-weights $\ell_z = \log p(x, z) - \log q(z)$; its evidence is
$\sum_z q(z)\,e^{\ell_z}$. The normal model is $z \sim \mathcal N(0, 1)$, $x\mid z \sim \mathcal N(z, 1)$ with the proposal
$q = \mathcal N(m, s^2)$: the evidence is $\mathcal N(x; 0, 2)$ and the posterior $\mathcal N(\tfrac x2, \tfrac12)$.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mathcheck.engine.residual import Ball, Kind
from mathcheck.oracles import arb, quadrature
from mathcheck.oracles.memory import remembered

Row = Sequence[Any]
# Log-weights `(rows, K)` to estimates `(rows,)`.
Bound = Callable[[Tensor], Tensor]
# One row of log-weights, as balls, to a ball or a list of balls.
Form = Callable[[Row], Any]


def log_mean_exp(row: Row) -> Any:
    r"""$\log\frac1K\sum_k e^{\ell_k}$ of one row of K balls."""
    top = largest(row)
    return top + arb.log(sum((arb.exp(r - top) for r in row), arb.exact(0)) / len(row))


def mean(row: Row) -> Any:
    r"""$\frac1K\sum_k\ell_k$ of one row of K balls."""
    return sum(row, arb.exact(0)) / len(row)


def shares(row: Row) -> list[Any]:
    r"""$e^{\ell_k}/\sum_j e^{\ell_j}$, the gradient of `log_mean_exp`."""
    top = largest(row)
    weights = [arb.exp(r - top) for r in row]
    total = sum(weights, arb.exact(0))
    return [w / total for w in weights]


def equal_shares(row: Row) -> list[Any]:
    r"""$1/K$ for each of K entries, the gradient of `mean`."""
    return [arb.exact(1) / len(row)] * len(row)


def with_empty_draws(form: Form, finite: Tensor, count: int) -> Ball:
    """The bound of `finite` log-weights, `(n,)`, among `count` draws, where the weights of all others are 0."""
    row = arb.exact_list(finite)
    return arb.enclose(lambda: form(row) + arb.log(arb.exact(len(row)) / count), rel_bits=60)


@remembered
def enclosed(log_weights: Tensor, form: Form, shape: Sequence[int]) -> Ball:
    """`form` of every row of log-weights `(*batch, K)`, as one ball of `shape`."""
    rows = log_weights.detach().reshape(-1, log_weights.shape[-1])
    balls = [arb.enclose(functools.partial(form, arb.exact_list(row)), rel_bits=60) for row in rows]
    return Ball.stack(balls, shape)


def largest(row: Row) -> Any:
    """The ball of the largest centre."""
    return max(row, key=lambda r: float(r.mid()))


def log_evidence(log_weights: Row, q: Row) -> Any:
    r"""$\log\sum_z q(z)\,e^{\ell_z}$ of a finite model."""
    top = largest(log_weights)
    return top + arb.log(sum(p * arb.exp(w - top) for p, w in zip(q, log_weights, strict=True)))


def expected_bound(log_weights: Row, q: Row, draws: int, *, averages: bool = False) -> Ball:
    r"""$L_K = \sum_{z_1, \dots, z_K} q(z_1)\cdots q(z_K)\,\log\frac1K\sum_k e^{\ell_{z_k}}$ of a finite model, enclosed.

    Args:
        log_weights, q: one number for each of the n outcomes.
        draws: K; there are $n^K$ tuples.
        averages: take the mean of the log-weights instead of the logarithm of the mean weight.
    """
    form = mean if averages else log_mean_exp
    total = arb.exact(0)
    for chosen in itertools.product(range(len(q)), repeat=draws):
        mass = functools.reduce(lambda m, k: m * q[k], chosen, arb.exact(1))
        total = total + mass * form([log_weights[k] for k in chosen])
    return arb.to_ball(total, "mean over all tuples in ball arithmetic")


def normal_log_weight(x: float, m: float, s: float, noise: Tensor) -> Tensor:
    r"""$\log p(x, z) - \log q(z)$ of the normal model at $z = m + s\epsilon$ for noise $\epsilon$ of any shape."""
    z = m + s * noise
    log_joint = -(z**2) / 2 - (x - z) ** 2 / 2 - math.log(2 * math.pi)
    return log_joint + noise**2 / 2 + math.log(s) + math.log(2 * math.pi) / 2


def normal_log_evidence(x: float) -> float:
    r"""$\log\mathcal N(x; 0, 2)$."""
    return -(x**2) / 4 - math.log(4 * math.pi) / 2


def normal_gap(x: float, m: float, s: float) -> float:
    r"""$\mathrm{KL}(\mathcal N(m, s^2)\,\|\,\mathcal N(\tfrac x2, \tfrac12))$, by which $L_1$ falls short of the evidence."""
    return (2 * s**2 - 1 - math.log(2 * s**2) + 2 * (m - x / 2) ** 2) / 2


def normal_terms(x: float, m: float, s: float) -> float:
    r"""How large the terms are that $L_1$ of the normal model is a sum of."""
    return abs(normal_log_evidence(x)) + 2 * s**2 + abs(math.log(s)) + 2 * (m - x / 2) ** 2 + 4


def size(log_weights: Tensor) -> Tensor:
    r"""$2\max_k\lvert\ell_k\rvert + 1 + \log K$, `(*batch,)` in float64: what the roundings of a bound are relative to."""
    wide = log_weights.detach().double().cpu()
    return 2 * wide.abs().amax(-1) + 1 + math.log(log_weights.shape[-1])


def finite_means(bound: Bound, log_weights: Tensor, q: Tensor, most: int) -> list[Ball]:
    r"""The means of somebody's estimates from 1, ..., `most` draws of a finite model, over all tuples of outcomes.

    The radius is the mean over the tuples of 16 roundings of `size`.

    Args:
        bound: the estimate.
        log_weights: `(n,)`. q: probabilities of the outcomes, `(n,)` in float64.
        most: draws; there are $n^K$ tuples of K.
    """
    means = []
    for draws in range(1, most + 1):
        index = torch.cartesian_prod(*[torch.arange(len(q))] * draws).reshape(-1, draws)
        probability, rows = q[index].prod(-1), log_weights.cpu()[index]
        value = bound(rows.to(log_weights.device)).detach().double().cpu()
        radius = 16 * torch.finfo(log_weights.dtype).eps * (probability @ size(rows))
        source = f"mean over {len(index)} tuples"
        means.append(Ball(probability @ value, radius, kind=Kind.ENCLOSED, source=source))
    return means


def normal_means(bound: Bound, model: Tensor) -> list[Ball]:
    """The means of somebody's estimates from 1, 2 and 3 draws of the normal model (x, m, s), by Gauss-Hermite quadrature."""
    x, m, s = model.tolist()

    def estimates(noise: Tensor) -> Tensor:
        return bound(normal_log_weight(x, m, s, noise.double()).to(model)).detach()

    rules = ((1, 16), (2, 16), (3, 10))
    return [quadrature.normal_expectation(estimates, dim, nodes, dtype=model.dtype) for dim, nodes in rules]
