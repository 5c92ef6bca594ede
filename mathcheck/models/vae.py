r"""Variational autoencoders of binary images, their evidence lower bound, and the tighter bounds by importance weights.

$z \sim \mathcal N(0, I)$, $x_i\mid z \sim \mathrm{Bernoulli}(\mu_i(z))$ and $q(z\mid x) = \mathcal N(m(x), \mathrm{diag}\,
e^{v(x)})$. The images must be binary: for grey pixels $\mu^x(1-\mu)^{1-x}$ has not the integral 1, and what is called the
bound bounds no log-density.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mathcheck.divergence.gaussian_kl import kl_diagonal
from mathcheck.engine import arguments
from mathcheck.inference.importance_weighted_bound import importance_weighted_bound
from mathcheck.linear.affine import Affine
from mathcheck.probability.bernoulli import bernoulli_log_prob_from_logits
from mathcheck.probability.kernels.binary import signs

# Decodings at a time: as many as fit into tens of megabytes, and as fit into the cache.
_AT_ONCE, _IN_CACHE = 2**14, 2**10


def binarise(images: Tensor, generator: torch.Generator) -> Tensor:
    """Binary images: each pixel 1 with its grey value as the probability.

    Args:
        images: grey values in [0, 1].
        generator: on the CPU.
    """
    return (torch.rand(images.shape, generator=generator, dtype=images.dtype).to(images.device) < images).to(images)


class VAE(nn.Module):
    r"""Two nets: x -> mean and log-variance of $q(z\mid x)$, and z -> logits of the pixels.

    Args:
        encoder: `(n, pixels)` -> `(n, 2 * latent)`.
        decoder: `(n, latent)` -> `(n, pixels)`.
        latent: dimension of z.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latent: int) -> None:
        super().__init__()
        arguments.at_least(1, latent=latent)
        self.encoder, self.decoder, self.latent = encoder, decoder, latent

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""Mean and log-variance of $q(z\mid x)$, each `(n, latent)`."""
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        return mean, log_variance

    def logits(self, z: Tensor) -> Tensor:
        """`(*batch, latent)` -> `(*batch, pixels)`."""
        values: Tensor = self.decoder(z)
        return values

    def elbo(self, x: Tensor, noise: Tensor) -> Tensor:
        r"""$\log p(x\mid z) - \mathrm{KL}(q(\cdot\mid x)\,\|\,\mathcal N(0, I))$ at $z = m + e^{v/2}\epsilon$, `(n,)` in nats.

        Its mean over the noise is the evidence lower bound; the divergence is in closed form.

        Args:
            x: binary images, `(n, pixels)`.
            noise: $\epsilon$, standard normal, `(n, latent)`.
        """
        mean, log_variance = self.posterior(x)
        z = _draw(mean, log_variance, noise)
        zero = torch.zeros_like(mean)
        return bernoulli_log_prob_from_logits(x, self.logits(z)) - kl_diagonal(mean, log_variance, zero, zero)

    def log_weights(self, x: Tensor, noise: Tensor) -> Tensor:
        r"""$\log p(x, z_k) - \log q(z_k\mid x)$ for K draws of each image's posterior, `(n, K)` in nats.

        Args:
            x: binary images, `(n, pixels)`.
            noise: standard normal, `(n, K, latent)`.
        """
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or x.device.type != "cpu":
            return self._log_weights(x, noise)
        # What the decoder gives for a few images stays in the cache until it is used.
        images = max(1, _IN_CACHE // noise.shape[1])
        parts = zip(torch.split(x, images), torch.split(noise, images), strict=True)
        return torch.cat([self._log_weights(*part) for part in parts])

    def _log_weights(self, x: Tensor, noise: Tensor) -> Tensor:
        mean, log_variance = (t.unsqueeze(1) for t in self.posterior(x))
        z = _draw(mean, log_variance, noise)
        # An image is no more copied for each draw than its signs are.
        likelihood = functional.logsigmoid(self.logits(z) * signs(x).unsqueeze(1)).sum(-1)
        # log p(z) - log q(z | x), where 2 pi and, for a posterior like the prior, nearly everything else cancels.
        return likelihood + ((noise - z) * (noise + z) + log_variance).sum(-1) / 2

    @torch.no_grad()
    def many_log_weights(self, x: Tensor, draws: int, generator: torch.Generator) -> Tensor:
        """`log_weights` for `draws` of each image, `(n, draws)` on the CPU in double precision, some images at a time."""
        found = []
        for some in torch.split(x, max(1, _AT_ONCE // draws)):
            noise = torch.randn(len(some), draws, self.latent, generator=generator, dtype=x.dtype)
            found.append(self.log_weights(some, noise.to(x.device)).double().cpu())
        return torch.cat(found)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Binary images from the model, n of them: z from the prior, then each pixel; and the probabilities of the pixels.

        Returns:
            `(n, pixels)` twice.
        """
        like = next(self.parameters())
        z = torch.randn(n, self.latent, generator=generator, dtype=like.dtype).to(like.device)
        probabilities = self.logits(z).sigmoid()
        return binarise(probabilities, generator), probabilities


def _draw(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    return mean + (log_variance / 2).exp() * noise


class _Shifted(nn.Module):
    """Its inputs less a constant: logits that start where most pixels are, at 0."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        return x - self.shift


def flat(pixels: int) -> VAE:
    """A latent plane: pixels-512-(2 + 2) and 2-512-pixels, rectified linear."""
    encoder = nn.Sequential(Affine(pixels, 512), nn.ReLU(), Affine(512, 4))
    decoder = nn.Sequential(Affine(2, 512), nn.ReLU(), Affine(512, pixels))
    return VAE(encoder, decoder, 2)


def deep(pixels: int) -> VAE:
    """A hundred latent coordinates: pixels-300-300-(100 + 100) and 100-300-300-pixels, ELU, the logits less 5."""

    def net(a: int, b: int) -> list[nn.Module]:
        return [Affine(a, 300), nn.ELU(), Affine(300, 300), nn.ELU(), Affine(300, b)]

    return VAE(nn.Sequential(*net(pixels, 200)), nn.Sequential(*net(100, pixels), _Shifted(5.0)), 100)


def bounds(log_weights: Tensor, draws: Sequence[int]) -> Tensor:
    r"""Estimates of $L_K$, the mean over images of $\mathbb E\log\frac1K\sum_k w_k$, for several K from one set of weights.

    The weights of an image are cut into as many groups of K as there are, and the estimates of the groups averaged; K = 1
    is the evidence lower bound.

    Args:
        log_weights: `(n, k)`, n at least 2.
        draws: each K, from 1 to k.

    Returns:
        `(len(draws), n)`: for each K an estimate for each image, unbiased for that image's $L_K$.

    Raises:
        TypeError, ValueError: if `log_weights` is no floating tensor, or K is out of range.
    """
    arguments.vectors(log_weights=log_weights)
    rows = []
    for size in draws:
        arguments.at_least(1, draws=size)
        if size > log_weights.shape[-1]:
            raise ValueError(f"draws must be at most the number of weights, {log_weights.shape[-1]}, got {size}")
        groups = log_weights.shape[-1] // size
        cut = log_weights[:, : groups * size].reshape(-1, groups, size)
        rows.append(importance_weighted_bound(cut).mean(1))
    return torch.stack(rows)
