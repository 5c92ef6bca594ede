r"""Parametric families of distributions: how their members are drawn, and what is true of them in ball arithmetic.

A family is the domain of whatever is claimed about distributions. It knows densities by their definition and nothing
about closed forms, which are what is to be checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments, strategies
from mathcheck.engine.strategies import Interval
from mathcheck.oracles import arb

Parameters = tuple[Tensor, ...]
Scalars = Sequence[Any]

SPREADS = ("log_variance", "variance", "std", "log_std", "covariance", "scale_tril")
_MATRICES = ("covariance", "scale_tril")
# How far a near-equal pair may lie apart, relative to its entries: one unit in the last place and upwards.
_NUDGES = (2.0, 3.0, 1e3, 1e6, 1e9, 1e12)


@dataclass(frozen=True)
class Normals:
    r"""Normal distributions $\mathcal N(\mu, \Sigma)$ on $\mathbb R^n$, $n = 1, 2, 3$, given by a mean and a spread.

    Args:
        spread: which second parameter: "log_variance", "variance", "std" or "log_std", of shape `(*batch, n)`, for a
            diagonal covariance; "covariance" or "scale_tril" (lower Cholesky factor), `(*batch, n, n)`, for a full one.
        near_equal: whether pairs may lie arbitrarily close to each other. Without, the standard deviations differ by a
            factor of 3 or more, and every coordinate of the means by one standard deviation of the second or more.
        reach: log-variances are drawn from [-reach, reach] (diagonal covariance), in single precision up to 40 at most,
            since quotients of variances must fit.
    """

    spread: str = "log_variance"
    near_equal: bool = True
    reach: float = 100.0

    def __post_init__(self) -> None:
        if self.spread not in SPREADS:
            raise ValueError(f"spread must be one of {SPREADS}, got {self.spread!r}")
        if not 0 < self.reach <= 300:
            raise ValueError(f"reach must be in (0, 300], got {self.reach}")

    @property
    def full(self) -> bool:
        """True if the spread is a matrix."""
        return self.spread in _MATRICES

    @property
    def parameters(self) -> tuple[str, str]:
        """Names of the parameters, in order."""
        return ("mean", self.spread)

    def members(self, n: int, batch: tuple[int, ...], dtype: torch.dtype) -> st.SearchStrategy[Parameters]:
        """Strategy of members in `n` dimensions, with leading shape `batch`."""
        means = strategies.tensors((*batch, n), dtype, Interval(reach=1e3))
        return st.tuples(means, self._spreads(n, batch, dtype))

    def _spreads(self, n: int, batch: tuple[int, ...], dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
        if self.full:
            matrices = strategies.spd_matrices(n, dtype, batch)
            return matrices.map(_lower_factor) if self.spread == "scale_tril" else matrices
        # A quotient of two variances must stay inside the dtype, whose range is exp(+-87) for float32, and they themselves
        # inside that of float64.
        reach = min(
            self.reach, 40.0 if dtype == torch.float32 else self.reach if self.spread.startswith("log") else 80.0
        )
        logs = strategies.tensors((*batch, n), torch.float64, Interval(reach=reach))
        return logs.map(lambda log_variance: self._spread(log_variance).to(dtype))

    def _spread(self, log_variance: Tensor) -> Tensor:
        """The spread of a diagonal covariance with these log-variances."""
        half = self.spread in ("log_std", "std", "scale_tril")
        logs = log_variance / 2 if half else log_variance
        spread = logs if self.spread.startswith("log") else logs.exp()
        return torch.diag_embed(spread) if self.full else spread

    def pairs(
        self, dtype: torch.dtype, *, largest: int = 3, batches: Sequence[tuple[int, ...]] = strategies.BATCH_SHAPES
    ) -> st.SearchStrategy[tuple[Parameters, Parameters]]:
        """Strategy of pairs `(q, p)` of members of one dimension and batch shape."""

        def of_shape(shape: tuple[int, tuple[int, ...]]) -> st.SearchStrategy[tuple[Parameters, Parameters]]:
            n, batch = shape
            member = self.members(n, batch, dtype)
            if not self.near_equal:
                steps = strategies.tensors((*batch, n), dtype, st.floats(1, 10, width=strategies.width(dtype)))
                return st.builds(self._apart, member, steps, st.sampled_from([4.0, 0.25, 3.0]))
            near = st.builds(self._nudged, member, st.sampled_from(_NUDGES), st.integers(0, 2**31 - 1))
            return st.one_of(st.tuples(member, member), near)

        shapes = st.tuples(st.integers(1, largest), st.sampled_from(list(batches)))
        return strategies.of_each(shapes, of_shape)

    def extremes(
        self, dtype: torch.dtype, batch: tuple[int, ...] = ()
    ) -> st.SearchStrategy[tuple[Parameters, Parameters]]:
        """Strategy of pairs `(q, p)` of one row whose spreads and means reach far into the range of the dtype."""
        far = 80.0 if dtype == torch.float32 else 600.0
        logs = st.one_of(st.floats(-far, far), st.sampled_from([0.0, far / 2, -far / 2, far, -far]))
        means = st.sampled_from([0.0, 1.0, -1.0, math.exp(far / 8)])

        def member(mean: list[float], log_variance: list[float]) -> Parameters:
            spread = self._spread(torch.tensor(log_variance, dtype=torch.float64))
            lead = (1,) * len(batch)
            spread = spread.to(dtype)
            return torch.tensor(mean, dtype=dtype).reshape(*lead, -1), spread.reshape(*lead, *spread.shape)

        def of_dimension(n: int) -> st.SearchStrategy[tuple[Parameters, Parameters]]:
            lists = [st.lists(values, min_size=n, max_size=n) for values in (means, logs)]
            return st.tuples(st.builds(member, *lists), st.builds(member, *lists))

        return strategies.of_each(st.integers(1, 2), of_dimension)

    def _apart(self, q: Parameters, steps: Tensor, factor: float) -> tuple[Parameters, Parameters]:
        """A pair whose second member has `factor` times the standard deviations and a mean `steps` of them away."""
        log = self.spread.startswith("log")
        power = 1 if self.spread in ("log_std", "std", "scale_tril") else 2
        spread = q[1] + power * math.log(factor) if log else q[1] * factor**power
        return q, ((q[0].double() + steps * self._deviations(spread)).to(spread.dtype), spread)

    def _nudged(self, q: Parameters, ulps: float, seed: int) -> tuple[Parameters, Parameters]:
        """A pair whose second member differs from the first by about `ulps` units in the last place, entry by entry."""
        generator = torch.Generator().manual_seed(seed)
        eps = torch.finfo(q[0].dtype).eps
        shift = min(ulps * eps, 0.01)

        def nudge(t: Tensor, size: Tensor) -> Tensor:
            # Not a round number of units: differences that are exact in binary hide the rounding of what follows.
            noise = 2 * torch.rand(t.shape, generator=generator, dtype=torch.float64) - 1
            kept = torch.randint(3, t.shape, generator=generator) > 0
            return (t.double() + shift * noise * kept * size).to(t.dtype)

        # Where only the spreads differ, the divergence is smallest and a formula that cancels shows itself best.
        same_mean = int(torch.randint(2, (), generator=generator))
        # Entries of 0 move too, except in a matrix, whose triangle and definiteness must stay.
        mean = q[0] if same_mean else nudge(q[0], q[0].double().abs().clamp(min=1.0))
        if self.spread.startswith("log"):
            return q, (mean, nudge(q[1], q[1].double().abs().clamp(min=1.0)))
        if self.spread != "covariance":
            return q, (mean, nudge(q[1], q[1].double()))
        noise = torch.randint(-1, 2, q[1].shape, generator=generator)
        # Scaling the whole matrix keeps it positive definite where a shift of single entries would not.
        noise = noise.tril() + noise.tril(-1).mT if shift < eps**0.75 else noise[..., :1, :1]
        return q, (mean, (q[1].double() * (1 + shift * noise)).to(q[1].dtype))

    def _deviations(self, spread: Tensor) -> Tensor:
        """Standard deviation of each coordinate `(*batch, n)` in float64."""
        spread = spread.double()
        if self.spread == "covariance":
            return spread.diagonal(dim1=-2, dim2=-1).sqrt()
        if self.spread == "scale_tril":
            return spread.square().sum(-1).sqrt()
        logs = {"log_variance": spread / 2, "log_std": spread}
        if self.spread in logs:
            return logs[self.spread].exp()
        return spread.sqrt() if self.spread == "variance" else spread

    def product(self, first: Parameters, second: Parameters) -> Parameters:
        """The joint distribution of two independent members."""
        means = torch.cat([first[0], second[0]], -1)
        if not self.full:
            return means, torch.cat([first[1], second[1]], -1)
        n, m = first[1].shape[-1], second[1].shape[-1]
        top = torch.cat([first[1], first[1].new_zeros(*first[1].shape[:-1], m)], -1)
        bottom = torch.cat([second[1].new_zeros(*second[1].shape[:-1], n), second[1]], -1)
        return means, torch.cat([top, bottom], -2)

    def respread(self, member: Parameters, power: float) -> Parameters:
        """The member whose standard deviations are raised to `power` (2: a variance read as a deviation; 1/2: back).

        Raises:
            NotImplementedError: for matrices, where no such slip is in use.
        """
        if self.full:
            raise NotImplementedError("a matrix spread is not confused with its square")
        if self.spread in ("log_variance", "log_std"):
            return member[0], member[1] * power
        return member[0], member[1].double().pow(power).to(member[1].dtype)

    def log_prob(self, member: Scalars, x: Scalars) -> Any:
        r"""$\log \mathcal N(x; \mu, \Sigma)$ without its constant $-\tfrac n2\log 2\pi$, for one row of scalars."""
        factor = self.factor(member[1])
        z = arb.solve_lower(factor, [x[i] - member[0][i] for i in range(len(x))])
        value: Any = 0
        for i in range(len(x)):
            value = value - z[i] * z[i] / 2 - arb.log(factor[i][i])
        return value

    def factor(self, spread: Any) -> list[list[Any]]:
        """The lower Cholesky factor of the covariance, for one row of scalars."""
        if self.spread == "covariance":
            return list(arb.cholesky(spread))
        if self.spread == "scale_tril":
            return list(spread)
        deviation: dict[str, Callable[[Any], Any]] = {
            "log_variance": lambda v: arb.exp(v / 2),
            "variance": arb.sqrt,
            "std": lambda v: v,
            "log_std": arb.exp,
        }
        n = len(spread)
        return [[deviation[self.spread](spread[i]) if i == j else 0 for j in range(n)] for i in range(n)]

    def canonical(self, index: int, gradient: Tensor) -> Tensor:
        """The gradient in parameter `index` (0: mean, 1: spread), made unique where the parameter has a structure."""
        if index == 1 and self.spread == "covariance":
            return (gradient + gradient.mT) / 2
        return gradient.tril() if index == 1 and self.spread == "scale_tril" else gradient

    def weight(self, index: int, parameter: Any) -> Any:
        r"""What one rounding perturbs in parameter `index` of one row of scalars, up to eps; nested like it.

        $\lvert x\rvert$, and $\sqrt{\Sigma_{ii}\Sigma_{jj}}$ for the entries of a covariance: the backward error of a
        Cholesky factorisation.
        """
        if index == 0 or not self.full:
            return [abs(x) for x in parameter]
        if self.spread == "scale_tril":
            return [[abs(x) for x in row] for row in parameter]
        roots = [arb.sqrt(row[i]) for i, row in enumerate(parameter)]
        return [[a * b for b in roots] for a in roots]


def _lower_factor(matrix: Tensor) -> Tensor:
    factor: Tensor = torch.linalg.cholesky(matrix)
    return factor


def normals(spread: str = "log_variance", *, near_equal: bool = True, reach: float = 100.0) -> Normals:
    """The family of normal distributions given by a mean and `spread`; see `Normals`.

    Raises:
        TypeError, ValueError: for an unknown spread, or arguments of another type.
    """
    arguments.instances(str, spread=spread)
    arguments.instances(bool, near_equal=near_equal)
    arguments.positive(reach=reach)
    return Normals(spread, near_equal, reach)
