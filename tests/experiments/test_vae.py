"""The autoencoder's bounds against quadrature over its latent, and its samples against enumeration."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mathcheck.models.autoencoder import Autoencoder, widths
from mathcheck.models.vae import VAE, binarise, bounds, deep, flat

PIXELS, NODES = 3, 64
EPS = torch.finfo(torch.float64).eps


class Line(nn.Module):
    """A decoder with latent dimension 1 whose logits are far from linear, and never large."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.cat([z.sin(), 2 * z.cos(), z.sin() - 1], -1)


class Posterior(nn.Module):
    """Mean and log-variance of q: another normal for each image, near the prior, so that the quadrature converges."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x.sum(-1) / 8 - 0.2, x[..., 0] / 4 - 0.1], -1)


@pytest.fixture
def model() -> VAE:
    return VAE(Posterior(), Line(), 1)


def _images() -> Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=PIXELS)), dtype=torch.float64)


def _nodes(count: int = NODES) -> tuple[Tensor, Tensor]:
    """Gauss-Hermite nodes and weights of the standard normal distribution."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return torch.from_numpy(nodes), torch.from_numpy(weights) / math.sqrt(2 * math.pi)


def _evidence(model: VAE) -> Tensor:
    r"""$p(x) = \int\varphi(z)\prod_i p(x_i\mid z)\,dz$ by quadrature under the prior, for all images."""
    nodes, weights = _nodes()
    mu = model.logits(nodes.unsqueeze(-1)).sigmoid()
    x = _images().unsqueeze(1)
    return (torch.where(x == 1, mu, 1 - mu).prod(-1) * weights).sum(-1)


def _weights_at_nodes(model: VAE, count: int = NODES) -> tuple[Tensor, Tensor]:
    x, (nodes, weights) = _images(), _nodes(count)
    return model.log_weights(x, nodes.expand(len(x), -1).unsqueeze(-1)), weights


def _off_evidence(model: VAE, change: Callable[[Tensor], Tensor] = lambda w: w) -> float:
    log_weights, weights = _weights_at_nodes(model)
    mean = (change(log_weights).exp() * weights).sum(-1)
    # How far the quadrature itself is off: half of the nodes give another answer, and the whole is far nearer.
    half, half_weights = _weights_at_nodes(model, NODES // 2)
    radius = ((half.exp() * half_weights).sum(-1) - (log_weights.exp() * weights).sum(-1)).abs()
    bound = radius + 64 * EPS
    return float(((mean - _evidence(model)).abs() / bound).max())


def test_the_weights_have_the_evidence_for_their_mean(model: VAE) -> None:
    assert float(_evidence(model).sum()) == pytest.approx(1, abs=64 * EPS)
    assert _off_evidence(model) <= 1
    assert _off_evidence(model, lambda w: w + 1e-6) > 1


def test_the_closed_form_divergence_has_the_same_mean_as_its_samples(model: VAE) -> None:
    # log q - log p is a quadratic in the noise, so that the mean over the nodes is exact, and the likelihoods cancel.
    x, (nodes, weights) = _images(), _nodes()
    log_weights, _ = _weights_at_nodes(model)
    closed = torch.stack([model.elbo(x, node.expand(len(x), 1)) for node in nodes], -1)
    size = ((closed.abs() + log_weights.abs()) * weights).sum(-1)
    # Each has a few roundings of its terms, and the quadrature one of each of its NODES terms.
    assert bool((((closed - log_weights) * weights).sum(-1).abs() <= (NODES + 32) * EPS * size).all())
    assert not bool((((closed + 1e-9 - log_weights) * weights).sum(-1).abs() <= (NODES + 32) * EPS * size).all())


def test_bounds_of_all_groups() -> None:
    log_weights = torch.tensor([[0.0, 1.0, 2.0, 3.0, 9.0]], dtype=torch.float64)
    e = math.e
    pairs = (math.log((1 + e) / 2) + math.log((e**2 + e**3) / 2)) / 2
    found = bounds(log_weights, [1, 2, 5])[:, 0]
    expected = [3.0, pairs, math.log((1 + e + e**2 + e**3 + e**9) / 5)]
    assert found.tolist() == pytest.approx(expected, rel=16 * EPS)
    with pytest.raises(ValueError, match="draws must be at most the number of weights, 5, got 6"):
        bounds(log_weights, [6])


def test_samples_come_from_the_model(model: VAE) -> None:
    model.register_parameter("dtype", nn.Parameter(torch.zeros(1, dtype=torch.float64)))
    n, alpha = 50_000, 1e-6
    x, probabilities = model.sample(n, torch.Generator().manual_seed(1))
    assert set(x.unique().tolist()) == {0.0, 1.0}
    shares = torch.bincount((x @ torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)).long(), minlength=8) / n
    # Hoeffding's inequality for each of eight shares.
    reach = math.sqrt(math.log(2 * 8 / alpha) / (2 * n))
    assert float((shares - _evidence(model)).abs().max()) <= reach
    # The probabilities themselves, rounded, are no samples.
    rounded = (
        torch.bincount((probabilities.round() @ torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)).long(), minlength=8)
        / n
    )
    assert float((rounded - _evidence(model)).abs().max()) > reach


def test_one_seed_gives_one_sample(model: VAE) -> None:
    model.register_parameter("dtype", nn.Parameter(torch.zeros(1, dtype=torch.float64)))
    one, same, other = (model.sample(50, torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_binary_pixels_are_as_frequent_as_they_are_grey() -> None:
    n, alpha = 100_000, 1e-6
    grey = torch.tensor([0.0, 0.25, 1.0])
    x = binarise(grey.expand(n, 3), torch.Generator().manual_seed(3))
    assert x[:, 0].sum() == 0
    assert x[:, 2].sum() == n
    assert abs(float(x[:, 1].mean()) - 0.25) <= math.sqrt(math.log(2 / alpha) / (2 * n))


def test_many_log_weights_are_those_of_each_image() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = flat(16).double()
    x = binarise(torch.full((5, 16), 0.5, dtype=torch.float64), torch.Generator().manual_seed(0))
    found = model.many_log_weights(x, 3, torch.Generator().manual_seed(1))
    noise = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for image, eps, row in zip(x, noise, found, strict=True):
        torch.testing.assert_close(row, model.log_weights(image[None], eps[None])[0].detach(), rtol=512 * EPS, atol=0)


def test_layers_are_the_notes() -> None:
    def count(net: nn.Module) -> list[tuple[int, int]]:
        return [(part.in_features, part.out_features) for part in net.modules() if isinstance(part, nn.Linear)]

    assert count(flat(784)) == [(784, 512), (512, 4), (2, 512), (512, 784)]
    assert count(deep(784)) == [(784, 300), (300, 300), (300, 200), (100, 300), (300, 300), (300, 784)]
    assert count(Autoencoder(784)) == [(784, 256), (256, 128), (128, 32), (32, 128), (128, 256), (256, 784)]
    assert widths(64) == (73, 37, 9)
    z = torch.zeros(1, 100)
    model = deep(784)
    assert torch.equal(model.logits(z), model.decoder[:-1](z) - 5)  # type: ignore[index]


def test_the_score_is_the_mean_over_the_pixels() -> None:
    class Nothing(Autoencoder):
        def forward(self, images: Tensor) -> Tensor:
            return torch.zeros_like(images)

    x = torch.tensor([[1.0, 0.0, 0.5, 0.0]])
    assert Nothing(4).score(x).tolist() == [1.25 / 4]
