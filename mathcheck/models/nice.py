r"""NICE on images: four additive couplings, a diagonal scaling and a logistic base density.

$\log p(x) = \sum_i\log p_{\mathrm{logistic}}(z_i) + \sum_i s_i$ at $z = f(x)$: the couplings preserve volume.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mathcheck.engine import arguments
from mathcheck.flows.bijection import Bijection
from mathcheck.flows.coupling import additive_coupling
from mathcheck.flows.rescaling import logistic_log_prob, logistic_sample, rescaling
from mathcheck.linear.affine import Affine
from mathcheck.models.composition import compose, pull_back, push_forward


class Nice(nn.Module):
    """A flow from images to logistic noise; even and odd pixels take turns to be shifted.

    Args:
        pixels: n, at least 2.
        width: of the hidden layers.
        depth: number of hidden layers of each network, at least 1.
        couplings: how many, at least 1.

    Raises:
        TypeError, ValueError: for no such numbers.
    """

    def __init__(self, pixels: int, width: int = 1000, depth: int = 5, couplings: int = 4) -> None:
        super().__init__()
        arguments.at_least(2, pixels=pixels)
        arguments.at_least(1, width=width, depth=depth, couplings=couplings)
        self.pixels = pixels
        self.kept = [tuple(range(k % 2, pixels, 2)) for k in range(couplings)]
        self.shifts = nn.ModuleList(_network(len(kept), pixels - len(kept), width, depth) for kept in self.kept)
        self.log_scales = nn.Parameter(torch.zeros(pixels))

    @property
    def parts(self) -> list[Bijection]:
        """The couplings and the scaling."""
        shifts = zip(self.kept, self.shifts, strict=True)
        couplings = [additive_coupling(kept, self.pixels, shift) for kept, shift in shifts]
        return [*couplings, rescaling(self.log_scales)]

    @property
    def bijection(self) -> Bijection:
        """The whole map from images to noise."""
        return compose(self.parts)

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density in nats of images `(*batch, n)`, `(*batch,)`."""
        z, log_det = push_forward(self.parts, x)
        return logistic_log_prob(z) + log_det

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """`(n, pixels)` images, unbounded: the inverse of logistic noise."""
        noise = logistic_sample((n, self.pixels), generator, dtype=self.log_scales.dtype)
        return pull_back(self.parts, noise.to(self.log_scales.device))[0]


def _network(inputs: int, outputs: int, width: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k in range(depth):
        layers += [Affine(width if k else inputs, width), nn.ReLU()]
    return nn.Sequential(*layers, Affine(width, outputs))
