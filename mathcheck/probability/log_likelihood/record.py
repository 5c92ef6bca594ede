"""A log-likelihood of vectors of outcomes, as somebody computes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.probability.log_likelihood.outcomes import Domain, Family, family

LogProb = Callable[..., Tensor]


@dataclass(frozen=True)
class LogLikelihood:
    r"""$\log p(t\mid a) = \sum_i\log p(t_i\mid a_i)$ of vectors t of independent outcomes, as somebody computes it.

    Args:
        log_prob: called as `log_prob(outcomes, *parameters)`, e.g. `log_prob(x, mean, log_variance)`, with outcomes
            `(*batch, n)` and parameters as the domain gives them; returns `(*batch,)` in nats. Besides `batch_shapes` it
            takes any single leading dimension.
        domain: the family and its parameters: `bernoullis("logit")`, `categoricals("probabilities")`, `poissons()`, or
            `normals("variance")` with any spread but a matrix.
        relative: promises that each outcome's term and slope are relatively accurate near certainty too, where the
            textbook forms round numbers as large as the logit to find one that is nearly 0.
        batch_shapes: leading shapes that it takes.
        dtype: of the parameters that it takes, if only one.

    Raises:
        TypeError: if the domain is no such family.
        ValueError: for normals whose spread is a matrix.
    """

    log_prob: LogProb
    domain: Domain
    relative: bool = False
    batch_shapes: tuple[tuple[int, ...], ...] = ((1,), (3,))
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        arguments.functions(log_prob=self.log_prob)
        family(self.domain)

    @property
    def family(self) -> Family:
        """What is true of the domain's members."""
        return family(self.domain)
