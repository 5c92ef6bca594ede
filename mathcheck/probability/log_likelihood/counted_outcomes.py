"""What the laws of a log-likelihood must know of binary vectors, vectors of classes and vectors of counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import strategies
from mathcheck.engine.strategies import Interval
from mathcheck.oracles import arb
from mathcheck.probability.discrete_families import Bernoullis, Categoricals, Poissons
from mathcheck.probability.families import Parameters

Observed = tuple[Tensor, Parameters]
# How far from 0 and 1 a probability stays, and a rate from 0, where the boundary is excluded.
_MARGIN = 1e-3


class _Discrete:
    """What families on finitely many outcomes, or countably many, have in common."""

    def table(self, parameters: Parameters) -> Tensor:
        return parameters[0].unsqueeze(-1)

    def canonical(self, gradient: Tensor) -> Tensor:
        return gradient

    def _all(self: Any, values: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outcomes = torch.cartesian_prod(*[values] * table.shape[0]).reshape(-1, table.shape[0])
        size = self.size(outcomes, table.expand(len(outcomes), *table.shape)).sum(-1)
        # Impossible outcomes have terms of infinite size, and the probability 0 whatever those are.
        return outcomes, torch.zeros_like(size), torch.where(size.isfinite(), size, 0.0)


@dataclass(frozen=True)
class BernoulliOutcomes(_Discrete):
    """Binary vectors."""

    domain: Bernoullis

    def _numbers(self, dtype: torch.dtype) -> st.SearchStrategy[float]:
        info = torch.finfo(dtype)
        if self.domain.logit:
            # Where exp underflows, where sigmoid is 1 in single and double precision, and where a softplus may switch.
            marks = [0.0, 1.0, 16.7, 20.0, 20.5, 37.0, 88.0, 104.0, 746.0, self.domain.reach]
            special = [sign * m for m in marks if m <= self.domain.reach for sign in (1, -1)]
            numbers = Interval(reach=self.domain.reach).elements(dtype)
        elif self.domain.boundary:
            special = [0.0, 1.0, 0.5, info.eps, 1 - info.eps, info.tiny, 0.25]
            numbers = strategies.unit_interval.elements(dtype)
        else:
            special = [0.5, _MARGIN, 1 - _MARGIN, 0.25]
            numbers = st.floats(0.01, 0.99).map(lambda x: float(torch.tensor(x, dtype=dtype)))
        rounded = [float(torch.tensor(x, dtype=dtype)) for x in special]
        return st.one_of(st.sampled_from(rounded), numbers)

    def observed(self, n: int, batch: tuple[int, ...], dtype: torch.dtype) -> st.SearchStrategy[Observed]:
        outcomes = strategies.tensors((*batch, n), dtype, st.sampled_from([0.0, 1.0]))
        return st.tuples(outcomes, st.tuples(strategies.tensors((*batch, n), dtype, self._numbers(dtype))))

    def log_prob(self, outcome: float, row: list[Any]) -> Any:
        (a,) = row
        if self.domain.logit:
            return -arb.log1p(arb.exp(-a if outcome == 1 else a))
        return arb.log(a) if outcome == 1 else arb.log1p(-a)

    def impossible(self, outcomes: Tensor, table: Tensor) -> Tensor:
        if self.domain.logit:
            return torch.zeros_like(outcomes, dtype=torch.bool)
        return table[..., 0] == 1 - outcomes

    def size(self, outcomes: Tensor, table: Tensor) -> Tensor:
        a = table[..., 0].double().cpu()
        return 1 + (a.abs() if self.domain.logit else torch.where(outcomes.cpu() == 1, a, 1 - a).log().abs())

    def slope_size(self, outcomes: Tensor, table: Tensor) -> Tensor:
        a = table.double().cpu()
        if self.domain.logit:
            return torch.ones_like(a)
        # Both logarithms have a slope; on the boundary only that of the outcome is finite.
        both, one = 1 / (a * (1 - a)), torch.where(outcomes[..., None].cpu() == 1, a, 1 - a)
        return torch.where(both.isfinite(), both, 1 / one)

    def summable(self, n: int, dtype: torch.dtype) -> st.SearchStrategy[Parameters]:
        return st.tuples(strategies.tensors((1, n), dtype, self._numbers(dtype)))

    def everything(self, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self._all(torch.tensor([0.0, 1.0]).to(table), table)


@dataclass(frozen=True)
class CategoricalOutcomes(_Discrete):
    """Vectors of classes."""

    domain: Categoricals

    def _table(self, shape: tuple[int, ...], dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
        if self.domain.logits:
            marks = [0.0, 1.0, -1.0, 20.0, 104.0, -104.0, 746.0, self.domain.reach, -self.domain.reach]
            special = [float(torch.tensor(m, dtype=dtype)) for m in marks if abs(m) <= self.domain.reach]
            return strategies.tensors(
                shape, dtype, st.one_of(st.sampled_from(special), Interval(reach=self.domain.reach).elements(dtype))
            )
        weights = [1.0, 2.0, 0.5, *([0.0, 1e-12, torch.finfo(dtype).tiny] if self.domain.boundary else [0.01])]

        def normalised(t: Tensor) -> Tensor:
            # The first class takes the place of all, where every other one is impossible.
            first = torch.zeros_like(t)
            first[..., 0] = 1
            t = torch.where((t > 1e-6).any(-1, keepdim=True), t, first)
            return (t / t.sum(-1, keepdim=True)).to(dtype)

        numbers = st.one_of(st.sampled_from(weights), st.floats(0.01, 1.0))
        return strategies.tensors(shape, torch.float64, numbers).map(normalised)

    def table(self, parameters: Parameters) -> Tensor:
        return parameters[0]

    def observed(self, n: int, batch: tuple[int, ...], dtype: torch.dtype) -> st.SearchStrategy[Observed]:
        def of(k: int) -> st.SearchStrategy[Observed]:
            classes = st.integers(0, k - 1).map(float)
            outcomes = strategies.tensors((*batch, n), torch.float64, classes).map(lambda t: t.long())
            return st.tuples(outcomes, st.tuples(self._table((*batch, n, k), dtype)))

        return strategies.of_each(st.integers(2, 4), of)

    def log_prob(self, outcome: float, row: list[Any]) -> Any:
        t = int(outcome)
        return -arb.log(sum((arb.exp(a - row[t]) for a in row), 0)) if self.domain.logits else arb.log(row[t])

    def impossible(self, outcomes: Tensor, table: Tensor) -> Tensor:
        if self.domain.logits:
            return torch.zeros_like(outcomes, dtype=torch.bool)
        return table.gather(-1, outcomes[..., None]).squeeze(-1) == 0

    def size(self, outcomes: Tensor, table: Tensor) -> Tensor:
        wide, index = table.double().cpu(), outcomes[..., None].cpu()
        if self.domain.logits:
            return 1 + 2 * wide.abs().amax(-1)
        return 1 + wide.gather(-1, index).squeeze(-1).log().abs()

    def slope_size(self, outcomes: Tensor, table: Tensor) -> Tensor:
        wide = table.double().cpu()
        if self.domain.logits:
            return 1 + 2 * wide.abs().amax(-1, keepdim=True) * torch.softmax(wide, -1)
        return (1 + 1 / wide.gather(-1, outcomes[..., None].cpu())).expand(wide.shape)

    def canonical(self, gradient: Tensor) -> Tensor:
        """Probabilities sum to 1: only the differences of their slopes mean anything."""
        return gradient if self.domain.logits else gradient - gradient.mean(-1, keepdim=True)

    def summable(self, n: int, dtype: torch.dtype) -> st.SearchStrategy[Parameters]:
        return strategies.of_each(st.integers(2, 4), lambda k: st.tuples(self._table((1, n, k), dtype)))

    def everything(self, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self._all(torch.arange(table.shape[-1], device=table.device), table)


@dataclass(frozen=True)
class PoissonOutcomes(_Discrete):
    """Vectors of counts."""

    domain: Poissons

    def _numbers(self, dtype: torch.dtype, largest: float) -> st.SearchStrategy[float]:
        low = -100.0 if self.domain.boundary else math.log(_MARGIN)
        if self.domain.log:
            special = [0.0, 1.0, -1.0, low, math.log(largest)]
            numbers = st.floats(low, math.log(largest))
        else:
            # The simplest first: a search always tries it.
            special = [*([0.0, torch.finfo(dtype).tiny, 1e-12] if self.domain.boundary else [_MARGIN]), 1.0, largest]
            numbers = strategies.log_uniform(_MARGIN, largest)
        return st.one_of(st.sampled_from(special), numbers).map(lambda x: float(torch.tensor(x, dtype=dtype)))

    def observed(self, n: int, batch: tuple[int, ...], dtype: torch.dtype) -> st.SearchStrategy[Observed]:
        counts = st.one_of(st.sampled_from([0.0, 1.0, 2.0, 10.0, 1000.0]), st.integers(0, 200).map(float))
        outcomes = strategies.tensors((*batch, n), dtype, counts)
        rates = strategies.tensors((*batch, n), dtype, self._numbers(dtype, self.domain.reach))
        return st.tuples(outcomes, st.tuples(rates))

    def log_prob(self, outcome: float, row: list[Any]) -> Any:
        (a,) = row
        power = 0 if outcome == 0 else outcome * (a if self.domain.log else arb.log(a))
        return power - (arb.exp(a) if self.domain.log else a) - arb.lgamma(arb.exact(outcome + 1))

    def impossible(self, outcomes: Tensor, table: Tensor) -> Tensor:
        if self.domain.log:
            return torch.zeros_like(outcomes, dtype=torch.bool)
        return (table[..., 0] == 0) & (outcomes > 0)

    def _rate(self, table: Tensor) -> tuple[Tensor, Tensor]:
        wide = table.double().cpu()
        return (wide.exp(), wide) if self.domain.log else (wide, wide.log())

    def size(self, outcomes: Tensor, table: Tensor) -> Tensor:
        rate, log = (t[..., 0] for t in self._rate(table))
        t = outcomes.double().cpu()
        return 1 + torch.where(t == 0, 0.0, t * log.abs()) + rate + torch.lgamma(t + 1)

    def slope_size(self, outcomes: Tensor, table: Tensor) -> Tensor:
        rate, t = self._rate(table)[0], outcomes.double().cpu()[..., None]
        return t + rate if self.domain.log else 1 + torch.where(t == 0, 0.0, t / rate)

    def summable(self, n: int, dtype: torch.dtype) -> st.SearchStrategy[Parameters]:
        return st.tuples(strategies.tensors((1, n), dtype, self._numbers(dtype, 5.0)))

    def everything(self, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Counts up to 60: for rates of at most 5 those beyond have less than 1e-40 of the probability."""
        return self._all(torch.arange(61).to(table), table)
