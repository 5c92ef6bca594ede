r"""The Kullback-Leibler divergence by its definition, in ball arithmetic: what closed forms are compared with.

$\mathrm{KL}(q\,\|\,p) = \mathbb E_{x\sim q}[\log q(x) - \log p(x)]$ for members of a family that knows its log-density.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mathcheck.engine.residual import Ball
from mathcheck.oracles import arb
from mathcheck.oracles.memory import remembered
from mathcheck.probability.families import Normals, Parameters

# One row of a batch: mean and spread of q, mean and spread of p, as (nested lists of) balls or power series.
Row = Sequence[Any]


def expectation(family: Normals, row: Row) -> Any:
    r"""The divergence of one row: the mean of $\log q - \log p$ over the 2n points $\mu \pm \sqrt n\, L e_i$.

    Exact, since log-densities of normals are quadratic and these points integrate cubic polynomials exactly.
    """
    q, p = row[:2], row[2:]
    n, factor = len(q[0]), family.factor(q[1])
    root = arb.sqrt(arb.exact(n))
    total: Any = 0
    for i in range(n):
        for sign in (1, -1):
            x = [q[0][k] + sign * root * factor[k][i] for k in range(n)]
            total = total + family.log_prob(q, x) - family.log_prob(p, x)
    return total / (2 * n)


def integral(family: Normals, row: Row) -> Any:
    r"""The divergence of one row in one dimension: $\int q\log(q/p)$ by certified integration, tails included."""
    q, p = row[:2], row[2:]
    deviation, wide = family.factor(q[1])[0][0], family.factor(p[1])[0][0]

    def integrand(z: Any) -> Any:
        x = [z * deviation + q[0][0]]
        return family.log_prob(q, x) - family.log_prob(p, x)

    shift, ratio = (q[0][0] - p[0][0]) / wide, deviation / wide
    # |log q - log p| <= |log ratio| + z^2/2 + (|shift| + ratio |z|)^2/2 <= c0 + c2 z^2.
    return arb.normal_expectation(integrand, (abs(arb.log(ratio)) + shift * shift, ratio * ratio + 1))


@remembered
def kl(family: Normals, q: Parameters, p: Parameters) -> Ball:
    """The true KL(q, p), `(*batch,)`, as an expectation."""
    source = "expectation of log q - log p"
    return _over_rows(q, p, lambda *row: expectation(family, row), source)


@remembered
def kl_integral(family: Normals, q: Parameters, p: Parameters) -> Ball:
    """The true KL(q, p), `(*batch,)`, as a certified integral.

    Raises:
        ValueError: in more than one dimension.
    """
    if q[0].shape[-1] != 1:
        raise ValueError(f"q must be one-dimensional, got {q[0].shape[-1]} dimensions")
    return _over_rows(q, p, lambda *row: integral(family, row), "certified integral", bits=192)


@remembered
def kl_gradient(family: Normals, q: Parameters, p: Parameters) -> list[Ball]:
    """The true gradient of KL(q, p) in the four parameters, shaped like them, as `family.canonical` makes it unique."""
    ball = _over_rows(q, p, lambda *row: _gradient(family, row), "derivative of the definition")
    mids, radii = _shaped_like(family, (*q, *p), ball.mid), _shaped_like(family, (*q, *p), ball.radius)
    return [Ball(mid, r, kind=ball.kind, source=ball.source) for mid, r in zip(mids, radii, strict=True)]


@remembered
def sensitivity(family: Normals, q: Parameters, p: Parameters) -> Tensor:
    r"""$\mathrm{KL} + \sum_i w_i\lvert\partial_i\mathrm{KL}\rvert$, `(*batch,)`: what one rounding of each input changes.

    The weights $w$ are `family.weight`.
    """

    def size(*row: Any) -> Any:
        weights, _ = _flattened([family.weight(i % 2, parameter) for i, parameter in enumerate(row)])
        slopes = _gradient(family, row)
        return sum((w * abs(g) for w, g in zip(weights, slopes, strict=True)), expectation(family, row))

    return _over_rows(q, p, size, "", rel_bits=10).mid


@remembered
def gradient_sensitivity(family: Normals, q: Parameters, p: Parameters) -> list[Tensor]:
    r"""$\lvert\partial_i\mathrm{KL}\rvert + \sum_j w_j\lvert\partial_j\partial_i\mathrm{KL}\rvert$, like the parameters.

    Second derivatives are differences of the gradient over $2^{-40}$ of each parameter: they only scale a bound.
    """

    def scales(*row: Any) -> list[Any]:
        flat, build = _flattened(row)
        weights, _ = _flattened([family.weight(i % 2, parameter) for i, parameter in enumerate(row)])
        here = _gradient(family, row)
        total = [abs(g) for g in here]
        for j, (x, w) in enumerate(zip(flat, weights, strict=True)):
            step = (abs(x) + arb.exact(2.0**-40)) * arb.exact(2.0**-40)
            there = _gradient(family, build([*flat[:j], x + step, *flat[j + 1 :]]))
            total = [t + abs(b - a) / step * w for t, a, b in zip(total, here, there, strict=True)]
        return total

    return _shaped_like(family, (*q, *p), _over_rows(q, p, scales, "", rel_bits=10).mid)


def _gradient(family: Normals, row: Row) -> list[Any]:
    flat, build = _flattened(row)
    return list(arb.gradient(lambda xs: expectation(family, build(xs)), flat))


def _over_rows(
    q: Parameters, p: Parameters, compute: Callable[..., Any], source: str, rel_bits: int = 60, bits: int | None = None
) -> Ball:
    """The enclosed `compute(q_mean, q_spread, p_mean, p_spread)` of every row of a batch, stacked.

    To `rel_bits` of relative accuracy, or with whatever radius `bits` of precision give.
    """
    batch = q[0].shape[:-1]
    rows = [t.detach().reshape(-1, *t.shape[len(batch) :]) for t in (*q, *p)]

    def at(k: int) -> Any:
        return compute(*(arb.exact_list(t[k]) for t in rows))

    def enclosed(k: int) -> Ball:
        if bits is None:
            return arb.enclose(functools.partial(at, k), rel_bits=rel_bits, source=source)
        with arb.precision(bits):
            return arb.to_ball(at(k), source)

    balls = [enclosed(k) for k in range(rows[0].shape[0])]
    return Ball.stack(balls, (*batch, *balls[0].mid.shape))


def _shaped_like(family: Normals, parameters: Sequence[Tensor], flat: Tensor) -> list[Tensor]:
    """Splits `(*batch, count)` numbers, one per scalar parameter, into tensors shaped like the parameters."""
    batch = parameters[0].ndim - 1
    parts = torch.split(flat, [math.prod(t.shape[batch:]) for t in parameters], -1)
    return [
        family.canonical(i % 2, part.reshape(t.shape))
        for i, (t, part) in enumerate(zip(parameters, parts, strict=True))
    ]


def _flattened(row: Row) -> tuple[list[Any], Callable[[Sequence[Any]], list[Any]]]:
    """The scalars of a row in one list, and the function that builds a row of such a list."""
    flat: list[Any] = []

    def collect(node: Any) -> None:
        if isinstance(node, list):
            for child in node:
                collect(child)
        else:
            flat.append(node)

    def nest(node: Any, values: Any) -> Any:
        return [nest(child, values) for child in node] if isinstance(node, list) else next(values)

    for node in row:
        collect(node)

    def build(values: Sequence[Any]) -> list[Any]:
        remaining = iter(values)
        return [nest(node, remaining) for node in row]

    return flat, build
