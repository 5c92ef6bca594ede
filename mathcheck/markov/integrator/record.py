"""An integrator of Hamilton's equations, as somebody computes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mathcheck.markov.potentials import POTENTIALS, Potential

Step = Callable[[Potential, Tensor, Tensor, float, int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Integrator:
    r"""A numerical solution of Hamilton's equations, as somebody computes it.

    Args:
        step: called as `step(potential, position, momentum, step_size, steps)`, with positions and momenta
            `(*batch, n)`; returns both after `steps` steps of size `step_size`, the momentum not flipped. A negative
            size goes back in time; a step that takes none raises an exception.
        potentials: that it is judged on; for a step that is written for one potential, that one.
        starts_with: what a step begins and ends with, a half "kick" of the momentum or a half "drift" of the position;
            `None` for another scheme, of which the law on the oscillator's conserved energy is not asked.
        batch_shapes: leading shapes that it takes.
        dtype: that it takes, if only one.
    """

    step: Step
    potentials: tuple[Potential, ...] = POTENTIALS
    starts_with: Literal["kick", "drift"] | None = "kick"
    batch_shapes: tuple[tuple[int, ...], ...] = ((1,), (3,))
    dtype: torch.dtype | None = None

    def potential(self, name: str) -> Potential:
        """The potential of that name."""
        return next(p for p in self.potentials if p.name == name)
