r"""A generator and its critic, trained against each other with the one-sided Lipschitz penalty.

The critic h raises $\mathbb E_P[h] - \mathbb E_Q[h] - \lambda\,\mathbb E[(\lVert\nabla h\rVert - 1)_+^2]$, P the law of the
data and Q that of the generator's images; the generator lowers it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mathcheck.divergence.wasserstein import lipschitz_penalty
from mathcheck.engine import arguments
from mathcheck.linear.affine import Affine
from mathcheck.models.f_gan import Critics


class Generator(nn.Sequential):
    """A multilayer perceptron from noise `(n, latent)` to grey values in (0, 1), `(n, pixels)`.

    Args:
        sizes: of the noise, of the hidden layers, and of the images.

    Raises:
        ValueError: if there are fewer than two sizes, or one is below 1.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"sizes must be at least two of at least 1, got {list(sizes)}")
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [Affine(inputs, outputs), nn.LeakyReLU(0.2)]
        super().__init__(*layers[:-1], nn.Sigmoid())


class Wgan(nn.Module):
    """Both players, so that they are kept and loaded together.

    Args:
        latent: coordinates of the noise.
        pixels: of an image.
        width: of the two hidden layers of each.

    Raises:
        TypeError, ValueError: if a size is no integer of at least 1.
    """

    def __init__(self, latent: int, pixels: int, width: int) -> None:
        super().__init__()
        arguments.at_least(1, latent=latent, pixels=pixels, width=width)
        self.latent = latent
        self.generator = Generator([latent, width, width, pixels])
        self.critic = Critics(1, [pixels, width, width])

    def forward(self, z: Tensor) -> Tensor:
        """The images `(n, pixels)` of noise `(n, latent)`."""
        images: Tensor = self.generator(z)
        return images


def penalised_gap(critics: Critics, x: Tensor, y: Tensor, points: Tensor, weight: Tensor | float) -> Tensor:
    r"""$\frac1n\sum_i h(x_i) - \frac1m\sum_j h(y_j) - \frac\lambda k\sum_l(\lVert\nabla h(u_l)\rVert - 1)_+^2$ of each critic.

    What a critic raises. Its maximum is no Wasserstein distance: for two points at distance d and $u_l$ uniform between
    them it is $d + d^2/(4\lambda)$.

    Args:
        critics: any number c of functions h.
        x: draws from P, `(n, d)` or `(c, n, d)`.
        y: draws from Q, likewise.
        points: where the gradient is taken, likewise.
        weight: $\lambda$, a number or `(c,)`, at least 0.

    Returns:
        `(c,)`, differentiable in the critics' weights, and in x and y.

    Raises:
        TypeError, ValueError: if the draws are no floating tensors of one dtype and device.

    References:
        Petzka, Fischer, Lukovnicov (2018), On the regularization of Wasserstein GANs, equation (8).
    """
    arguments.floating(x=x, y=y, points=points)
    count = len(critics.biases[0])
    # A point before several critics has a gradient for each.
    leaves = points.detach().expand(count, *points.shape[-2:]).requires_grad_()
    gradient = torch.autograd.grad(critics(leaves).sum(), leaves, create_graph=True)[0]
    gap: Tensor = critics(x).mean(-1) - critics(y).mean(-1) - weight * lipschitz_penalty(gradient).mean(-1)
    return gap


def between(x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    r"""$u_i x_i + (1 - u_i) y_i$ with $u_i$ uniform on [0, 1]: a point on the segment of each pair.

    Args:
        x: `(*batch, n, d)`.
        y: like x.
        generator: on the CPU.

    Returns:
        Like x.

    Raises:
        TypeError, ValueError: if the two are not alike.
    """
    arguments.alike(x=x, y=y)
    share = torch.rand(*x.shape[:-1], 1, generator=generator, dtype=x.dtype).to(x.device)
    return share * x + (1 - share) * y


def straight_path(start: Tensor, end: Tensor, alpha: Tensor) -> Tensor:
    r"""$(1 - \alpha)\,a + \alpha b$; halfway between two standard normal points $\mathbb E\lVert z\rVert^2$ is $d/2$, not d.

    Args:
        start: a, `(d,)` or `(*batch, 1, d)`.
        end: b, like `start`.
        alpha: `(steps,)`, in [0, 1].

    Returns:
        `(*batch, steps, d)`.

    Raises:
        TypeError, ValueError: if the ends are not alike.
    """
    arguments.alike(start=start, end=end)
    return (1 - alpha[:, None]) * start + alpha[:, None] * end


def spherical_path(start: Tensor, end: Tensor, alpha: Tensor) -> Tensor:
    r"""$\cos(\tfrac\pi2\alpha)\,a + \sin(\tfrac\pi2\alpha)\,b$: standard normal for every $\alpha$ if a and b are, independently.

    Its ends are a and b to rounding. It needs no angle between the two, which the path at constant speed on a great circle
    does, and two draws in many dimensions are nearly at right angles.

    Args:
        start: as in `straight_path`.
        end: as in `straight_path`.
        alpha: as in `straight_path`.

    Returns:
        `(*batch, steps, d)`.

    Raises:
        TypeError, ValueError: if the ends are not alike.
    """
    arguments.alike(start=start, end=end)
    angle = (alpha * (math.pi / 2))[:, None]
    return angle.cos() * start + angle.sin() * end
