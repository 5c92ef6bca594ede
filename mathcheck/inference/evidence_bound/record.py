"""An estimate of a lower bound on the evidence, as somebody computes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class EvidenceBound:
    r"""An estimate of a lower bound on $\log p(x)$ from the log-weights of K draws, as somebody computes it.

    Args:
        bound: log-weights $\ell_k = \log p(x, z_k) - \log q(z_k)$ of shape `(*batch, K)` -> `(*batch,)`, in nats.
        averages: states that it is the mean of the log-weights, whose expectation is the ELBO $L_1$ whatever K is;
            without, it is the importance-weighted $\log\frac1K\sum_k e^{\ell_k}$, whose expectation is $L_K$.
        reach: finite log-weights are drawn from [-reach, reach].
        batch_shapes: leading shapes that it takes; any number of rows must be taken besides.
        dtype: of the log-weights, if only one.
    """

    bound: Callable[[Tensor], Tensor]
    averages: bool = False
    reach: float = 1e3
    batch_shapes: tuple[tuple[int, ...], ...] = ((1,), (3,))
    dtype: torch.dtype | None = None
