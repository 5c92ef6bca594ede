"""The banana's flows in few operations are those of their verified bijections."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mathcheck.models.banana import Flow, nice_flow, planar_flow, real_nvp_flow
from mathcheck.models.composition import push_forward

EPS = torch.finfo(torch.float64).eps


@pytest.mark.parametrize("compiling", [False, True])
@pytest.mark.parametrize("build", [planar_flow, nice_flow, real_nvp_flow])
@pytest.mark.parametrize("spread", [0.2, 1.5])
def test_one_pass_is_that_of_the_bijections(
    build: Callable[[], Flow], spread: float, compiling: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    flow = build().double().requires_grad_(False)
    for parameter in flow.parameters():
        parameter += spread * torch.randn_like(parameter)
    noise = torch.randn(2, 50, 2, dtype=torch.float64)
    expected, log_dets = push_forward(flow.parts, noise)
    # How far a relative error of the noise is magnified stands for how far a rounding in a layer is.
    moved = push_forward(flow.parts, noise * (1 + 1e-7))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    found = flow(noise)
    for value, true, other in zip(found, (expected, log_dets), moved, strict=True):
        condition = 1 + true.abs().max() + ((other - true).abs() / 1e-7).max()
        assert value.shape == true.shape
        bound = 1024 * EPS * float(condition)
        assert float((value - true).abs().max()) <= bound
        assert float((value - true * (1 + 1e-6)).abs().max()) > bound


def test_a_flow_is_built_as_its_layers_are_drawn() -> None:
    torch.manual_seed(2)
    flow = planar_flow(3)
    torch.manual_seed(2)
    for part in range(3):
        assert bool((flow.layers[0].w[part] == torch.randn(2)).all())
        assert bool((flow.layers[0].u[part] == torch.randn(2) / 10).all())
