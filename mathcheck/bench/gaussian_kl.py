"""The divergence of two normal distributions, with diagonal and with full covariances."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from mathcheck.bench.kernel import (
    OURS,
    PLAIN,
    Kernel,
    Size,
    Work,
    against,
    of,
    with_gradient,
)
from mathcheck.divergence.gaussian_kl import kl_diagonal

DIAGONAL_SIZES = ({"rows": 64, "n": 32}, {"rows": 1024, "n": 256}, {"rows": 4096, "n": 512})


def _diagonal(size: Size, generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, ...]:
    return tuple(torch.randn(size["rows"], size["n"], generator=generator).to(dtype) for _ in range(4))


def textbook(m: Tensor, v: Tensor, a: Tensor, w: Tensor) -> Tensor:
    """The formula as one finds it, of means and log-variances."""
    return (((v - w).exp() - 1 - (v - w)) + (m - a) ** 2 / w.exp()).sum(-1) / 2


def _distributions(validate: bool) -> Callable[..., Tensor]:
    def divergence(m: Tensor, v: Tensor, a: Tensor, w: Tensor) -> Tensor:
        q, p = (Independent(Normal(mean, (log / 2).exp(), validate_args=validate), 1, validate_args=validate)
                for mean, log in ((m, v), (a, w)))  # fmt: skip
        value: Tensor = kl_divergence(q, p)
        return value

    return divergence


def _terms(m: Tensor, v: Tensor, a: Tensor, w: Tensor) -> Tensor:
    """The sum of absolute values of what is added up and rounded."""
    return ((v - w).exp() + 1 + (v - w).abs() + (m - a) ** 2 / w.exp()).sum(-1)


def slopes(m: Tensor, v: Tensor, a: Tensor, w: Tensor) -> tuple[Tensor, ...]:
    """The textbook's partial derivatives."""
    pull, excess = (m - a) / w.exp(), (v - w).exp() - 1
    return pull, excess / 2, -pull, -(excess + (m - a) * pull) / 2


def _slope_terms(m: Tensor, v: Tensor, a: Tensor, w: Tensor) -> tuple[Tensor, ...]:
    pull, both = (m - a).abs() / w.exp(), (v - w).exp() + 1
    return (
        pull * (1 + w.abs()),
        both * (1 + (v - w).abs()),
        pull * (1 + w.abs()),
        (both + (m - a).abs() * pull) * (1 + w.abs()),
    )


DIAGONAL = Kernel(
    "kl_diagonal",
    "KL of diagonal normals, forward",
    "divergence.gaussian_kl",
    DIAGONAL_SIZES,
    _diagonal,
    {
        OURS: of(kl_diagonal),
        PLAIN: of(textbook),
        "torch.distributions": of(_distributions(True)),
        "torch.distributions, unvalidated": of(_distributions(False)),
    },
    against(textbook, _terms),
    lambda size: Work(4 * size["rows"] * size["n"]),
    card_sizes=({"rows": 4096, "n": 512}, {"rows": 16384, "n": 1024}, {"rows": 65536, "n": 1024}),
)

KERNELS = (
    DIAGONAL,
    with_gradient(DIAGONAL, against(slopes, _slope_terms), lambda size: Work(8 * size["rows"] * size["n"])),
)
