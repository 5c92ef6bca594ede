"""Ways in which the kernel of a Markov chain goes wrong: the mutants of its laws."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mathcheck.markov.targets import Target

if TYPE_CHECKING:
    from mathcheck.markov.markov_kernel import MarkovKernel, Step

    Slip = Callable[[MarkovKernel], MarkovKernel]


def _step(change: Callable[[Step, Target, Tensor, torch.Generator], Tensor]) -> Slip:
    """The slip that puts `change(step, target, state, generator)` in place of the step."""
    return lambda k: replace(k, step=lambda t, x, g: change(k.step, t, x, g))


def _aimed(change: Callable[[Target], Target]) -> Slip:
    """The slip that makes the step aim at another target."""

    def slip(k: MarkovKernel) -> MarkovKernel:
        if not k.any_target:
            raise NotImplementedError("the step aims at a target of its own")
        return replace(k, step=lambda t, x, g: k.step(change(t), x, g))

    return slip


def _targets(change: Callable[[Target], Target]) -> Slip:
    """The slip that describes the targets wrongly."""
    return lambda k: replace(k, targets=tuple(change(t) for t in k.targets))


def _accepts(change: Callable[[MarkovKernel, Target, Tensor, Tensor], Tensor]) -> Slip:
    """The slip that puts `change(kernel, target, state, noise)` in place of the log-acceptance."""
    return lambda k: replace(k, log_acceptance=lambda t, x, u: change(k, t, x, u))


def _proposes(change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Slip:
    """The slip that puts `change(proposal, reverse noise)` in place of them."""
    return lambda k: replace(k, propose=lambda t, x, u: change(*k.move(t, x, u)))


def _sometimes(share: float) -> Slip:
    """The slip that steps with probability `share` only."""

    def change(step: Step, t: Target, x: Tensor, g: torch.Generator) -> Tensor:
        chosen = torch.rand(x.shape[:-1], generator=g, device=x.device) < share
        return torch.where(chosen.unsqueeze(-1), step(t, x, g), x)

    return _step(change)


def _accepted_only(k: MarkovKernel) -> MarkovKernel:
    stays = False

    def step(t: Target, x: Tensor, g: torch.Generator) -> Tensor:
        nonlocal stays
        y = k.step(t, x, g)
        stays = stays or bool((y == x).all(-1).double().mean() > 0.05)
        if not stays:
            raise NotImplementedError("the state hardly ever stays")
        for _ in range(3):
            y = torch.where((y == x).all(-1, keepdim=True), k.step(t, x, g), y)
        return y

    return replace(k, step=step)


def _always(k: MarkovKernel) -> MarkovKernel:
    def step(t: Target, x: Tensor, g: torch.Generator) -> Tensor:
        return k.move(t, x, torch.randn(x.shape, generator=g, dtype=x.dtype, device=x.device))[0]

    return replace(k, step=step)


def _other_dtype(x: Tensor) -> Tensor:
    return x.to(torch.float32 if x.dtype == torch.float64 else torch.float64)


def _filled(nan: float) -> Slip:
    """The slip that puts a number for log-densities that are NaN, as `nan_to_num` does."""
    return _aimed(lambda t: replace(t, log_density=lambda x: torch.where(
        t.log_density(x).isnan(), nan, t.log_density(x))))  # fmt: skip


REJECTION: dict[str, Slip] = {
    "only accepted states are kept (it tries until it moves)": _accepted_only,
    "every proposal is accepted": _always,
}
REFUSAL: dict[str, Slip] = {"every second acceptance is refused": _sometimes(0.5)}
STANDSTILL: dict[str, Slip] = {
    "it never moves": _step(lambda step, t, x, g: x.clone()),
    "it stays where it is forty-nine times of fifty": _sometimes(0.02),
}
AIM: dict[str, Slip] = {
    "the root of the density is taken": _aimed(lambda t: t.tempered(0.5)),
    "the density is squared": _aimed(lambda t: t.tempered(2.0)),
}
DRIFT: dict[str, Slip] = {"the state drifts to the right": _step(lambda step, t, x, g: step(t, x, g) + 0.05)}
REVERSE: dict[str, Slip] = {
    "the reverse noise is negated": _proposes(lambda y, v: (y, -v)),
    "the proposal is stretched by a tenth": _proposes(lambda y, v: (1.1 * y, v)),
}
ACCEPTANCE: dict[str, Slip] = {
    "every proposal is accepted": _accepts(lambda k, t, x, u: torch.zeros_like(k.acceptance(t, x, u))),
    "the acceptance is doubled": _accepts(lambda k, t, x, u: k.acceptance(t, x, u) + math.log(2)),
    "the acceptance is that of the way back": _accepts(lambda k, t, x, u: k.acceptance(t, *k.move(t, x, u))),
    "the noise is left out of the acceptance": _accepts(
        lambda k, t, x, u: (t.log_density(k.move(t, x, u)[0]) - t.log_density(x)).clamp(max=0.0)
    ),
}
NOT_A_NUMBER: dict[str, Slip] = {
    "a log-density that is NaN is taken for 0": _filled(0.0),
    "a log-density that is NaN is taken for the largest (min(1, nan) = 1)": _filled(1e4),
}
BATCH: dict[str, Slip] = {
    "a hundredth of the next chain's state leaks in": _step(lambda step, t, x, g: step(t, x, g) + 0.01 * x.roll(1, 0)),
    "the states are pulled to their mean": _step(lambda step, t, x, g: step(t, x, g) + 0.01 * x.mean(0)),
    "it computes in another dtype": _step(lambda step, t, x, g: _other_dtype(step(t, x, g))),
}
TARGET: dict[str, Slip] = {
    "the density is squared": _targets(lambda t: replace(t.tempered(2.0), normalised=t.normalised)),
    "the score's sign is changed": _targets(lambda t: replace(t, score=lambda x: -t.score(x))),
    "the exact draws are shifted by a tenth": _targets(
        lambda t: replace(t, sample=lambda count, g: t.sample(count, g) + 0.1)
    ),
}
