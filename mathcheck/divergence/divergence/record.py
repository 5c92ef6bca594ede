"""A Kullback-Leibler divergence of two distributions of a family, as somebody computes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mathcheck.probability.families import Normals

DIAGONAL = Normals("log_variance")


@dataclass(frozen=True)
class Divergence:
    r"""A Kullback-Leibler divergence $\mathrm{KL}(q\,\|\,p)$ between two members of a family, as somebody computes it.

    Args:
        divergence: called as `divergence(*q, *p)`, e.g. `kl(mean_q, log_variance_q, mean_p, log_variance_p)`, with
            parameters of shape `(*batch, n)` (matrices `(*batch, n, n)`); returns `(*batch,)` in nats.
        domain: the family of both arguments, e.g. `normals("variance")`.
        batch_shapes: leading shapes that it takes.
        dtype: of the parameters that it takes, if only one.
    """

    divergence: Callable[..., Tensor]
    domain: Normals = DIAGONAL
    batch_shapes: tuple[tuple[int, ...], ...] = ((1,), (3,))
    dtype: torch.dtype | None = None
