r"""Nearest-neighbour upsampling by a factor r, its adjoint, and the transposed convolution that it is.

$(Ux)(ri + a, rj + b) = x(i, j)$ for $0 \le a, b < r$. It is the transposed convolution with stride r whose kernel is r by r
ones *for each channel alone*, without bias. With ones between all pairs of channels every channel becomes their sum.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Kind, Residual, exactly
from mathcheck.engine.strategies import BATCH_SHAPES
from mathcheck.linear.kernels.differentiable import differentiable
from mathcheck.linear.kernels.windows import repeated, summed
from mathcheck.linear.linear_map import LinearMap


def upsample(x: Tensor, factor: int) -> Tensor:
    r"""$(Ux)(ri + a, rj + b) = x(i, j)$ for $0 \le a, b < r$: every pixel becomes a block of r by r equal pixels.

    Args:
        x: images `(*batch, h, w)`, not empty.
        factor: r, at least 1.

    Returns:
        `(*batch, r h, r w)`, the same bits; differentiable to any order, with `window_sums` as the backward pass.

    Raises:
        TypeError, ValueError: if `x` is no such tensor or `factor` no positive integer.
    """
    arguments.images(x=x)
    arguments.at_least(1, factor=factor)
    return differentiable(lambda t: repeated(t, factor), lambda t: summed(t, factor))(x)


def window_sums(y: Tensor, factor: int) -> Tensor:
    r"""$(U^* y)(i, j) = \sum_{a, b < r} y(ri + a, rj + b)$: the sum of every block of r by r pixels.

    The adjoint of `upsample`. Off by at most $r^2 - 1$ roundings of the sum of magnitudes.

    Args:
        y: images `(*batch, r h, r w)`, not empty.
        factor: r, at least 1.

    Returns:
        `(*batch, h, w)`; differentiable to any order, with `upsample` as the backward pass.

    Raises:
        TypeError, ValueError: if `y` is no such tensor, h or w is no multiple of r, or `factor` no positive integer.
    """
    arguments.at_least(1, factor=factor)
    arguments.images(factor, y=y)
    return differentiable(lambda t: summed(t, factor), lambda t: repeated(t, factor))(y)


def transposed_convolution(channels: int, factor: int) -> nn.ConvTranspose2d:
    r"""The layer $y_c(ri + a, rj + b) = \sum_{c'} W_{c',c,a,b}\, x_{c'}(i, j)$ with $W_{c',c,a,b} = \delta_{c'c}$.

    A transposed convolution of kernel and stride r that upsamples each channel alone: `groups=channels`, weights 1, no
    bias. A place to start training from.

    Args:
        channels: number of channels, at least 1.
        factor: r, at least 1.

    Returns:
        The layer, of `(N, channels, h, w)` or `(channels, h, w)`, in torch's default dtype.

    Raises:
        TypeError, ValueError: if an argument is no positive integer.

    References:
        Odena, Dumoulin, Olah, Deconvolution and checkerboard artifacts (2016): why the stride should divide the kernel.
    """
    arguments.at_least(1, channels=channels, factor=factor)
    # Built without drawing initial weights, which would move torch's global generator.
    with torch.device("meta"):
        layer = nn.ConvTranspose2d(channels, channels, factor, stride=factor, groups=channels, bias=False)
    layer.weight = nn.Parameter(torch.ones(channels, 1, factor, factor))
    return layer


def upsampling(factor: int, height: int, width: int) -> LinearMap:
    r"""Upsampling of images of one size as a linear map: its matrix has one 1 in every row, in the column of the pixel.

    Args:
        factor: r, at least 1.
        height, width: of the small image, at least 1.
    """
    arguments.at_least(1, factor=factor, height=height, width=width)
    r, h, w = factor, height, width
    large, small = (list(itertools.product(range(k * h), range(k * w))) for k in (r, 1))
    matrix = [[int((i // r, j // r) == pixel) for pixel in small] for i, j in large]
    return LinearMap(
        lambda x: upsample(x, r),
        lambda y: window_sums(y, r),
        (h, w),
        (r * h, r * w),
        matrix,
        exact=True,
        batch_shapes=BATCH_SHAPES,
    )


by_two = upsampling(2, 2, 2)
by_three = upsampling(3, 2, 1)

Upsample = Callable[[Tensor, int], Tensor]
Layer = Callable[[int, int], Callable[[Tensor], Tensor]]


def _images(subject: object, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, int]]:
    """Images with 1 to 3 channels, up to 3 by 3 pixels, and a factor of 1 to 3."""
    shapes = st.tuples(st.sampled_from([(), (2,)]), *(st.integers(1, 3) for _ in range(3)))
    return strategies.of_each(
        shapes, lambda s: st.tuples(strategies.tensors((*s[0], *s[1:]), dtype), st.integers(1, 3))
    )


def _definition(x: Tensor, r: int) -> Tensor:
    """Pixel by pixel, as the definition says."""
    *batch, h, w = x.shape
    y = x.new_zeros(*batch, r * h, r * w)
    for i, j in itertools.product(range(r * h), range(r * w)):
        y[..., i, j] = x[..., i // r, j // r]
    return y


@claim(
    given=_images,
    reference=upsample,
    mutants={
        "the image is tiled": lambda u: lambda x, r: x.repeat(*[1] * (x.ndim - 2), r, r),
        "rows and columns are exchanged": lambda u: lambda x, r: u(x.mT, r).mT.flip(-1),
        "only the first pixel of a block is written": lambda u: lambda x, r: u(x, r) * _corners(x, r),
        "it is divided by the size of a block": lambda u: lambda x, r: u(x, r) / r**2,
    },
)
def every_pixel_becomes_a_block(upsample: Upsample, x: Tensor, factor: int) -> Iterator[Residual]:
    r"""Every pixel becomes a block: $(Ux)(ri + a, rj + b) = x(i, j)$ for all $0 \le a, b < r$.

    Error bound: 0: pixels are copied.
    """
    yield exactly(upsample(x, factor), _definition(x, factor), what="the upsampled image")


def _corners(x: Tensor, r: int) -> Tensor:
    corner = torch.zeros(r, r, dtype=x.dtype)
    corner[0, 0] = 1
    return corner.repeat(x.shape[-2], x.shape[-1])


def _layer(change: Callable[[nn.ConvTranspose2d], object]) -> Callable[[Layer], Layer]:
    """The slip that changes a dense layer of ones on the diagonal before it is used."""

    def slip(layer: Layer) -> Layer:
        def build(channels: int, factor: int) -> Callable[[Tensor], Tensor]:
            weight = torch.eye(channels)[:, :, None, None].expand(channels, channels, factor, factor).clone()
            dense = nn.ConvTranspose2d(channels, channels, factor, stride=factor)
            with torch.no_grad():
                dense.weight.copy_(weight)
                dense.get_parameter("bias").zero_()
                change(dense)
            return dense

        return build

    return slip


def _with(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return layer.to(x)(x).detach() if isinstance(layer, nn.Module) else layer(x)


@claim(
    given=_images,
    reference=transposed_convolution,
    mutants={
        "all pairs of channels have weights of 1": _layer(lambda layer: nn.init.ones_(layer.weight)),
        "a bias is added": _layer(lambda layer: nn.init.constant_(layer.get_parameter("bias"), 0.145)),
        "the weights are divided by the size of a block": _layer(
            lambda layer: layer.weight.div_(layer.kernel_size[0] ** 2)
        ),
        "one weight of the kernel is 0": _layer(lambda layer: layer.weight[:, :, -1, -1].zero_()),
        "the channels are in reverse order": lambda layer: lambda c, r: lambda x: _with(layer(c, r), x).flip(-3),
    },
    uses=(every_pixel_becomes_a_block,),
    examples=50,
)
def transposed_convolution_upsamples(layer: Layer, x: Tensor, factor: int) -> Iterator[Residual]:
    r"""The transposed convolution with ones for each channel alone, and no bias, is nearest upsampling.

    $y_c(ri + a, rj + b) = \beta_c + \sum_{c'} W_{c',c,a,b}\,x_{c'}(i, j)$ is $x_c(i, j)$ for all x if and only if
    $W_{c',c,a,b} = \delta_{c'c}$ and $\beta = 0$.

    Error bound: 0: the one product is with 1, and sums are with 0.
    """
    value = _with(layer(x.shape[-3], factor), x)
    yield exactly(value, _definition(x, factor), kind=Kind.NUMERICAL, what="the transposed convolution")
