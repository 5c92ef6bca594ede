r"""Three flows on the plane for a posterior bent like a banana, and that posterior from its sufficient statistics.

Planar layers, NICE (additive couplings and a scaling) and RealNVP (affine couplings), built from the verified
bijections and read from standard normal noise to $\theta$. The posterior is that of `mathcheck.markov.banana_posterior`:
$\theta\sim\mathcal N(0, I)$, $y_i\mid\theta\sim\mathcal N(\theta_1 + \theta_2^2, 4)$.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mathcheck.engine import arguments
from mathcheck.flows.bijection import Bijection
from mathcheck.flows.coupling import additive_coupling, affine_coupling
from mathcheck.flows.planar import _log_det, _softplus, planar
from mathcheck.flows.rescaling import rescaling
from mathcheck.inference.flow_elbo import flow_elbo
from mathcheck.markov.banana_posterior import banana_conditional
from mathcheck.models.composition import compose


class Flow(nn.Module):
    """A flow on the plane: layers that each are one bijection, or a few, of their present parameters.

    A layer has the bijections in order as `parts`, and is called with points `(*batch, 2)` for their images and the
    log-determinants `(*batch,)`: the same in fewer operations, of which most of the time for a hundred points is spent.
    """

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    @property
    def parts(self) -> list[Bijection]:
        """The bijections of all layers in order."""
        return [part for layer in self.layers for part in _parts(layer)]

    @property
    def bijection(self) -> Bijection:
        """The whole map from noise to theta."""
        return compose(self.parts)

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Theta `(*batch, 2)` and the log-determinants `(*batch,)` for noise `(*batch, 2)`."""
        z, log_dets = noise, []
        for layer in self.layers:
            z, log_det = layer(z)
            log_dets.append(log_det)
        return z, torch.stack(log_dets).sum(0)

    def elbo(self, noise: Tensor, log_joint: Callable[[Tensor], Tensor]) -> Tensor:
        """The draws of the ELBO `(*batch,)` that standard normal noise `(*batch, 2)` makes."""
        # The parameters are the module's own: there is none to hand over.
        return flow_elbo(noise[..., :0], noise, lambda _, eps: self(eps), log_joint)


def _parts(layer: Any) -> list[Bijection]:
    return list(layer.parts)


class PlanarLayers(nn.Module):
    """Planar maps one after another; w and u `(layers, 2)` and b `(layers,)` are to be learnt."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        drawn = [(torch.randn(2), torch.randn(2) / 10) for _ in range(layers)]
        self.w, self.u = (nn.Parameter(torch.stack(rows)) for rows in zip(*drawn, strict=True))
        self.b = nn.Parameter(torch.zeros(layers))

    @property
    def parts(self) -> list[Bijection]:
        """The maps."""
        return [planar(w, u, b) for w, u, b in zip(self.w, self.u, self.b, strict=True)]

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """All points through all maps; only what depends on the map before is done map by map."""
        product = (self.w * self.u).sum(-1)
        stretch = (_softplus(-product) - 1) / self.w.square().sum(-1)
        directions = torch.addcmul(self.u, stretch.unsqueeze(-1), self.w)
        places = []
        for w, direction, b in zip(self.w.unbind(), directions.unbind(), self.b.unbind(), strict=True):
            places.append(z @ w + b)
            z = z + places[-1].tanh().unsqueeze(-1) * direction
        return z, _log_det(torch.stack(places, -1), product).sum(-1)


class _Network(nn.Module):
    """Two hidden layers from one number to a few."""

    def __init__(self, outputs: int, width: int) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(1, width), nn.Linear(width, width), nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`(*batch, 1)` -> `(*batch, outputs)`."""
        if torch.compiler.is_compiling():
            # A product with so thin a matrix is no work for a library: as sums of products it is fused with the rest.
            hidden = torch.tanh(self.second(torch.tanh(x * self.first.weight.mT + self.first.bias)))
            return (hidden.unsqueeze(-2) * self.last.weight).sum(-1) + self.last.bias
        found: Tensor = self.last(torch.tanh(self.second(torch.tanh(self.first(x)))))
        return found


class NiceLayer(nn.Module):
    """Two additive couplings, one for each coordinate, and a scaling."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shifts = nn.ModuleList(_Network(1, width) for _ in range(2))
        self.log_scales = nn.Parameter(torch.zeros(2))

    @property
    def parts(self) -> list[Bijection]:
        """The three maps."""
        couplings = [additive_coupling((k,), 2, shift) for k, shift in enumerate(self.shifts)]
        return [*couplings, rescaling(self.log_scales)]

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """All points through the three maps."""
        first, second = z.chunk(2, -1)
        second = second + self.shifts[0](first)
        first = first + self.shifts[1](second)
        return torch.cat([first, second], -1) * self.log_scales.exp(), self.log_scales.sum().expand(z.shape[:-1])


class RealNvpLayer(nn.Module):
    """Two affine couplings, one for each coordinate."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conditioners = nn.ModuleList(_Network(2, width) for _ in range(2))

    @property
    def parts(self) -> list[Bijection]:
        """The two maps."""
        return [affine_coupling((k,), 2, _halves(network)) for k, network in enumerate(self.conditioners)]

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """All points through the two maps."""
        first, second = z.chunk(2, -1)
        scale, shift = self.conditioners[0](first).chunk(2, -1)
        second = torch.addcmul(shift, second, scale.exp())
        other, shift = self.conditioners[1](second).chunk(2, -1)
        first = torch.addcmul(shift, first, other.exp())
        return torch.cat([first, second], -1), (scale + other).squeeze(-1)


