"""A step of Adam as a contender: ours, and the loop that one finds everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mathcheck.bench.kernel import Call
from mathcheck.models.adam import adam_step


class Objective(nn.Module):
    """A loss of a model and of data, to be made small."""

    def __init__(self, model: nn.Module, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, *data: Tensor) -> Tensor:
        """The loss, `()`."""
        return self.loss(self.model, *data)


def _after(loss: Tensor, objective: nn.Module) -> list[Tensor]:
    return [loss, *(p.detach() for p in objective.parameters())]


def our_step(objective: nn.Module, *data: Tensor, rate: float, compile: bool = False) -> Call:
    """Takes a step, which may be compiled whole; the result is the loss before it and the parameters after it."""
    step: Callable[..., Any] = adam_step(objective, rate)
    step = torch.compile(step, dynamic=False) if compile else step
    return lambda: _after(step(*data), objective)


def our_compiled_step(objective: nn.Module, *data: Tensor, rate: float) -> Call:
    """The same with only the objective and its gradient compiled, for nets so large that the rest hardly counts."""
    compiled: Any = torch.compile(objective, dynamic=False)
    return our_step(compiled, *data, rate=rate)


def plain_step(objective: nn.Module, *data: Tensor, rate: float) -> Call:
    """The same, and each loss is noted as a number, for which a card must be waited."""
    optimizer = torch.optim.Adam(objective.parameters(), lr=rate)

    def run() -> list[Tensor]:
        optimizer.zero_grad()
        loss: Tensor = objective(*data)
        torch.autograd.backward(loss)
        optimizer.step()
        return _after(torch.tensor(loss.item()).to(loss), objective)

    return run
