"""An importance-sampling estimator, as somebody computes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mathcheck.engine import arguments

Estimate = Callable[[Tensor, Tensor], Tensor]
Weighted = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Importance:
    r"""An estimator of $\mathbb E_p f$ from K draws of a proposal q, as somebody computes it.

    Args:
        estimate: called as `estimate(log_weights, values)`, both `(*batch, K)`; returns `(*batch,)`. Besides
            `batch_shapes` it takes any single leading dimension.
        self_normalized: whether it divides by the sum of the weights, and not by K.
        effective_size: $(\sum w)^2/\sum w^2$ from log-weights `(*batch, K)`, if there is such a function.
        log_evidence: $\log\frac1K\sum w$ from log-weights `(*batch, K)`, if there is such a function.
        empty: what a self-normalised estimate says where all weights are 0.
        reach: log-weights are drawn from [-reach, reach], and without normalisation from [-reach, 60] if that is less: the
            estimate itself must fit into the dtype.
        batch_shapes: leading shapes that it takes.
        dtype: that it takes, if only one.
    """

    estimate: Estimate
    self_normalized: bool = False
    effective_size: Callable[[Tensor], Tensor] | None = None
    log_evidence: Callable[[Tensor], Tensor] | None = None
    empty: float = math.nan
    reach: float = 1e3
    batch_shapes: tuple[tuple[int, ...], ...] = ((1,), (3,))
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        arguments.functions(estimate=self.estimate)
        for name, function in (("effective_size", self.effective_size), ("log_evidence", self.log_evidence)):
            if function is not None:
                arguments.functions(**{name: function})
        arguments.instances(bool, self_normalized=self.self_normalized)
        arguments.positive(reach=self.reach)
