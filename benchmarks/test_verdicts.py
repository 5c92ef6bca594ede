"""What a verdict costs: every law of a kind on code as people write it, in seconds of the processor.

`pytest benchmarks/test_verdicts.py --benchmark-enable --benchmark-json FILE`; `mathcheck pages --verdicts FILE` shows them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mathcheck
from mathcheck import Bijection, Refuted, check_bijection, check_divergence, check_smooth_max

Contender = Callable[[], object]


class AffineCoupling(nn.Module):
    """y = x on a part of the coordinates, and x exp(s) + t on the rest, where s and t see the first part only."""

    def __init__(self, passed: Tensor, width: int):
        super().__init__()
        self.register_buffer("passed", passed)
        n = passed.numel()
        self.net = nn.Sequential(nn.Linear(n, width), nn.Tanh(), nn.Linear(width, 2 * n)).double()

    def _scale_and_shift(self, x: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.net(torch.where(self.passed, x, 0.0)).chunk(2, -1)
        return torch.where(self.passed, 0.0, s.tanh()), torch.where(self.passed, 0.0, t)

    def forward(self, x: Tensor) -> Tensor:
        s, t = self._scale_and_shift(x)
        return x * s.exp() + t

    def inverse(self, y: Tensor) -> Tensor:
        s, t = self._scale_and_shift(y)
        return (y - t) * (-s).exp()

    def log_abs_det_jacobian(self, x: Tensor) -> Tensor:
        return self._scale_and_shift(x)[0].sum(-1)


class Image(nn.Module):
    """A layer on vectors as one on images."""

    def __init__(self, layer: nn.Module, shape: Sequence[int]):
        super().__init__()
        self.layer, self.shape = layer, tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(-len(self.shape))).unflatten(-1, self.shape)

    def inverse(self, y: Tensor) -> Tensor:
        return self.layer.inverse(y.flatten(-len(self.shape))).unflatten(-1, self.shape)

    def log_abs_det_jacobian(self, x: Tensor) -> Tensor:
        return self.layer.log_abs_det_jacobian(x.flatten(-len(self.shape)))


class Layers(nn.Module):
    """Couplings one after the other."""

    def __init__(self, layers: Sequence[nn.Module]):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x

    def inverse(self, y: Tensor) -> Tensor:
        for layer in reversed(self.layers):
            y = layer.inverse(y)
        return y

    def log_abs_det_jacobian(self, x: Tensor) -> Tensor:
        total = 0.0
        for layer in self.layers:
            total = total + layer.log_abs_det_jacobian(x)
            x = layer(x)
        return total


def flow(layers: int, n: int, width: int = 32) -> nn.Module:
    torch.manual_seed(0)
    even = torch.arange(n) % 2 == 0
    made = [AffineCoupling(even if k % 2 == 0 else ~even, width) for k in range(layers)]
    return made[0] if layers == 1 else Layers(made)


def bijection(module: nn.Module, event_shape: tuple[int, ...]) -> Contender:
    def judge() -> object:
        return check_bijection(
            Bijection(
                forward=module.forward,
                inverse=module.inverse,
                log_abs_det_jacobian=module.log_abs_det_jacobian,
                event_shape=event_shape,
            )
        )

    return judge


def wrong_log_determinant() -> object:
    layer = flow(1, 8)
    subject = Bijection(
        forward=layer.forward,
        inverse=layer.inverse,
        log_abs_det_jacobian=lambda x: -layer.log_abs_det_jacobian(x),
        event_shape=(8,),
    )
    try:
        return check_bijection(subject)
    except Refuted as verdict:
        return verdict


def kl(mean_q: Tensor, log_var_q: Tensor, mean_p: Tensor, log_var_p: Tensor) -> Tensor:
    log_ratio = log_var_q - log_var_p
    shift = (mean_q - mean_p) * (-log_var_p / 2).exp()
    return 0.5 * (torch.expm1(log_ratio) - log_ratio + shift**2).sum(-1)


def smooth_max(x: Tensor, beta: float) -> Tensor:
    return torch.logsumexp(beta * x, -1) / beta


KNOWN = {"minus_infinity_has_no_weight": "the gradient of torch.logsumexp is NaN beside a row of -inf"}

CASES: dict[str, Contender] = {
    "affine coupling, 8 dimensions": bijection(flow(1, 8), (8,)),
    "RealNVP of 3 layers, 16 dimensions": bijection(flow(3, 16), (16,)),
    "flow of 2 layers, images of 1 x 8 x 8": bijection(Image(flow(2, 64), (1, 8, 8)), (1, 8, 8)),
    "KL of diagonal normals": lambda: check_divergence(kl),
    "smooth maximum by `torch.logsumexp`": lambda: check_smooth_max(smooth_max, expected_failures=KNOWN),
    "affine coupling, wrong log-determinant": wrong_log_determinant,
}


@pytest.mark.benchmark(timer=time.process_time, group="verdicts")
@pytest.mark.parametrize("case", CASES)
def test_verdict(benchmark: Any, case: str) -> None:
    benchmark.extra_info["version"] = mathcheck.__version__
    found = benchmark.pedantic(CASES[case], rounds=1, warmup_rounds=0)
    assert isinstance(found, Refuted) == case.endswith("wrong log-determinant")
