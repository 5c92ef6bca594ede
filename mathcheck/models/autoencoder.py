r"""An autoencoder: a net that must write an image down in few numbers, and the error of reading it back.

It learns to spell the images that it is trained on. What it spells badly is probably something else, so that the error
is a score of strangeness; nothing makes it a likelihood.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from mathcheck.engine import arguments
from mathcheck.linear.affine import Affine

# Of the notes' net for 28 x 28 pixels.
_PIXELS, _WIDTHS = 784, (256, 128, 32)


def widths(pixels: int) -> tuple[int, ...]:
    """The layers 256, 128 and 32 of the net for 784 pixels, in proportion to the side of the image for others.

    Raises:
        TypeError, ValueError: if `pixels` is no positive integer.
    """
    arguments.at_least(1, pixels=pixels)
    return tuple(max(1, round(width * (pixels / _PIXELS) ** 0.5)) for width in _WIDTHS)


def _layers(sizes: Sequence[int]) -> list[nn.Module]:
    return [layer for a, b in itertools.pairwise(sizes) for layer in (Affine(a, b), nn.ReLU())]


class Autoencoder(nn.Module):
    """An encoder of rectified linear layers, the code included, and a decoder that ends in a logistic function.

    Args:
        pixels: of an image.
        hidden: widths of the encoder's layers, the code's last; the decoder has the same in reverse. `None` for
            `widths(pixels)`.

    Raises:
        TypeError, ValueError: if one of them is no positive integer.
    """

    def __init__(self, pixels: int, hidden: Sequence[int] | None = None) -> None:
        super().__init__()
        sizes = [pixels, *(widths(pixels) if hidden is None else hidden)]
        for size in sizes:
            arguments.at_least(1, hidden=size)
        self.encoder = nn.Sequential(*_layers(sizes))
        self.decoder = nn.Sequential(*_layers(sizes[::-1])[:-1], nn.Sigmoid())

    def forward(self, images: Tensor) -> Tensor:
        """`(n, pixels)` grey values in [0, 1] -> their reconstructions, of the same shape."""
        reconstructions: Tensor = self.decoder(self.encoder(images))
        return reconstructions

    def score(self, images: Tensor) -> Tensor:
        r"""$\frac1d\lVert x - D(E(x))\rVert^2$, the mean squared error over the d pixels: `(n, d)` -> `(n,)`."""
        errors: Tensor = (images - self(images)).square().mean(-1)
        return errors
