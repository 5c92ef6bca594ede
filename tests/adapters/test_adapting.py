"""`check_<kind>` takes what the adapters take."""

import math

import pytest
import scipy.stats
import torch
from torch import Tensor, nn
from torch.distributions import Laplace, Normal, transforms

from mathcheck import (
    Quantile,
    Refuted,
    Sampler,
    Settings,
    check_bijection,
    check_conjugate,
    check_density,
    check_divergence,
    check_linear_map,
    check_quantile,
    check_sampler,
)

FEW = Settings(examples=10)


class Scaling(nn.Module):
    """A flow whose functions return pairs, and whose log_prob has the constant it should have, or not."""

    def __init__(self, constant: float = math.log(2 * math.pi)):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([0.3, -0.2], dtype=torch.float64))
        self.constant = constant

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled, and the log-determinant."""
        return x * self.log_scale.exp(), self.log_scale.sum().expand(len(x))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Back."""
        return y * (-self.log_scale).exp(), -self.log_scale.sum().expand(len(y))

    def log_prob(self, x: Tensor) -> Tensor:
        """Of a normal, scaled."""
        z, log_det = self.forward(x)
        return -0.5 * (z**2).sum(-1) - self.constant + log_det


def test_transforms_and_modules_are_bijections() -> None:
    check_bijection(transforms.AffineTransform(0.5, 2.0), settings=FEW)
    check_bijection(Scaling(), settings=FEW)


def test_distributions_are_densities_samplers_and_quantiles() -> None:
    normal = Normal(torch.tensor(0.5, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64))
    assert check_density(normal, settings=FEW)
    assert check_sampler(normal, settings=Settings(budget=0.1))
    assert check_quantile(normal, settings=FEW)
    assert check_divergence(Normal, settings=Settings(examples=3))


def test_a_module_with_a_log_prob_is_a_density() -> None:
    check_density(Scaling(), settings=FEW)
    with pytest.raises(Refuted, match="total mass"):
        check_density(Scaling(0.0), settings=FEW)


def test_what_no_adapter_takes_is_refused_with_what_they_take() -> None:
    with pytest.raises(TypeError, match=r"bijection must be a Bijection; or .*torch\.distributions\.Transform"):
        check_bijection(torch.exp)
    with pytest.raises(TypeError, match="density must be a Density; or a function"):
        check_density(3)
    with pytest.raises(TypeError, match="conjugate must be a Conjugate"):
        check_conjugate(torch.exp)
    with pytest.raises(TypeError, match="linear_map must be a LinearMap"):
        check_linear_map(torch.eye(2))


def test_a_module_that_cannot_be_called_says_what_it_raised() -> None:
    class Wide(Scaling):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            raise RuntimeError(f"expected 16 coordinates, got {x.shape[-1]}")

    with pytest.raises(TypeError, match="expected 16 coordinates"):
        check_bijection(Wide())


def test_samplers_and_quantiles_may_be_like_a_distribution() -> None:
    def draw(n: int, generator: torch.Generator) -> Tensor:
        u = torch.rand(n, generator=generator, dtype=torch.float64) - 0.5
        return -u.sign() * torch.log1p(-2 * u.abs())

    check_sampler(Sampler(draw, like=Laplace(0.0, 1.0), draws=20_000))
    with pytest.raises(Refuted):
        check_sampler(Sampler(draw, like=scipy.stats.norm(), draws=20_000))

    def laplace(u: Tensor) -> Tensor:
        return torch.where(u < 0.5, torch.log(2 * u), -torch.log(2 * (1 - u)))

    check_quantile(Quantile(laplace, like=scipy.stats.laplace()), settings=FEW)
    with pytest.raises(Refuted):
        check_quantile(Quantile(laplace, like=scipy.stats.norm()), settings=FEW)
    with pytest.raises(ValueError, match="cdf or like"):
        Quantile(laplace)
