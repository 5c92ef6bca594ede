r"""Flows of one number: the mixture-CDF flow, whose density is a Gaussian mixture, and the bounded map without its mass.

The bounded map $f(x) = \sum_k e^{l_k}(\Phi(\tfrac{x-\mu_k}{\sigma_k}) - \tfrac12)$ reaches only $(-W/2, W/2)$, $W = \sum_k
e^{l_k}$. What a change of variables makes of it, $\varphi(f(x))f'(x)$, has the mass $\mathrm{erf}(W/(2\sqrt2)) < 1$ and is
no density.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mathcheck.engine import arguments
from mathcheck.flows.bijection import Bijection
from mathcheck.flows.mixture_cdf import mixture_cdf
from mathcheck.probability.normal import normal_log_prob


class MixtureFlow(nn.Module):
    r"""$z = \Phi^{-1}\big(\sum_k\pi_k\Phi(\tfrac{x - \mu_k}{\sigma_k})\big)$ with parameters to learn.

    Args:
        means: $\mu_k$ to start from, `(K,)`; the weights start equal and the scales at 1.
    """

    def __init__(self, means: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros_like(means))
        self.means = nn.Parameter(means.clone())
        self.log_scales = nn.Parameter(torch.zeros_like(means))

    @property
    def bijection(self) -> Bijection:
        """The map with its inverse and its log-derivative, for the present parameters."""
        return mixture_cdf(self.logits, self.means, self.log_scales)

    def forward(self, x: Tensor) -> Tensor:
        """z, `(*batch,)` -> `(*batch,)`."""
        return self.bijection.forward(x)

    def log_prob(self, x: Tensor) -> Tensor:
        r"""$\log\varphi(f(x)) + \log f'(x)$, `(*batch,)` -> `(*batch,)`, in nats: that of a Gaussian mixture."""
        flow = self.bijection
        assert flow.forward_and_log_det is not None
        z, log_det = flow.forward_and_log_det(x)
        return _standard(z) + log_det

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """`(n,)` draws: the inverse of standard normal noise."""
        noise = torch.randn(n, generator=generator, dtype=self.means.dtype)
        inverse = self.bijection.inverse
        assert inverse is not None
        return inverse(noise.to(self.means.device))


class BoundedMap(nn.Module):
    r"""$z = \sum_k e^{l_k}\big(\Phi(\tfrac{x - \mu_k}{\sigma_k}) - \tfrac12\big)$ with parameters to learn; not onto $\mathbb R$.

    Args:
        means: $\mu_k$ to start from, `(K,)`; the log-weights start at 1, so that $W = Ke$, and the scales at 1.
    """

    def __init__(self, means: Tensor) -> None:
        super().__init__()
        self.log_weights = nn.Parameter(torch.ones_like(means))
        self.means = nn.Parameter(means.clone())
        self.log_scales = nn.Parameter(torch.zeros_like(means))

    def _standardised(self, x: Tensor) -> Tensor:
        return (x.unsqueeze(-1) - self.means) * torch.exp(-self.log_scales)

    def forward(self, x: Tensor) -> Tensor:
        """z, `(*batch,)` -> `(*batch,)`."""
        halves: Tensor = torch.erf(self._standardised(x) * math.sqrt(0.5)) / 2
        return (self.log_weights.exp() * halves).sum(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        r"""$\log\varphi(f(x)) + \log f'(x)$, `(*batch,)` -> `(*batch,)`: whose exponential has a mass below 1."""
        slopes = self.log_weights - self.log_scales + _standard(self._standardised(x))
        return _standard(self(x)) + slopes.logsumexp(-1)

    @property
    def total_weight(self) -> float:
        """W, the length of the interval that is reached."""
        return float(self.log_weights.detach().exp().sum())

    @torch.no_grad()
    def bisect(self, z: Tensor, reach: float = 3.0, steps: int = 30) -> Tensor:
        r"""The root of f(x) = z in [-reach, reach] after `steps` bisections; an end of it, wrongly, where there is none."""
        arguments.floating(z=z)
        low, high = torch.full_like(z, -reach), torch.full_like(z, reach)
        for _ in range(steps):
            middle = (low + high) / 2
            below = self(middle) < z
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2


def _standard(z: Tensor) -> Tensor:
    """The log-density of the standard normal distribution at every number."""
    row = z.unsqueeze(-1)
    return normal_log_prob(row, torch.zeros_like(row), torch.zeros_like(row))