def _halves(network: nn.Module) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    def conditioner(kept: Tensor) -> tuple[Tensor, Tensor]:
        log_scales, shifts = network(kept).chunk(2, -1)
        return log_scales, shifts

    return conditioner


def planar_flow(layers: int = 8) -> Flow:
    """Planar maps one after another.

    Args:
        layers: how many, at least 1.

    Raises:
        TypeError, ValueError: for no such number.
    """
    arguments.at_least(1, layers=layers)
    return Flow([PlanarLayers(layers)])


def nice_flow(layers: int = 4, width: int = 32) -> Flow:
    """NICE on the plane: in each layer two additive couplings and a scaling.

    Args:
        layers: how many, at least 1.
        width: of the two hidden layers of every network.

    Raises:
        TypeError, ValueError: for no such numbers.
    """
    arguments.at_least(1, layers=layers, width=width)
    return Flow([NiceLayer(width) for _ in range(layers)])


def real_nvp_flow(layers: int = 4, width: int = 32) -> Flow:
    """RealNVP on the plane: in each layer two affine couplings.

    Args:
        layers, width: as in `nice_flow`.

    Raises:
        TypeError, ValueError: for no such numbers.
    """
    arguments.at_least(1, layers=layers, width=width)
    return Flow([RealNvpLayer(width) for _ in range(layers)])


def _functions(count: int, mean: float, scatter: float) -> tuple[Callable[..., Any], Callable[..., Any]]:
    constant = -(scatter / 4 + count * math.log(8 * math.pi)) / 2 - math.log(2 * math.pi)

    def log_joint(first: Any, second: Any) -> Any:
        misfit = mean - first - second * second
        return constant - (count / 4 * misfit * misfit + first * first + second * second) / 2

    def score(first: Any, second: Any) -> tuple[Any, Any]:
        pull = count / 4 * (mean - first - second * second)
        return pull - first, 2 * pull * second - second

    return log_joint, score


_kept_functions = functools.cache(_functions)


@dataclass(frozen=True)
class BananaPosterior:
    r"""The banana posterior from the sufficient statistics of its data, so that no sum over the data is repeated.

    $\sum_i (y_i - d)^2 = n(\bar y - d)^2 + \sum_i (y_i - \bar y)^2$.

    Args:
        count: n. `mean`: $\bar y$. `scatter`: $\sum_i (y_i - \bar y)^2$.
    """

    count: int
    mean: float
    scatter: float

    @property
    def by_coordinates(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        r"""$\log p(y, \theta)$ and its gradient as functions of $(\theta_1, \theta_2)$, numbers or tensors of one shape.

        They are the same two functions each time, so that `mathcheck.markov.compiled_chain` compiles them once.
        """
        return _kept_functions(self.count, self.mean, self.scatter)

    def log_joint(self, theta: Tensor) -> Tensor:
        r"""$\log p(y, \theta)$ with all constants, `(*batch, 2)` -> `(*batch,)`."""
        value: Tensor = _functions(self.count, self.mean, self.scatter)[0](*theta.unbind(-1))
        return value

    def score(self, theta: Tensor) -> Tensor:
        r"""$\nabla\log p(y, \theta)$, `(*batch, 2)` -> `(*batch, 2)`."""
        return torch.stack(_functions(self.count, self.mean, self.scatter)[1](*theta.unbind(-1)), -1)

    def conditional(self, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""Mean and variance of $\theta_1$ given $\theta_2$, and the log-density of $\theta_2$ up to a constant."""
        return banana_conditional(second, second.new_full((self.count,), self.mean))

    def sample(self, n: int, generator: torch.Generator, *, cells: int = 4000, reach: float = 5.0) -> Tensor:
        r"""`(n, 2)` independent draws in double precision: $\theta_2$ by rejection, then $\theta_1$ from its normal law.

        $\theta_2$ is proposed from a step function above its density: on each cell between nodes, among which are the
        stationary points, the density is monotone, so that its larger end is its maximum. What lies beyond `reach` is
        left out: less than $e^{-200}$ for a hundred data of mean 3/2.
        """
        turning = max(self.mean - 0.5 * (1 + 4 / self.count), 0.0) ** 0.5
        nodes = torch.linspace(-reach, reach, cells, dtype=torch.float64)
        nodes = torch.unique(torch.cat([nodes, nodes.new_tensor([-turning, 0.0, turning])]))
        log_ends = self.conditional(nodes)[2]
        log_tops, widths = torch.maximum(log_ends[1:], log_ends[:-1]), nodes.diff()
        masses = widths * (log_tops - log_tops.max()).exp()
        kept, wanted = torch.empty(0, dtype=torch.float64), n
        while wanted > 0:
            cell = torch.multinomial(masses, wanted, replacement=True, generator=generator)
            u, v = torch.rand(2, wanted, generator=generator, dtype=torch.float64)
            place = nodes[cell] + u * widths[cell]
            kept = torch.cat([kept, place[v.log() < self.conditional(place)[2] - log_tops[cell]]])
            wanted = n - len(kept)
        mean, variance, _ = self.conditional(kept)
        noise = torch.randn(n, generator=generator, dtype=torch.float64)
        return torch.stack([mean + variance.sqrt() * noise, kept], -1)
