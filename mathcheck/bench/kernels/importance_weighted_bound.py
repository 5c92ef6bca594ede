"""The importance-weighted bound on the log-likelihood of binary images, 200 draws of the latent for each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mathcheck.bench import jax as with_jax
from mathcheck.bench.kernel import OURS, PLAIN, Call, Contender, Kernel, Size, Work, against
from mathcheck.bench.nets import SURE, Rounded, drawn, exactly, net, through
from mathcheck.inference.importance_weighted_bound import importance_weighted_bound
from mathcheck.linear.affine import Affine
from mathcheck.models.vae import VAE

LATENT, HIDDEN, PIXELS, LAYERS = 100, 300, 784, 6
SIZES = ({"images": 4, "draws": 50}, {"images": 16, "draws": 200}, {"images": 64, "draws": 200})
CARD_SIZES = ({"images": 64, "draws": 200}, {"images": 256, "draws": 200}, {"images": 512, "draws": 200})

Bound = Callable[..., Tensor]


def _inputs(size: Size, generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Images, noise, and the weights of an encoder and a decoder."""
    images = (torch.rand(size["images"], PIXELS, generator=generator) < 0.5).to(dtype)
    noise = torch.randn(size["images"], size["draws"], LATENT, generator=generator).to(dtype)
    encoder = drawn((PIXELS, HIDDEN, HIDDEN, 2 * LATENT), generator, dtype, last=0.1)
    return images, noise, *encoder, *drawn((LATENT, HIDDEN, HIDDEN, PIXELS), generator, dtype)


def _model(weights: tuple[Tensor, ...], linear: type[nn.Linear] = nn.Linear) -> VAE:
    return VAE(net(weights[:LAYERS], nn.ELU, linear), net(weights[LAYERS:], nn.ELU, linear), LATENT)


def _of(bound: Callable[[VAE, Tensor, Tensor], Tensor], linear: type[nn.Linear] = nn.Linear) -> Contender:
    """A bound of the model, the images and the noise."""

    def prepare(images: Tensor, noise: Tensor, *weights: Tensor) -> Call:
        model = _model(weights, linear)

        def run() -> Tensor:
            with torch.no_grad():
                return bound(model, images, noise)

        return run

    return Contender(prepare)


def _ours(model: VAE, images: Tensor, noise: Tensor) -> Tensor:
    return importance_weighted_bound(model.log_weights(images, noise))


def notes(model: VAE, images: Tensor, noise: Tensor) -> Tensor:
    """As one writes it down: probabilities of pixels, an image repeated for each draw, log-densities of normals."""
    mean, log_variance = (t.unsqueeze(1) for t in model.posterior(images))
    deviation = (log_variance / 2).exp()
    z = mean + deviation * noise
    mu = model.logits(z).sigmoid()
    x = images.unsqueeze(1).repeat(1, noise.shape[1], 1)
    likelihood = (x * mu.log() + (1 - x) * (1 - mu).log()).sum(-1)
    prior = (-(z**2) / 2 - math.log(2 * math.pi) / 2).sum(-1)
    posterior = (-(((z - mean) / deviation) ** 2) / 2 - deviation.log() - math.log(2 * math.pi) / 2).sum(-1)
    return torch.logsumexp(likelihood + prior - posterior, -1) - math.log(noise.shape[1])


def _distributions(model: VAE, images: Tensor, noise: Tensor) -> Tensor:
    mean, log_variance = (t.unsqueeze(1) for t in model.posterior(images))
    q: Any = torch.distributions.Normal(mean, (log_variance / 2).exp(), validate_args=False)
    p: Any = torch.distributions.Normal(0.0, 1.0, validate_args=False)
    z = mean + q.scale * noise
    pixels: Any = torch.distributions.Bernoulli(logits=model.logits(z), validate_args=False)
    weights = pixels.log_prob(images.unsqueeze(1)).sum(-1) + (p.log_prob(z) - q.log_prob(z)).sum(-1)
    return torch.logsumexp(weights, -1) - math.log(noise.shape[1])


def _with_jax(jax: Any) -> Callable[..., Any]:
    def through(weights: tuple[Any, ...], x: Any) -> Any:
        for number in range(0, LAYERS, 2):
            x = (jax.nn.elu(x) if number else x) @ weights[number].T + weights[number + 1]
        return x

    def bound(images: Any, noise: Any, *weights: Any) -> Any:
        mean, log_variance = (t[:, None] for t in jax.numpy.split(through(weights[:LAYERS], images), 2, -1))
        z = mean + jax.numpy.exp(log_variance / 2) * noise
        logits = through(weights[LAYERS:], z)
        likelihood = (images[:, None] * logits - jax.nn.softplus(logits)).sum(-1)
        log_weights = likelihood + (noise**2 - z**2 + log_variance).sum(-1) / 2
        return jax.scipy.special.logsumexp(log_weights, -1) - math.log(noise.shape[1])

    return bound


def _truth(images: Tensor, noise: Tensor, *weights: Tensor) -> Tensor:
    model = _model(weights)
    with torch.no_grad():
        return torch.cat([notes(model, x[None], e[None]) for x, e in zip(images, noise, strict=True)])


def _deviations(images: Tensor, noise: Tensor, *weights: Tensor) -> Tensor:
    """Standard deviations of rounding errors: the bound changes by at most as much as the logarithms of the weights."""
    last = through(weights[:LAYERS], exactly(images), functional.elu)[-1][1]
    parts = zip(noise, *(t.unsqueeze(1) for pair in last for t in pair.chunk(2, -1)), strict=True)
    found = []
    for e, mean, log_variance, mean_off, log_variance_off in parts:
        half = Rounded((log_variance / 2).exp(), log_variance.exp() * (log_variance_off / 4 + 16))
        z = half.times(e).plus(Rounded(mean, mean_off))
        logits = through(weights[LAYERS:], z, functional.elu)[-1][1]
        # Slopes of the likelihood in the logits are at most 1; sums add a rounding of their absolute terms each.
        terms = (1 + logits.value.abs()).sum(-1)
        pixels = logits.variance.sum(-1) + PIXELS * terms.square()
        normal = (z.value.square() * z.variance + log_variance_off).sum(-1)
        sizes = (e.square() + z.value.square() + log_variance.abs() + 2).sum(-1)
        found.append((pixels + normal + LATENT * sizes.square()).amax().sqrt())
    return torch.stack(found)


def _work(size: Size) -> Work:
    decodings = size["images"] * size["draws"]
    layers = LATENT * HIDDEN + HIDDEN**2 + HIDDEN * PIXELS
    return Work(decodings * LATENT + size["images"] * PIXELS + layers, 2 * decodings * layers)


KERNELS = (
    Kernel(
        "importance_weighted_bound",
        "Importance-weighted bound on log p(x), decoder 100-300-300-784",
        "inference.importance_weighted_bound",
        SIZES,
        _inputs,
        {
            OURS: _of(_ours, Affine),
            PLAIN: _of(notes),
            "torch.distributions": _of(_distributions),
            "JAX (jit)": with_jax.contender(_with_jax),
        },
        against(_truth, _deviations, SURE),
        _work,
        CARD_SIZES,
    ),
)
