"""A Markov kernel for Monte Carlo, as somebody wrote it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mathcheck.markov.targets import TARGETS, Target

Step = Callable[[Target, Tensor, torch.Generator], Tensor]
OfNoise = Callable[[Target, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class MarkovKernel:
    r"""One step of a Markov chain that is to leave a target invariant, as somebody computes it.

    The optional functions describe how it moves: noise u is drawn, (x, u) is mapped to a proposal y and to the noise v
    that would lead back from y to x, and y is accepted with some probability. Random-walk Metropolis is $y = x + u$,
    $v = -u$; a proposal density $\rho(\cdot\mid x)$ is $(y, v) = (u, x)$ with the noise's log-density $\log\rho(u\mid x)$;
    Hamiltonian Monte Carlo is the flow with the momentum flipped. Without them, the laws that need them are skipped.

    Args:
        step: `(target, state, generator)` -> the next state, `(chains, n)` -> `(chains, n)`; all randomness comes from
            the generator.
        propose: `(target, state, noise)` -> `(proposal, reverse noise)`, all `(*batch, n)`.
        log_acceptance: `(target, state, noise)` -> logarithm of the probability that the proposal is accepted.
        log_noise: `(target, state, noise)` -> log-density of the noise, up to a constant; `None` where it is
            standard normal.
        targets: that it is judged on; for a step that is written for one target, that one.
        any_target: whether `step` uses the target that it is given.
        reversible: whether it is in detailed balance; a sweep over coordinates leaves its target invariant without.
        moving: promised share of chains that have left their state after 20 steps.
        dtype: that it takes, if only one.
        halved: the same step at half the step size, for a kernel that is approximate by design (unadjusted Langevin): two
            of its steps take as long as one. The kernel is then not held to its targets, but to a bias that shrinks with
            the step.
        order: p, where such a kernel's bias is $O(\text{step}^p)$.

    Raises:
        ValueError: if there is no target, or a number is out of range.
    """

    step: Step
    propose: Callable[[Target, Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    log_acceptance: OfNoise | None = None
    log_noise: OfNoise | None = None
    targets: tuple[Target, ...] = TARGETS
    any_target: bool = True
    reversible: bool = True
    moving: float = 0.5
    dtype: torch.dtype | None = None
    halved: Step | None = None
    order: int = 1

    def __post_init__(self) -> None:
        if not self.targets:
            raise ValueError("targets must hold at least one target, got none")
        if not 0 <= self.moving <= 1:
            raise ValueError(f"moving must lie in [0, 1], got {self.moving}")
        if self.order < 1:
            raise ValueError(f"order must be at least 1, got {self.order}")

    def target(self, name: str) -> Target:
        """The target of that name."""
        return next(t for t in self.targets if t.name == name)

    def move(self, target: Target, state: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The proposal and the reverse noise; raises `NotImplementedError` if it does not say."""
        if self.propose is None:
            raise NotImplementedError("the kernel has no propose")
        return self.propose(target, state, noise)

    def acceptance(self, target: Target, state: Tensor, noise: Tensor) -> Tensor:
        """The log-acceptance `(*batch,)`; raises `NotImplementedError` if it does not say."""
        if self.log_acceptance is None:
            raise NotImplementedError("the kernel has no log_acceptance")
        return self.log_acceptance(target, state, noise)

    def noise_density(self, target: Target, state: Tensor, noise: Tensor) -> Tensor:
        """Log-density of the noise up to a constant, `(*batch,)`."""
        return -(noise * noise).sum(-1) / 2 if self.log_noise is None else self.log_noise(target, state, noise)
