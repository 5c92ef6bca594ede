"""Smooth maxima of masked entries: a gradient that is NaN is refuted, any finite one of a masked row is not."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mathcheck import Settings, SmoothMax
from mathcheck.convex.smooth_max import minus_infinity_has_no_weight
from mathcheck.engine.claim import verify
from mathcheck.engine.evidence import Status

QUICK = Settings(examples=20)
Function = Callable[[Tensor, float], Tensor]


def masked_before(x: Tensor, beta: float) -> Tensor:
    void = (x == -math.inf).all(-1)
    inside = torch.where(void.unsqueeze(-1), 0.0, x)
    return torch.where(void, -math.inf, torch.logsumexp(beta * inside, -1) / beta)


def masked_after(x: Tensor, beta: float) -> Tensor:
    return torch.where((x == -math.inf).all(-1), -math.inf, torch.logsumexp(beta * x, -1) / beta)


def evenly(x: Tensor, beta: float) -> Tensor:
    return torch.where((x == -math.inf).all(-1), x.mean(-1), masked_before(x, beta))


def shifted(x: Tensor, beta: float) -> Tensor:
    top = x.amax(-1, keepdim=True).clamp(min=torch.finfo(x.dtype).min)
    return (beta * (x - top)).exp().sum(-1).log() / beta + top.squeeze(-1)


def pairwise(x: Tensor, beta: float) -> Tensor:
    value = beta * x[..., 0]
    for k in range(1, x.shape[-1]):
        value = torch.logaddexp(value, beta * x[..., k])
    return value / beta


def filled(x: Tensor, beta: float) -> Tensor:
    """Masked entries get a number far out: what is left of them is 0, but a row of them is not."""
    return torch.logsumexp(beta * x.clamp(min=-1e30), -1) / beta


WRONG: dict[str, Function] = {
    "the mask comes too late": masked_after,
    "the exponentials sum to 0": shifted,
    "two by two": pairwise,
    "torch": lambda x, beta: torch.logsumexp(beta * x, -1) / beta,
    "running": lambda x, beta: torch.logcumsumexp(beta * x, -1)[..., -1] / beta,
}
RIGHT: dict[str, Function] = {"0 at a row of -inf": masked_before, "1/n at a row of -inf": evenly, "far out": filled}


@pytest.mark.parametrize("name", WRONG)
def test_a_gradient_that_is_no_number_is_refuted(name: str) -> None:
    x = torch.tensor([[1.0, 2.0], [-math.inf, -math.inf]], requires_grad=True)
    assert torch.autograd.grad(WRONG[name](x, 1.0)[0], x)[0].isnan().any()
    evidence = verify(minus_infinity_has_no_weight, SmoothMax(WRONG[name]), settings=QUICK)
    assert evidence.status is Status.REFUTED


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", RIGHT)
def test_a_finite_gradient_holds(name: str, dtype: torch.dtype) -> None:
    evidence = verify(minus_infinity_has_no_weight, SmoothMax(RIGHT[name]), dtype=dtype, settings=QUICK)
    assert evidence.status is Status.HOLDS


def test_a_late_mask_is_named() -> None:
    evidence = verify(minus_infinity_has_no_weight, SmoothMax(masked_after), settings=QUICK)
    assert evidence.diagnosis == "rows of -inf are replaced before it is computed (not after)"
