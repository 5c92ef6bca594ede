"""An oracle is asked once for the same tensors, and again for others, however equal."""

from __future__ import annotations

import torch
from torch import Tensor

from mathcheck.oracles.memory import remembered


def test_the_same_tensors_are_asked_once() -> None:
    asked: list[Tensor] = []

    def double(x: Tensor, factor: float = 2.0) -> Tensor:
        asked.append(x)
        return factor * x

    oracle = remembered(double, last=2)
    x, y, z = torch.ones(3), torch.ones(3), torch.zeros(2)
    assert oracle(x) is oracle(x)
    assert len(asked) == 1
    assert oracle(y) is not oracle(x)
    assert oracle(x, factor=3.0).tolist() == [3.0] * 3
    assert len(asked) == 3
    oracle(z), oracle(x)
    assert len(asked) == 5, "only the last two answers are kept"


def test_a_tensor_that_was_changed_is_another() -> None:
    oracle = remembered(lambda x: x.sum().item())
    x = torch.ones(3)
    assert oracle(x) == 3.0
    x.add_(1)
    assert oracle(x) == 6.0


def test_what_cannot_be_told_apart_is_asked_each_time() -> None:
    calls: list[object] = []
    oracle = remembered(lambda value: calls.append(value))
    oracle({}), oracle({})
    assert len(calls) == 2
