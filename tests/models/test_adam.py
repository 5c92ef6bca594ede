"""A step of Adam as one function is torch's, and so is the formula that is compiled."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from mathcheck.models.adam import adam_step

EPS = torch.finfo(torch.float64).eps
STEPS, RATE = 5, 0.05


class Misfit(nn.Module):
    """A small network's mean square."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))

    def forward(self, x: Tensor) -> Tensor:
        value: Tensor = self.layers(x).square().mean()
        return value


def trained(compiling: bool, monkeypatch: pytest.MonkeyPatch, rate: float = RATE) -> tuple[float, float]:
    """The largest distance from torch's parameters after a few steps, and of the values, both in roundings."""
    torch.manual_seed(0)
    ours = Misfit().double()
    theirs = copy.deepcopy(ours)
    step = adam_step(ours, rate, eps=1e-6)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=RATE, eps=1e-6)
    # The formula is the same whether torch compiles it or not.
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    apart = 0.0
    for x in torch.randn(STEPS, 6, 3, dtype=torch.float64):
        optimizer.zero_grad()
        expected = theirs(x)
        expected.backward()
        optimizer.step()
        apart = max(apart, float((step(x) - expected).detach().abs()) / EPS)
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    return max(float((p - q).detach().abs().max()) / EPS for p, q in pairs), apart


@pytest.mark.parametrize("compiling", [False, True])
def test_steps_are_those_of_torch(compiling: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # A gradient of g is off by some 100 roundings of 1, and the step eta g / (|g| + eps) by 1 / eps times as much.
    bound = STEPS * RATE * 100 / 1e-6
    parameters, values = trained(compiling, monkeypatch)
    assert max(parameters, values) <= bound
    assert max(trained(compiling, monkeypatch, 1.001 * RATE)) > bound


def test_bad_input_is_named() -> None:
    with pytest.raises(TypeError, match="objective"):
        adam_step(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="objective must have parameters, got none"):
        adam_step(nn.Tanh())
    with pytest.raises(ValueError, match="rate"):
        adam_step(Misfit(), -1.0)
    with pytest.raises(ValueError, match=r"betas .* got \(0.9, 1.0\)"):
        adam_step(Misfit(), betas=(0.9, 1.0))
    mixed = Misfit()
    mixed.layers[0].double()
    with pytest.raises(ValueError, match="one dtype"):
        adam_step(mixed)
