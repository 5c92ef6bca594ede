r"""The smooth maximum $v_\beta(x) = \beta^{-1}\log\sum_i e^{\beta x_i}$, without overflow."""

from __future__ import annotations

from torch import Tensor

from mathcheck.convex.kernels.log_sum_exp import log_sum_exp
from mathcheck.convex.smooth_max.record import SmoothMax
from mathcheck.engine import arguments
from mathcheck.engine.strategies import BATCH_SHAPES


def smooth_max(x: Tensor, beta: float = 1.0) -> Tensor:
    r"""$v_\beta(x) = \max_i x_i + \beta^{-1}\log\sum_j e^{\beta(x_j - \max_i x_i)}$ over the last dimension.

    Shifted by the maximum, no exponential exceeds 1 and the largest is 1, so nothing overflows for any finite x and
    $\beta$. Entries of $-\infty$ do not count; a row of them gives $-\infty$, and one entry of $+\infty$ gives $+\infty$.

    Args:
        x: `(*batch, n)`, n at least 1.
        beta: inverse temperature, positive and finite.

    Returns:
        `(*batch,)`; its gradient is the softmax of $\beta x$, and NaN in a row that holds $+\infty$.

    Raises:
        TypeError: if `x` is no floating tensor, or `beta` no number.
        ValueError: if `x` has no entry in its last dimension, or `beta` is not positive and finite.
    """
    arguments.vectors(x=x)
    arguments.positive(beta=beta)
    return log_sum_exp(x, beta)


reference = SmoothMax(smooth_max, batch_shapes=BATCH_SHAPES)
