r"""What can be observed: families of distributions of a vector whose coordinates are independent.

A family knows how outcomes are drawn with their parameters, the probability of one coordinate in ball arithmetic, and the
sizes of the terms that any formula for its logarithm adds up. Oracles see the parameters of a coordinate as one row: a
table `(*batch, n, k)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import strategies
from mathcheck.engine.strategies import Interval
from mathcheck.oracles import arb
from mathcheck.probability.discrete_families import Bernoullis, Categoricals, Poissons
from mathcheck.probability.families import Normals, Parameters
from mathcheck.probability.log_likelihood.counted_outcomes import (
    BernoulliOutcomes,
    CategoricalOutcomes,
    Observed,
    PoissonOutcomes,
)


class Family(Protocol):
    """What the laws of a log-likelihood ask of a family."""

    def table(self, parameters: Parameters) -> Tensor:
        """The parameters of every coordinate as rows, `(*batch, n, k)`; the methods below take this table."""

    def observed(self, n: int, batch: tuple[int, ...], dtype: torch.dtype) -> st.SearchStrategy[Observed]:
        """Strategy of outcomes `(*batch, n)` and the parameters as the subject takes them."""

    def log_prob(self, outcome: float, row: list[Any]) -> Any:
        """The log-probability of one possible outcome of one coordinate, for balls or dual numbers."""

    def impossible(self, outcomes: Tensor, table: Tensor) -> Tensor:
        """Which outcomes have probability 0, `(*batch, n)`."""

    def size(self, outcomes: Tensor, table: Tensor) -> Tensor:
        """Size of the terms of a coordinate's log-probability, `(*batch, n)`, in float64."""

    def slope_size(self, outcomes: Tensor, table: Tensor) -> Tensor:
        """Size of the terms of its gradient, `(*batch, n, k)`, in float64."""

    def canonical(self, gradient: Tensor) -> Tensor:
        """The gradient `(*batch, n, k)`, made unique where the parameters are not free."""

    def summable(self, n: int, dtype: torch.dtype) -> st.SearchStrategy[Parameters]:
        """Strategy of parameters of one row for which `everything` is a good sum."""

    def everything(self, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For a table `(n, k)`: outcomes `(m, n)`, logarithms of weights and sizes `(m,)`, such that `sum(w p) = 1`."""


@dataclass(frozen=True)
class NormalOutcomes:
    """Real vectors: members of `Normals` with a diagonal covariance, seen coordinate by coordinate."""

    normals: Normals

    def table(self, parameters: Parameters) -> Tensor:
        return torch.stack(parameters, -1)

    def observed(self, n: int, batch: tuple[int, ...], dtype: torch.dtype) -> st.SearchStrategy[Observed]:
        """Outcomes anywhere, or within ten standard deviations of the mean, where the constant counts."""
        far = strategies.tensors((*batch, n), dtype, Interval(reach=1e3))
        near = strategies.tensors((*batch, n), dtype, Interval(reach=10.0))

        def at(member: Parameters, steps: Tensor, outcomes: Tensor | None) -> Observed:
            if outcomes is None:
                # The range of float32 ends before that of its log-variances.
                outcomes = (member[0].double() + steps * self._deviation(member[1])).clamp(-1e30, 1e30).to(dtype)
            return outcomes, member

        return st.builds(at, self.normals.members(n, batch, dtype), near, st.one_of(st.none(), st.none(), far))

    def _deviation(self, spread: Tensor) -> Tensor:
        wide = spread.double()
        if self.normals.spread in ("std", "variance"):
            return wide if self.normals.spread == "std" else wide.sqrt()
        return (wide if self.normals.spread == "log_std" else wide / 2).exp()

    def _standardised(self, outcomes: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        """The distance from the mean in standard deviations, and the standard deviation."""
        deviation = self._deviation(table[..., 1].cpu())
        return (outcomes.double().cpu() - table[..., 0].double().cpu()).abs() / deviation, deviation

    def log_prob(self, outcome: float, row: list[Any]) -> Any:
        twice_pi = 8 * arb.exact(1).atan()
        return self.normals.log_prob(([row[0]], [row[1]]), [arb.exact(outcome)]) - arb.log(twice_pi) / 2

    def impossible(self, outcomes: Tensor, table: Tensor) -> Tensor:
        return torch.zeros_like(outcomes, dtype=torch.bool)

    def size(self, outcomes: Tensor, table: Tensor) -> Tensor:
        z, deviation = self._standardised(outcomes, table)
        return 2 + 2 * deviation.log().abs() + z.square()

    def slope_size(self, outcomes: Tensor, table: Tensor) -> Tensor:
        z, deviation = self._standardised(outcomes, table)
        chain = {
            "log_variance": torch.tensor(0.5),
            "variance": 0.5 / deviation.square(),
            "std": 1 / deviation,
            "log_std": torch.tensor(1.0),
        }[self.normals.spread]
        return torch.stack([z / deviation, (1 + z.square()) * chain], -1)

    def canonical(self, gradient: Tensor) -> Tensor:
        return gradient

    def summable(self, n: int, dtype: torch.dtype) -> st.SearchStrategy[Parameters]:
        """Means within three standard deviations of 0, so that the nodes between keep their digits."""

        def centred(steps: Tensor, member: Parameters) -> Parameters:
            return (steps * self._deviation(member[1])).to(dtype), member[1]

        steps = strategies.tensors((1, n), torch.float64, Interval(reach=3.0))
        moderate = replace(self.normals, reach=min(self.normals.reach, 80.0))
        return st.builds(centred, steps, moderate.members(n, (1,), dtype))

    def everything(self, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""The trapezoidal rule with steps of half a standard deviation up to twelve.

        Its sum over a normal density is 1 up to $2e^{-8\pi^2} < 10^{-33}$, by Poisson's formula, and the tails.
        """
        n, deviation = table.shape[0], self._deviation(table[:, 1].cpu())
        axis = torch.arange(-24, 25, dtype=torch.float64) / 2
        steps = torch.cartesian_prod(*[axis] * n).reshape(-1, n)
        outcomes = (table[:, 0].double().cpu() + steps * deviation).to(table)
        rows = table.expand(len(outcomes), *table.shape)
        # A rounding of the node moves the log-density by z x/sigma of it.
        moved = steps.abs() * outcomes.double().cpu().abs() / deviation
        weight = (deviation.log() - math.log(2)).sum().expand(len(outcomes))
        return outcomes, weight, (self.size(outcomes, rows) + moved).sum(-1)


Domain = Bernoullis | Categoricals | Poissons | Normals


def family(domain: Domain) -> Family:
    """The family of a domain.

    Raises:
        TypeError: if it is none.
        ValueError: for normals with a full covariance, whose coordinates are not independent.
    """
    if isinstance(domain, Bernoullis):
        return BernoulliOutcomes(domain)
    if isinstance(domain, Categoricals):
        return CategoricalOutcomes(domain)
    if isinstance(domain, Poissons):
        return PoissonOutcomes(domain)
    if not isinstance(domain, Normals):
        expected = "bernoullis(), categoricals(), poissons() or normals()"
        raise TypeError(f"domain must be one of {expected}, got {domain!r}")
    if domain.full:
        raise ValueError(
            f"domain must have independent coordinates, got spread={domain.spread!r}: "
            "see check_density for a density in the plane"
        )
    return NormalOutcomes(domain)
