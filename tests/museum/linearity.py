"""Slips of linear maps and of what is taken for their adjoints."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mathcheck import LinearMap, check_linear_map
from museum.exhibit import Exhibit

CHANNELS = 2
ORDER = [2, 0, 1]
A = torch.tensor([[1.0, 2.0, 0.5], [-1.0, 0.25, 3.0], [0.0, 1.5, -2.0]], dtype=torch.float64)


def pool(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 2)


def unpool(y: Tensor) -> Tensor:
    weight = torch.full((CHANNELS, 1, 2, 2), 0.25, dtype=y.dtype)
    return functional.conv_transpose2d(y, weight, stride=2, groups=CHANNELS)


def unpool_and_mix(y: Tensor) -> Tensor:
    weight = torch.full((CHANNELS, CHANNELS, 2, 2), 0.25, dtype=y.dtype)
    return functional.conv_transpose2d(y, weight, stride=2)


def pooling(adjoint: object) -> LinearMap:
    return LinearMap(pool, adjoint, (CHANNELS, 4, 4), (CHANNELS, 2, 2))  # type: ignore[arg-type]


def dense(x: Tensor) -> Tensor:
    return x @ A.to(x.dtype).T


def inverse_order() -> list[int]:
    return [ORDER.index(k) for k in range(len(ORDER))]


EXHIBITS = [
    Exhibit(
        "a transposed convolution that mixes the channels",
        check_linear_map,
        pooling(unpool_and_mix),
        pooling(unpool),
        named="the channels are kept apart in the adjoint",
    ),
    Exhibit(
        "a matrix for its transpose in the adjoint of a dense layer",
        check_linear_map,
        LinearMap(dense, dense, (3,), (3,)),
        LinearMap(dense, lambda y: y @ A.to(y.dtype), (3,), (3,)),
        named="the matrix of the adjoint is transposed",
    ),
    Exhibit(
        "a permutation for its inverse",
        check_linear_map,
        LinearMap(lambda x: x[..., ORDER], lambda y: y[..., ORDER], (3,), (3,)),
        LinearMap(lambda x: x[..., ORDER], lambda y: y[..., inverse_order()], (3,), (3,)),
        named="the matrix of the adjoint is transposed",
    ),
]
