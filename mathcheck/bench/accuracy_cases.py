"""The functions of the accuracy table: who computes them, where they are hard, and their values by mpmath."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import mpmath
import torch
from scipy import special
from torch import Tensor
from torch.distributions import Bernoulli, Independent, MultivariateNormal, Normal, kl_divergence
from torch.nn import functional

from mathcheck.bench.kernel import OURS, PLAIN
from mathcheck.bench.kernels.gaussian_kl import textbook, textbook_factors, textbook_full
from mathcheck.convex.smooth_max import smooth_max
from mathcheck.divergence.gaussian_kl import kl_cholesky, kl_diagonal, kl_full
from mathcheck.probability.bernoulli import bernoulli_log_prob_from_logits
from mathcheck.probability.log_mean_exp import log_mean_exp

Lattice = Callable[[torch.dtype], Mapping[str, tuple[Any, ...]]]


def _powers(low: int, high: int, step: int = 1) -> list[float]:
    return [10.0**k for k in range(low, high + 1, step)]


def _smallest(dtype: torch.dtype) -> int:
    """The exponent of the smallest relative distance that is looked at: well below the root of eps."""
    return -6 if dtype == torch.float32 else -13


# Normals with diagonal covariance: means and log-variances.


def _distributions(m: Tensor, v: Tensor, a: Tensor, w: Tensor) -> Tensor:
    q, p = (Independent(Normal(mean, (log / 2).exp()), 1) for mean, log in ((m, v), (a, w)))
    value: Tensor = kl_divergence(q, p)
    return value


def _diagonal_truth(m: Any, v: Any, a: Any, w: Any) -> Any:
    rows = zip(m, v, a, w, strict=True)
    return sum(mpmath.expm1(lq - lp) - (lq - lp) + (x - y) ** 2 * mpmath.exp(-lp) for x, lq, y, lp in rows) / 2


def _diagonal_near(dtype: torch.dtype) -> Mapping[str, tuple[Any, ...]]:
    def point(delta: float, log: float) -> tuple[Any, ...]:
        moves = torch.tensor([1.0, -0.5, 0.25], dtype=dtype)
        logs = torch.full((3,), log, dtype=dtype)
        # Half of the distances in the means and half in the variances, all of the size of delta.
        zero = torch.zeros(3, dtype=dtype)
        return delta * moves * (logs / 2).exp(), logs + delta * moves.flip(0), zero, logs

    deltas = _powers(_smallest(dtype), 0)
    return {f"delta {d:g}, log-variance {log:g}": point(d, log) for d in deltas for log in (0.0, 1.0, -3.0)}


def _diagonal_wide(dtype: torch.dtype) -> Mapping[str, tuple[Any, ...]]:
    logs, gaps = [-100.0, -50.0, -10.0, 10.0, 50.0, 80.0, 100.0], [-80.0, -9.0, -1.0, 0.0, 1.0, 9.0, 80.0, 88.9]

    def point(log: float, gap: float, shift: float) -> tuple[Any, ...]:
        mean = torch.tensor([shift, -shift], dtype=dtype) * math.exp(log / 2)
        other = torch.full((2,), log, dtype=dtype)
        return mean, other + gap, torch.zeros(2, dtype=dtype), other

    return {
        f"log-variance {log:g}, gap {gap:g}, distance {shift:g}": point(log, gap, shift)
        for log, gap, shift in itertools.product(logs, gaps, (0.0, 1.0, 100.0))
        if gap or shift
    }


# Normals with full covariance.


def _rotated(small: float, angle: float) -> Tensor:
    """A 2 x 2 covariance with the eigenvalues 1 and `small`, in double precision."""
    c, s = math.cos(angle), math.sin(angle)
    q = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    return q @ torch.diag(torch.tensor([1.0, small], dtype=torch.float64)) @ q.mT


def _symmetric(t: Tensor, dtype: torch.dtype) -> Tensor:
    rounded = t.to(dtype)
    return rounded.tril() + rounded.tril(-1).mT


def _full_near(dtype: torch.dtype) -> Mapping[str, tuple[Any, ...]]:
    move = torch.tensor([[0.5, 0.3], [0.3, -0.7]], dtype=torch.float64)
    base = torch.tensor([[2.0, 0.6], [0.6, 1.0]], dtype=torch.float64)

    def point(delta: float, scale: float) -> tuple[Any, ...]:
        mean = torch.tensor([delta, -delta], dtype=dtype) * math.sqrt(scale)
        spreads = [_symmetric(scale * (base + step * move), dtype) for step in (delta, 0.0)]
        return mean, spreads[0], torch.zeros(2, dtype=dtype), spreads[1]

    deltas = _powers(_smallest(dtype), -1)
    return {f"delta {d:g}, scale {s:g}": point(d, s) for d in deltas for s in (1.0, 1e-6, 1e6)}


def _full_far(dtype: torch.dtype) -> Mapping[str, tuple[Any, ...]]:
    def point(small: float, scale: float) -> tuple[Any, ...]:
        mean = torch.tensor([1.0, 0.5], dtype=dtype)
        spreads = [_symmetric(t, dtype) for t in (scale * _rotated(0.5, 0.3), _rotated(small, 1.0))]
        return mean, spreads[0], torch.zeros(2, dtype=dtype), spreads[1]

    conditions = _powers(-4 if dtype == torch.float32 else -10, 0, 2)
    return {f"condition {1 / c:g}, scale {s:g}": point(c, s) for c in conditions for s in (1e-4, 1.0, 1e4)}


def _factors(lattice: Lattice) -> Lattice:
    """The same with Cholesky factors for covariances."""

    def factor(t: Tensor, dtype: torch.dtype) -> Tensor:
        lower: Tensor = torch.linalg.cholesky(t.double())
        return lower.to(dtype)

    def of(dtype: torch.dtype) -> Mapping[str, tuple[Any, ...]]:
        return {label: (m, factor(v, dtype), a, factor(w, dtype)) for label, (m, v, a, w) in lattice(dtype).items()}

    return of


def _factors_near(dtype: torch.dtype) -> Mapping[str, tuple[Any, ...]]:
    base = torch.tensor([[1.5, 0.0], [0.4, 0.9]], dtype=dtype)
    move = torch.tensor([[0.5, 0.0], [0.3, -0.7]], dtype=dtype)

    def point(delta: float, scale: float) -> tuple[Any, ...]:
        mean = torch.tensor([delta, -delta], dtype=dtype) * scale
        return mean, scale * (base + delta * move), torch.zeros(2, dtype=dtype), scale * base

    deltas = _powers(_smallest(dtype), -1)
    return {f"delta {d:g}, scale {s:g}": point(d, s) for d in deltas for s in (1.0, 1e-3, 1e3)}


def _lower(matrix: Any) -> Any:
    return mpmath.matrix([[matrix[max(i, j)][min(i, j)] for j in range(len(matrix))] for i in range(len(matrix))])


def _full_truth(m: Any, v: Any, a: Any, w: Any) -> Any:
    q, p = _lower(v), _lower(w)
    inverse = p**-1
    ratio, shift = inverse * q, mpmath.matrix(m) - mpmath.matrix(a)
    trace = sum(ratio[i, i] - 1 for i in range(len(m)))
    return (trace - mpmath.log(mpmath.det(q) / mpmath.det(p)) + (shift.T * inverse * shift)[0]) / 2


def _factor_truth(m: Any, v: Any, a: Any, w: Any) -> Any:
    def spread(lower: Any) -> Any:
        square = mpmath.matrix([[x if j <= i else 0 for j, x in enumerate(row)] for i, row in enumerate(lower)])
        return (square * square.T).tolist()

    return _full_truth(m, spread(v), a, spread(w))


def _covariance(m: Tensor, v: Tensor, a: Tensor, w: Tensor) -> Tensor:
    value: Tensor = kl_divergence(MultivariateNormal(m, v), MultivariateNormal(a, w))
    return value


def _scale_tril(m: Tensor, v: Tensor, a: Tensor, w: Tensor) -> Tensor:
    value: Tensor = kl_divergence(MultivariateNormal(m, scale_tril=v), MultivariateNormal(a, scale_tril=w))
    return value


# Smooth maximum and log-mean-exp.


def _scipy(x: Tensor, beta: float = 1.0) -> Tensor:
    return torch.as_tensor(special.logsumexp(beta * x.numpy()))


def _maximum_truth(x: Any, beta: Any) -> Any:
    top = max(x)
    return top + mpmath.log(sum(mpmath.exp(beta * (v - top)) for v in x)) / beta


def _temperatures(dtype: torch.dtype) -> Mapping[str, tuple[Any, ...]]:
    rows = {
        "(0, 1, -2)": [0.0, 1.0, -2.0],
        "(5, 5, 5)": [5.0] * 3,
        "(1000, 1001, -1000)": [1e3, 1001.0, -1e3],
        "(0.001, 0, -0.25)": [1e-3, 0.0, -0.25],
        "(-1, -1.5, -700)": [-1.0, -1.5, -700.0],
    }
    # The inverse temperatures are powers of two, close to those of ten, so that every dtype holds them.
    betas = [2.0 ** round(k * math.log2(10)) for k in range(-8, 9)]
    return {
        f"x {name}, beta {beta:.1e}": (torch.tensor(row, dtype=dtype), beta)
        for name, row in rows.items()
        for beta in betas
    }


def _mean_truth(x: Any) -> Any:
    top = max(x)
    return top + mpmath.log(sum(mpmath.exp(v - top) for v in x) / len(x))


def _weights_near_one(dtype: torch.dtype) -> Mapping[str, tuple[Any, ...]]:
    spread = torch.tensor([0.0, -1.0, -0.5, -0.25, -2.0], dtype=dtype)
    return {f"delta {d:g}": (d * spread,) for d in _powers(2 * _smallest(dtype), 0)}


def _weights_far_apart(dtype: torch.dtype) -> Mapping[str, tuple[Any, ...]]:
    spread = torch.tensor([0.0, -1.0, -0.5, -0.25, -2.0], dtype=dtype)
    return {
        f"spread {d:g}, shift {s:g}": (d * spread + s,) for d in (2.0, 10.0, 300.0, 1e4) for s in (0.0, 800.0, -800.0)
    }


# Log-likelihood of binary vectors.


def _bernoulli_truth(t: Any, logits: Any) -> Any:
    return -sum(mpmath.log1p(mpmath.exp(-a if x == 1 else a)) for x, a in zip(t, logits, strict=True))


def _logits(dtype: torch.dtype) -> Mapping[str, tuple[Any, ...]]:
    sizes = [1e-3, 0.5, 1.0, 5.0, 16.5, 17.0, 36.5, 38.0, 80.0, 87.0, *([700.0] if dtype == torch.float64 else []), 1e4]
    return {
        f"logit {sign * size:g}, outcome {outcome:g}": (
            torch.tensor([outcome, outcome], dtype=dtype),
            torch.tensor([sign * size, 1.25 * sign * size], dtype=dtype),
        )
        for size in sizes
        for sign in (1.0, -1.0)
        for outcome in (0.0, 1.0)
    }


def _bernoulli(t: Tensor, logits: Tensor) -> Tensor:
    value: Tensor = Bernoulli(logits=logits).log_prob(t).sum(-1)  # type: ignore[no-untyped-call]
    return value


def _entropy(t: Tensor, logits: Tensor) -> Tensor:
    return -functional.binary_cross_entropy_with_logits(logits, t, reduction="none").sum(-1)


CASES: tuple[tuple[Any, ...], ...] = (
    (
        "kl_diagonal",
        {OURS: kl_diagonal, PLAIN: textbook, "torch.distributions": _distributions},
        {"nearly equal": _diagonal_near, "log-variances to 100": _diagonal_wide},
        _diagonal_truth,
        True,
    ),
    (
        "kl_full",
        {OURS: kl_full, PLAIN: textbook_full, "torch.distributions": _covariance},
        {"nearly equal": _full_near, "far apart, ill-conditioned": _full_far},
        _full_truth,
        True,
    ),
    (
        "kl_cholesky",
        {OURS: kl_cholesky, PLAIN: textbook_factors, "torch.distributions": _scale_tril},
        {"nearly equal": _factors_near, "far apart, ill-conditioned": _factors(_full_far)},
        _factor_truth,
        True,
    ),
    (
        "smooth_max",
        {
            OURS: smooth_max,
            PLAIN: lambda x, beta: (beta * x).exp().sum(-1).log() / beta,
            "torch.logsumexp": lambda x, beta: torch.logsumexp(beta * x, -1) / beta,
            "scipy": lambda x, beta: _scipy(x, beta) / beta,
        },
        {"beta from 1e-8 to 1e8": _temperatures},
        _maximum_truth,
    ),
    (
        "log_mean_exp",
        {
            OURS: log_mean_exp,
            PLAIN: lambda x: x.exp().mean(-1).log(),
            "torch.logsumexp": lambda x: torch.logsumexp(x, -1) - math.log(x.shape[-1]),
            "scipy": lambda x: _scipy(x) - math.log(x.shape[-1]),
        },
        {"weights close to 1": _weights_near_one, "weights far apart": _weights_far_apart},
        _mean_truth,
    ),
    (
        "bernoulli_log_prob_from_logits",
        {
            OURS: bernoulli_log_prob_from_logits,
            PLAIN: lambda t, a: (t * torch.sigmoid(a).log() + (1 - t) * (1 - torch.sigmoid(a)).log()).sum(-1),
            "torch.distributions": _bernoulli,
            "binary_cross_entropy_with_logits": _entropy,
        },
        {"saturated logits": _logits},
        _bernoulli_truth,
    ),
)
