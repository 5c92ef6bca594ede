"""Linear maps with their adjoints."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mathcheck import LinearMap, check_linear_map
from right_code.subject import Right, always


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(forward: Any, adjoint: Any, inputs: tuple[int, ...], outputs: tuple[int, ...], **options: Any) -> Right:
    return always(check_linear_map, LinearMap(forward, adjoint, inputs, outputs, **options))


def dense(seed: int, rows: int, columns: int) -> Right:
    w = numbers(seed, rows, columns)
    return linear(lambda x: x @ w.to(x.dtype).T, lambda y: y @ w.to(y.dtype), (columns,), (rows,))


W2, W1, KERNEL, SPECTRUM = numbers(1, 3, 2, 2, 2), numbers(2, 2, 1, 3), numbers(3, 8), numbers(4, 6)
ORDER = torch.tensor([3, 0, 4, 1, 2])


def circular(x: Tensor) -> Tensor:
    return torch.fft.ifft(torch.fft.fft(x) * torch.fft.fft(KERNEL.to(x.dtype))).real


def circular_adjoint(y: Tensor) -> Tensor:
    return torch.fft.ifft(torch.fft.fft(y) * torch.fft.fft(KERNEL.to(y.dtype)).conj()).real


def circular_real(x: Tensor) -> Tensor:
    return torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(KERNEL.to(x.dtype)), n=8)


def circular_real_adjoint(y: Tensor) -> Tensor:
    return torch.fft.irfft(torch.fft.rfft(y) * torch.fft.rfft(KERNEL.to(y.dtype)).conj(), n=8)


def walsh_hadamard(x: Tensor) -> Tensor:
    batch, n = x.shape[:-1], x.shape[-1]
    h = 1
    while h < n:
        x = x.reshape(*batch, n // (2 * h), 2, h)
        x = torch.stack([x[..., 0, :] + x[..., 1, :], x[..., 0, :] - x[..., 1, :]], -2).reshape(*batch, n)
        h *= 2
    return x / n**0.5


def differences(x: Tensor) -> Tensor:
    return x[..., 1:] - x[..., :-1]


def differences_adjoint(y: Tensor) -> Tensor:
    return functional.pad(y, (1, 0)) - functional.pad(y, (0, 1))


def gradient_of_an_image(x: Tensor) -> Tensor:
    down = functional.pad(x[:, 1:] - x[:, :-1], (0, 0, 0, 1))
    right = functional.pad(x[:, :, 1:] - x[:, :, :-1], (0, 1))
    return torch.stack([down, right], 1)


def minus_divergence(y: Tensor) -> Tensor:
    p, q = y[:, 0, :-1], y[:, 1, :, :-1]
    rows = functional.pad(p, (0, 0, 1, 0)) - functional.pad(p, (0, 0, 0, 1))
    columns = functional.pad(q, (1, 0)) - functional.pad(q, (0, 1))
    return rows + columns


def every_second(x: Tensor) -> Tensor:
    return x[..., ::2]


def with_zeros(y: Tensor) -> Tensor:
    return torch.stack([y, torch.zeros_like(y)], -1).flatten(-2)


SUBJECTS = {
    "dense square map": dense(5, 4, 4),
    "dense map of three": dense(6, 3, 3),
    "dense map of twelve": dense(7, 12, 12),
    "dense wide map": dense(8, 2, 5),
    "dense tall map": dense(9, 6, 3),
    "functional.linear": linear(
        lambda x: functional.linear(x, numbers(10, 3, 4).to(x.dtype)),
        lambda y: functional.linear(y, numbers(10, 3, 4).to(y.dtype).T),
        (4,),
        (3,),
    ),
    "convolution": linear(
        lambda x: functional.conv2d(x, W2.to(x.dtype)),
        lambda y: functional.conv_transpose2d(y, W2.to(y.dtype)),
        (2, 4, 4),
        (3, 3, 3),
    ),
    "convolution with stride and padding": linear(
        lambda x: functional.conv2d(x, W2.to(x.dtype), stride=2, padding=1),
        lambda y: functional.conv_transpose2d(y, W2.to(y.dtype), stride=2, padding=1),
        (2, 4, 4),
        (3, 3, 3),
    ),
    "one-dimensional convolution": linear(
        lambda x: functional.conv1d(x, W1.to(x.dtype), padding=1),
        lambda y: functional.conv_transpose1d(y, W1.to(y.dtype), padding=1),
        (1, 6),
        (2, 6),
    ),
    "circular convolution by FFT": linear(circular, circular_adjoint, (8,), (8,)),
    "circular convolution by real FFT": linear(circular_real, circular_real_adjoint, (8,), (8,)),
    "Walsh-Hadamard transform": linear(walsh_hadamard, walsh_hadamard, (8,), (8,)),
    "permutation of coordinates": linear(lambda x: x[..., ORDER], lambda y: y[..., ORDER.argsort()], (5,), (5,)),
    "reversal": linear(lambda x: x.flip(-1), lambda y: y.flip(-1), (4,), (4,)),
    "cumulated sums": linear(lambda x: x.cumsum(-1), lambda y: y.flip(-1).cumsum(-1).flip(-1), (5,), (5,)),
    "differences": linear(differences, differences_adjoint, (5,), (4,)),
    "gradient of an image": linear(gradient_of_an_image, minus_divergence, (3, 4), (2, 3, 4)),
    "every second number": linear(every_second, with_zeros, (6,), (3,)),
    "average pooling": linear(
        lambda x: functional.avg_pool2d(x, 2),
        lambda y: functional.interpolate(y, scale_factor=2, mode="nearest") / 4,
        (1, 4, 4),
        (1, 2, 2),
    ),
    "mean": linear(lambda x: x.mean(-1, keepdim=True), lambda y: y.expand(*y.shape[:-1], 4) / 4, (4,), (1,)),
    "diagonal scaling": linear(lambda x: x * SPECTRUM.to(x.dtype), lambda y: y * SPECTRUM.to(y.dtype), (6,), (6,)),
    "complex numbers as pairs": linear(
        lambda x: torch.view_as_real(torch.view_as_complex(x.contiguous()) * complex(1, 2)),
        lambda y: torch.view_as_real(torch.view_as_complex(y.contiguous()) * complex(1, -2)),
        (3, 2),
        (3, 2),
    ),
}
