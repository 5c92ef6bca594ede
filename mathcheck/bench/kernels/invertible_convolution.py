r"""The invertible 1 x 1 convolution with its log-determinant: forward, and inverse.

Peers that factorise another way round ($A = L U P$) compute another map from the same weights, and are left out.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mathcheck.bench.kernel import COMPILED, OURS, PLAIN, Call, Contender, Kernel, Size, Work, against
from mathcheck.flows.invertible_convolution import invertible_convolution

SIZES = (
    {"images": 4, "channels": 3, "side": 8},
    {"images": 16, "channels": 12, "side": 16},
    {"images": 32, "channels": 48, "side": 32},
)
CARD_SIZES = tuple({"images": images, "channels": 48, "side": 32} for images in (32, 256, 2048))

Pair = tuple[Tensor, Tensor]
Map = Callable[[Tensor], Pair]


def _inputs(size: Size, generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Images, the permutation, both triangles and the scales, positive and negative."""
    c, side = size["channels"], size["side"]
    x = torch.randn(size["images"], c, side, side, generator=generator).to(dtype)
    lower, upper = (torch.randn(c, c, generator=generator).to(dtype) / c for _ in range(2))
    signs = torch.randint(2, (c,), generator=generator) * 2.0 - 1.0
    scales = (signs * torch.randn(c, generator=generator).mul(0.3).exp()).to(dtype)
    return x, torch.randperm(c, generator=generator), lower, upper, scales


