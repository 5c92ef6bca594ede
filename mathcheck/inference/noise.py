r"""What randomness a gradient estimator is fed, and expectations over it: deterministic, with every draw injected.

A sampler and an estimator are judged with the noise as an *argument*, so a mean over the noise is a weighted sum over
the nodes of a quadrature rule, or over all outcomes, and not an average of draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import strategies
from mathcheck.engine.residual import Ball, Kind
from mathcheck.oracles import arb, quadrature

# Takes K draws, `(K, *event)`, and returns K values `(K, *shape)`, row by row.
Integrand = Callable[[Tensor], Tensor]
# A list of balls in, a list of balls out.
Formula = Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Normal:
    r"""Standard normal noise $z \sim \mathcal N(0, I)$ in `dim` dimensions; draws have shape `(*batch, dim)`.

    Args:
        dim: coordinates of z, 1 to 3.
        nodes: of the Gauss-Hermite rule, per coordinate, 4 to 200. What is averaged must be smooth in z.
    """

    dim: int = 1
    nodes: int = 48

    def __post_init__(self) -> None:
        if not 1 <= self.dim <= 3:
            raise ValueError(f"dim must be 1, 2 or 3, got {self.dim}")
        if not 4 <= self.nodes <= 200:
            raise ValueError(f"nodes must be in 4, ..., 200, got {self.nodes}")

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one draw."""
        return (self.dim,)

    def draws(self, batch: tuple[int, ...], dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
        """Strategy of draws `(*batch, dim)`."""
        return strategies.normal_tensors((*batch, self.dim), dtype)

    def zeros(self, batch: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """The draw 0, `(*batch, dim)`."""
        return torch.zeros(*batch, self.dim, dtype=dtype)

    def expectation(self, f: Integrand, theta: Tensor) -> Ball:
        r"""$\mathbb E f(z)$ by Gauss-Hermite quadrature; the radius is estimated from three rules, so `NUMERICAL`."""
        return quadrature.normal_expectation(lambda z: f(z.to(theta.device)), self.dim, self.nodes, dtype=theta.dtype)

    def size(self, values: Tensor) -> Tensor:
        """What the roundings of each of `values`, one for each node, are relative to: its own magnitude."""
        return values.abs()

    def sums(self, f: Integrand, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The plain sums in float64 of two rules, whose distance says how well they are resolved."""
        finer = Normal(self.dim, self.nodes + 3)
        first, second = (quadrature.gauss_hermite(rule.nodes, self.dim) for rule in (self, finer))
        values = [w @ f(z.to(theta)).double().cpu().reshape(len(w), -1) for z, w in (first, second)]
        return values[0], values[1]


@dataclass(frozen=True)
class Finite:
    r"""A draw is one of the outcomes 0, ..., count - 1, of probabilities that may depend on the parameters.

    Args:
        count: number of outcomes, at least 1; draws are integer tensors `(*batch,)`.
        probabilities: the list of parameters, as balls, to the list of `count` probabilities, by a formula written with
            the functions of `mathcheck.oracles.arb`.
    """

    count: int
    probabilities: Formula

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count must be at least 1, got {self.count}")

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one draw."""
        return ()

    def draws(self, batch: tuple[int, ...], dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
        """Strategy of draws, `(*batch,)` integers."""

        def build(generator: torch.Generator) -> Tensor:
            return torch.randint(self.count, batch, generator=generator)

        return strategies.generators().map(build)

    def zeros(self, batch: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """The outcome 0, `(*batch,)`."""
        return torch.zeros(batch, dtype=torch.int64)

    def _weights(self, theta: Tensor) -> Ball:
        return arb.enclose(lambda: self.probabilities(arb.exact_list(theta)), rel_bits=60)

    def expectation(self, f: Integrand, theta: Tensor) -> Ball:
        r"""$\sum_x p_\theta(x) f(x)$ over all outcomes, with probabilities enclosed."""
        p = self._weights(theta)
        values = f(torch.arange(self.count, device=theta.device)).double().cpu()
        flat = values.reshape(self.count, -1)
        # The products and the sum are rounded in float64, (count + 1) times at most.
        radius = p.radius @ flat.abs() + (self.count + 1) * torch.finfo(torch.float64).eps * (p.mid @ flat.abs())
        shape = values.shape[1:]
        return Ball(
            (p.mid @ flat).reshape(shape), radius.reshape(shape), kind=Kind.ENCLOSED, source="sum over all outcomes"
        )

    def size(self, values: Tensor) -> Tensor:
        r"""What the roundings of each of `values`, one for each outcome, are relative to: the largest of them.

        A score such as $1[x = j] - q_j$ is a difference of numbers of that size, whatever is left of it.
        """
        return values.abs().amax(0, keepdim=True).expand(values.shape)

    def sums(self, f: Integrand, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The plain sum in float64, twice: nothing is left unresolved."""
        value = self._weights(theta).mid @ f(torch.arange(self.count, device=theta.device)).double().cpu().reshape(
            self.count, -1
        )
        return value, value


Noise = Normal | Finite
