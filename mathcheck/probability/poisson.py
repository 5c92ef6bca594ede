r"""Log-likelihoods of vectors of counts, by rates and by their logarithms."""

from __future__ import annotations

import torch
from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.engine.strategies import BATCH_SHAPES
from mathcheck.probability.discrete_families import poissons
from mathcheck.probability.log_likelihood import LogLikelihood


def _counted(outcomes: Tensor) -> None:
    counts = (outcomes >= 0) & (outcomes == outcomes.floor()) & outcomes.isfinite()
    if not bool(counts.all()):
        raise ValueError(f"outcomes must be whole numbers from 0 on, got {float(outcomes[~counts].flatten()[0])}")


def poisson_log_prob(outcomes: Tensor, rates: Tensor) -> Tensor:
    r"""$\log p(t) = \sum_i t_i\log\lambda_i - \lambda_i - \log t_i!$, with $0\log 0 = 0$.

    Args:
        outcomes: t, `(*batch, n)`, floats 0, 1, 2, ...
        rates: $\lambda$, `(*batch, n)`, at least 0 and finite; a rate of 0 allows the count 0 only.

    Returns:
        `(*batch,)` in nats, differentiable in the rates wherever it is finite.

    Raises:
        TypeError, ValueError: for arguments that are not floating tensors of one shape, dtype and device, outcomes that are
            no counts, or rates below 0.
    """
    arguments.vectors(outcomes=outcomes, rates=rates)
    arguments.alike(outcomes=outcomes, rates=rates)
    _counted(outcomes)
    if not bool(((rates >= 0) & rates.isfinite()).all()):
        raise ValueError(
            f"rates must be finite and at least 0, got {float(rates.detach().min())} to {float(rates.detach().max())}"
        )
    # A logarithm that is not used must not be infinite: its gradient would be 0 times infinity.
    logs = torch.where(outcomes == 0, torch.ones_like(rates), rates).log()
    return (outcomes * logs - rates - torch.lgamma(outcomes + 1)).sum(-1)


def poisson_log_prob_from_log_rates(outcomes: Tensor, log_rates: Tensor) -> Tensor:
    r"""$\log p(t) = \sum_i t_i\ell_i - e^{\ell_i} - \log t_i!$.

    Args:
        outcomes: t, `(*batch, n)`, floats 0, 1, 2, ...
        log_rates: $\ell = \log\lambda$, `(*batch, n)`, finite.

    Returns:
        `(*batch,)` in nats, differentiable in the log-rates; $-\infty$ where a rate is beyond the dtype's range.

    Raises:
        TypeError, ValueError: for arguments that are not floating tensors of one shape, dtype and device, or outcomes that are
            no counts.
    """
    arguments.vectors(outcomes=outcomes, log_rates=log_rates)
    arguments.alike(outcomes=outcomes, log_rates=log_rates)
    _counted(outcomes)
    return (outcomes * log_rates - log_rates.exp() - torch.lgamma(outcomes + 1)).sum(-1)


by_rate = LogLikelihood(poisson_log_prob, poissons("rate"), batch_shapes=BATCH_SHAPES)
by_log_rate = LogLikelihood(poisson_log_prob_from_log_rates, poissons("log_rate"), batch_shapes=BATCH_SHAPES)
