r"""Log-likelihoods of vectors of classes, by logits and by probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.engine.strategies import BATCH_SHAPES
from mathcheck.probability.discrete_families import categoricals
from mathcheck.probability.log_likelihood import LogLikelihood


def _picked(outcomes: Tensor, rows: Tensor) -> Tensor:
    """The entry of each row that belongs to its outcome."""
    if not isinstance(outcomes, Tensor) or outcomes.dtype != torch.int64:
        came = getattr(outcomes, "dtype", type(outcomes).__name__)
        raise TypeError(f"outcomes must be a tensor of indices of dtype torch.int64, got {came}")
    if rows.ndim < 2 or outcomes.shape != rows.shape[:-1] or outcomes.shape[-1] < 1:
        raise ValueError(
            f"outcomes must have shape (*batch, n) with n >= 1 for parameters (*batch, n, k), got "
            f"{tuple(outcomes.shape)} for {tuple(rows.shape)}"
        )
    k = rows.shape[-1]
    if not bool(((outcomes >= 0) & (outcomes < k)).all()):
        raise ValueError(
            f"outcomes must be indices from 0 to {k - 1}, got {int(outcomes.min())} to {int(outcomes.max())}"
        )
    return rows.gather(-1, outcomes.unsqueeze(-1)).squeeze(-1)


def categorical_log_prob(outcomes: Tensor, probabilities: Tensor) -> Tensor:
    r"""$\log p(t) = \sum_i\log\pi_{i t_i}$, and $-\infty$ where a class that occurred is impossible.

    Args:
        outcomes: t, `(*batch, n)`, indices of classes from 0, int64.
        probabilities: $\pi$, `(*batch, n, k)`; each row sums to 1, which is not used: nothing is renormalised.

    Returns:
        `(*batch,)` in nats, differentiable in the probabilities.

    Raises:
        TypeError, ValueError: for outcomes that are no such indices, or rows that are no probabilities.
    """
    arguments.distributions(probabilities=probabilities)
    return _picked(outcomes, probabilities).log().sum(-1)


def categorical_log_prob_from_logits(outcomes: Tensor, logits: Tensor) -> Tensor:
    r"""$\log p(t) = \sum_i \ell_{i t_i} - \log\sum_j e^{\ell_{ij}}$: the negative of a classifier's cross-entropy.

    The largest logit of a row is subtracted before exponentials are taken, so that none overflows and no probability
    underflows before its logarithm is taken.

    Args:
        outcomes: t, `(*batch, n)`, indices of classes from 0, int64.
        logits: $\ell$, `(*batch, n, k)`, finite; a constant may be added to a row.

    Returns:
        `(*batch,)` in nats, differentiable in the logits.

    Raises:
        TypeError, ValueError: for outcomes that are no such indices, or logits that are no floating tensor.
    """
    arguments.vectors(logits=logits)
    return _picked(outcomes, torch.log_softmax(logits, -1)).sum(-1)


by_logits = LogLikelihood(categorical_log_prob_from_logits, categoricals("logits"), batch_shapes=BATCH_SHAPES)
by_probabilities = LogLikelihood(categorical_log_prob, categoricals("probabilities"), batch_shapes=BATCH_SHAPES)
