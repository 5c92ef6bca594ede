"""Ways in which an integrator goes wrong: the mutants of its laws, and what undoes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mathcheck.markov.integrator.record import Integrator, Step
from mathcheck.markov.potentials import Potential

Slip = Callable[[Integrator], Integrator]

Phase = tuple[Tensor, Tensor]


def _before(change: Callable[[Potential, Tensor, Tensor, float], Phase]) -> Slip:
    def slip(i: Integrator) -> Integrator:
        return replace(i, step=lambda u, q, p, e, steps: i.step(u, *change(u, q, p, e), e, steps))

    return slip


def _after(change: Callable[[Potential, Tensor, Tensor, float], Phase]) -> Slip:
    def slip(i: Integrator) -> Integrator:
        return replace(i, step=lambda u, q, p, e, steps: change(u, *i.step(u, q, p, e, steps), e))

    return slip


def _euler(i: Integrator) -> Integrator:
    def step(u: Potential, q: Tensor, p: Tensor, e: float, steps: int) -> Phase:
        for _ in range(steps):
            q, p = q + e * p, p - e * u.gradient(q)
        return q, p

    return replace(i, step=step)


def other_scheme(i: Integrator) -> Integrator:
    def step(u: Potential, q: Tensor, p: Tensor, e: float, steps: int) -> Phase:
        for _ in range(steps):
            if i.starts_with == "drift":
                p = p - e / 2 * u.gradient(q)
                q = q + e * p
                p = p - e / 2 * u.gradient(q)
            else:
                q = q + e / 2 * p
                p = p - e * u.gradient(q)
                q = q + e / 2 * p
        return q, p

    return replace(i, step=step)


def _back(step: Step) -> Step:
    def signed(u: Potential, q: Tensor, p: Tensor, e: float, steps: int) -> Phase:
        if e > 0:
            return step(u, q, p, e, steps)
        q, p = step(u, q, -p, -e, steps)
        return q, -p

    return signed


def row_by_row(i: Integrator) -> Integrator:
    def step(u: Potential, q: Tensor, p: Tensor, e: float, steps: int) -> Phase:
        pairs = [single(i, u, a, b, e, steps) for a, b in zip(q.reshape(-1, u.n), p.reshape(-1, u.n), strict=True)]
        moved = tuple(torch.stack(parts).reshape(q.shape) for parts in zip(*pairs, strict=True))
        return moved[0], moved[1]

    return replace(i, step=step)


def single(i: Integrator, u: Potential, q: Tensor, p: Tensor, e: float, steps: int) -> Phase:
    """One trajectory, in the smallest batch that the subject takes."""
    batch = min(i.batch_shapes, key=lambda shape: (math.prod(shape), len(shape)))
    moved = [t.reshape(-1, u.n)[0] for t in i.step(u, q.expand(*batch, u.n), p.expand(*batch, u.n), e, steps)]
    return moved[0], moved[1]


def _other_dtype(t: Tensor) -> Tensor:
    return t.to(torch.float32 if t.dtype == torch.float64 else torch.float64)


HALF_STEPS: dict[str, Slip] = {
    "the first half step of the momentum is taken twice": _before(lambda u, q, p, e: (q, p - e / 2 * u.gradient(q))),
    "the first half step of the momentum is left out": _before(lambda u, q, p, e: (q, p + e / 2 * u.gradient(q))),
    "the last half step of the momentum is left out": _after(lambda u, q, p, e: (q, p + e / 2 * u.gradient(q))),
}
FORCE: dict[str, Slip] = {
    "the sign of the gradient is changed": lambda i: replace(
        i, step=lambda u, *z: i.step(replace(u, gradient=lambda q: -u.gradient(q)), *z)
    ),
}
EULER: dict[str, Slip] = {"position and momentum are moved at once (Euler's method)": _euler}
FRICTION: dict[str, Slip] = {
    "the momentum loses a tenth": _after(lambda u, q, p, e: (q, 0.9 * p)),
    "the momentum gains a ninth": _after(lambda u, q, p, e: (q, p / 0.9)),
}
SIGN: dict[str, Slip] = {
    "the step size is taken without its sign": lambda i: replace(
        i, step=lambda u, q, p, e, steps: i.step(u, q, p, abs(e), steps)
    ),
    "steps of negative size are not taken": lambda i: replace(
        i, step=lambda u, q, p, e, steps: i.step(u, q, p, e, steps) if e > 0 else (q, p)
    ),
}
BACKWARDS: dict[str, Slip] = {
    "a negative step is a positive one between two flips of the momentum": lambda i: replace(i, step=_back(i.step)),
}
COUNT: dict[str, Slip] = {
    "one more step is taken": lambda i: replace(i, step=lambda u, q, p, e, steps: i.step(u, q, p, e, steps + 1)),
}
BATCH: dict[str, Slip] = {
    "the force is averaged over the batch": lambda i: replace(
        i,
        step=lambda u, q, *z: i.step(
            replace(u, gradient=lambda x: u.gradient(x).mean(0, keepdim=True).expand(x.shape)), q, *z
        ),
    ),
}
DECLARED: dict[str, Slip] = {
    "it is declared to start with a drift": lambda i: replace(i, starts_with="drift"),
    "it is declared to start with a kick": lambda i: replace(i, starts_with="kick"),
}
DTYPE: dict[str, Slip] = {
    "it computes in another dtype": _after(lambda u, q, p, e: (_other_dtype(q), _other_dtype(p))),
}
REPAIRS: dict[str, Slip] = {
    "the trajectories of a batch are kept apart": row_by_row,
    "half a step of the momentum comes first (it is left out)": _before(
        lambda u, q, p, e: (q, p - e / 2 * u.gradient(q))
    ),
    "the first half step of the momentum is taken back (it is taken twice)": _before(
        lambda u, q, p, e: (q, p + e / 2 * u.gradient(q))
    ),
    "half a step of the momentum comes last (it is left out)": _after(
        lambda u, q, p, e: (q, p - e / 2 * u.gradient(q))
    ),
    "the last half step of the momentum is taken back (it is taken twice)": _after(
        lambda u, q, p, e: (q, p + e / 2 * u.gradient(q))
    ),
    **FORCE,
}
