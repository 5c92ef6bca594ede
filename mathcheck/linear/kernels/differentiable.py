"""A linear map is its own derivative, and its adjoint is its backward pass: to any order, forward, reverse and vmapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, apply: Map, adjoint: Map) -> Tensor:
        return apply(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Map, Map], output: Tensor) -> None:
        _, *ctx.maps = inputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        apply, adjoint = ctx.maps
        return differentiable(adjoint, apply)(grad), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return differentiable(*ctx.maps)(tangent)

    @staticmethod
    def vmap(info: Any, dims: tuple[int, None, None], x: Tensor, apply: Map, adjoint: Map) -> tuple[Tensor, int]:
        return differentiable(apply, adjoint)(x.movedim(dims[0], 0)), 0


def differentiable(apply: Map, adjoint: Map) -> Map:
    r"""The map $x \mapsto Tx$ with derivative $T$ and backward pass $g \mapsto T^* g$.

    For maps that write into memory of their own, which autograd could not follow or would follow slowly: the backward
    pass of a strided read, for example, fills a tensor of zeros for each of its $k^2$ slices.

    Args:
        apply: $T$, linear, which acts on the trailing dimensions of a tensor with any leading shape.
        adjoint: $T^*$, likewise.

    Returns:
        $T$, differentiable any number of times in reverse and in forward mode, and under `torch.vmap`.
    """

    def linear(x: Tensor) -> Tensor:
        value: Tensor = _Linear.apply(x, apply, adjoint)  # type: ignore[no-untyped-call]
        return value

    return linear