def _factors(order: Tensor, lower: Tensor, upper: Tensor, scales: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """P, L and U + diag s as dense matrices."""
    eye = torch.eye(len(order), dtype=scales.dtype, device=scales.device)
    return eye[order], lower.tril(-1) + eye, upper.triu(1) + scales.diag()


def _plain(order: Tensor, lower: Tensor, upper: Tensor, scales: Tensor) -> tuple[Map, Map]:
    """A dense matrix and its determinant by elimination."""

    def apply(matrix: Tensor, x: Tensor) -> Pair:
        log_det = torch.linalg.slogdet(matrix)[1] * x.shape[-2] * x.shape[-1]
        return functional.conv2d(x, matrix[..., None, None]), log_det.expand(len(x))

    def matrix() -> Tensor:
        p, left, right = _factors(order, lower, upper, scales)
        return p @ left @ right

    return lambda x: apply(matrix(), x), lambda y: apply(torch.linalg.inv(matrix()), y)


def _ours(order: Tensor, lower: Tensor, upper: Tensor, scales: Tensor) -> Callable[[int, int], tuple[Map, Map]]:
    def built(m: int, n: int) -> tuple[Map, Map]:
        flow = invertible_convolution(order.tolist(), lower, upper, scales, (m, n))
        inverse, log_det, inverse_log_det = flow.inverse, flow.log_abs_det_jacobian, flow.inverse_log_abs_det_jacobian
        assert inverse is not None
        assert log_det is not None
        assert inverse_log_det is not None
        return lambda x: (flow.forward(x), log_det(x)), lambda y: (inverse(y), inverse_log_det(y))

    return built


def _normflows(use_lu: bool) -> Callable[..., tuple[Map, Map]]:
    def build(order: Tensor, lower: Tensor, upper: Tensor, scales: Tensor) -> tuple[Map, Map]:
        mixing: Any = importlib.import_module("normflows.flows.mixing")
        flow = mixing.Invertible1x1Conv(len(order), use_lu).to(scales)
        p, left, right = _factors(order, lower, upper, scales)
        values = {"P": p, "L": left, "U": right.triu(1), "log_S": scales.abs().log(), "sign_S": scales.sign()}
        flow.load_state_dict(values if use_lu else {"W": p @ left @ right}, strict=False)

        def rows(function: Map) -> Map:
            def mapped(x: Tensor) -> Pair:
                y, log_det = function(x)
                return y, log_det.expand(len(x))

            return mapped

        # Its own forward direction is A^-1.
        return rows(flow.inverse), rows(flow.forward)

    return build


def _pyro(order: Tensor, lower: Tensor, upper: Tensor, scales: Tensor) -> tuple[Map, Map]:
    transforms: Any = importlib.import_module("pyro.distributions.transforms")
    flow = transforms.GeneralizedChannelPermute(len(order), order.cpu()).to(scales)
    with torch.no_grad():
        flow.LU.copy_(lower.tril(-1) + upper.triu(1) + scales.diag())

    def forward(x: Tensor) -> Pair:
        y = flow._call(x)
        return y, flow.log_abs_det_jacobian(x, y).expand(len(x))

    def inverse(y: Tensor) -> Pair:
        x = flow._inverse(y)
        return x, -flow.log_abs_det_jacobian(x, y).expand(len(y))

    return forward, inverse


def _mapping(
    build: Callable[..., Any], direction: int, *needs: str, compile: bool = False, last: bool = False
) -> Contender:
    """One direction, without gradients; `last` for images whose channels are last in memory."""

    def prepare(x: Tensor, *weights: Tensor) -> Call:
        made = build(*weights)
        function: Map = (made(*x.shape[-2:]) if build is _ours else made)[direction]
        function = torch.compile(function, dynamic=False) if compile else function
        points = x.contiguous(memory_format=torch.channels_last) if last else x

        def run() -> Pair:
            with torch.no_grad():
                return function(points)

        return run

    return Contender(prepare, needs)


def _directed(direction: int) -> dict[str, Contender]:
    return {
        OURS: _mapping(_ours, direction),
        f"{OURS}, channels last": _mapping(_ours, direction, last=True),
        COMPILED: _mapping(_ours, direction, compile=True),
        PLAIN: _mapping(_plain, direction),
        "plain, channels last": _mapping(_plain, direction, last=True),
        "normflows": _mapping(_normflows(False), direction, "normflows"),
        "normflows, LU": _mapping(_normflows(True), direction, "normflows"),
        "normflows, channels last": _mapping(_normflows(True), direction, "normflows", last=True),
        "pyro": _mapping(_pyro, direction, "pyro"),
    }


def _true(direction: int) -> Callable[..., Pair]:
    return lambda x, *weights: _plain(*weights)[direction](x)


def _sizes(matrix: Tensor, x: Tensor, scales: Tensor) -> Pair:
    log_det = x.shape[-2] * x.shape[-1] * scales.abs().log().abs().sum()
    return torch.einsum("ij,bjmn->bimn", matrix, x.abs()), log_det.expand(len(x))


def _forward_terms(x: Tensor, *weights: Tensor) -> Pair:
    p, left, right = _factors(*weights)
    return _sizes(p @ left.abs() @ right.abs(), x, weights[-1])


def _inverse_terms(y: Tensor, *weights: Tensor) -> Pair:
    """Triangular systems are solved as if each entry of a triangle had been rounded."""
    p, left, right = _factors(*weights)
    first, second = torch.linalg.inv(left).abs(), torch.linalg.inv(right).abs()
    return _sizes(second @ right.abs() @ second @ first @ left.abs() @ first @ p.mT, y, weights[-1])


def _work(size: Size) -> Work:
    c, positions = size["channels"], size["images"] * size["side"] ** 2
    return Work(2 * c * positions + 2 * c * c, 2 * c * c * positions)


# The largest number of terms in a sum is c = 48, of which there are two after one another.
ULPS = 2 * 48

FORWARD = Kernel(
    "convolution_1x1",
    "1 x 1 convolution with its log-determinant, forward",
    "flows.invertible_convolution",
    SIZES,
    _inputs,
    _directed(0),
    against(_true(0), _forward_terms, ULPS),
    _work,
    CARD_SIZES,
)

KERNELS = (
    FORWARD,
    replace(
        FORWARD,
        name="convolution_1x1_inverse",
        title="1 x 1 convolution with its log-determinant, inverse",
        contenders=_directed(1),
        residuals=against(_true(1), _inverse_terms, ULPS),
    ),
)
