"""Ways in which the kernel of a Markov chain goes wrong: the mutants of its laws, and what undoes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from mathcheck.markov.markov_kernel.record import MarkovKernel, Step
from mathcheck.markov.targets import Target

Slip = Callable[[MarkovKernel], MarkovKernel]


def _step(change: Callable[[Step, Target, Tensor, torch.Generator], Tensor]) -> Slip:
    """The slip that puts `change(step, target, state, generator)` in place of the step."""
    return lambda k: replace(k, step=lambda t, x, g: change(k.step, t, x, g))


def _both(change: Callable[[Step, Target, Tensor, torch.Generator], Tensor]) -> Slip:
    """The same slip of the step and of the halved one."""

    def slip(k: MarkovKernel) -> MarkovKernel:
        whole, half = k.step, k.halved
        if half is None:
            raise NotImplementedError("the kernel is not said to be approximate")
        return replace(k, step=lambda t, x, g: change(whole, t, x, g), halved=lambda t, x, g: change(half, t, x, g))

    return slip


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


def _probes(k: MarkovKernel) -> Iterator[tuple[Target, Tensor, Tensor]]:
    """For each target some draws of it, with noise."""
    for target in k.targets:
        generator = torch.Generator().manual_seed(0)
        x = target.draws(200, torch.zeros((), dtype=k.dtype or torch.float64), generator)
        yield target, x, torch.randn(x.shape, generator=generator, dtype=x.dtype)


def _states(k: MarkovKernel, t: Target, x: Tensor, u: Tensor) -> Tensor:
    """How much denser the target is where the move ends, by its logarithm."""
    return t.log_density(k.move(t, x, u)[0]) - t.log_density(x)


def _noises(k: MarkovKernel, t: Target, x: Tensor, u: Tensor) -> Tensor:
    """How much denser the reverse noise is than the noise, by its logarithm."""
    return k.noise_density(t, *k.move(t, x, u)) - k.noise_density(t, x, u)


def _metropolis(k: MarkovKernel, t: Target, x: Tensor, u: Tensor) -> Tensor:
    """The log-acceptance of a move that preserves volume."""
    return _clipped(_states(k, t, x, u) + _noises(k, t, x, u))


def _clipped(ratio: Tensor) -> Tensor:
    return torch.where(ratio.isnan(), -math.inf, ratio.clamp(max=0.0))


def _uphill(ratio: Tensor) -> Tensor:
    return torch.where(ratio >= 0, 0.0, torch.full_like(ratio, -math.inf))


def _alike(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a.double().exp(), b.double().exp(), rtol=1e-4, atol=1e-6)


def _made_of(k: MarkovKernel) -> Step:
    """The step that draws noise, proposes and accepts as the kernel says that it does."""
    if k.log_noise is not None:
        raise NotImplementedError("the noise is not standard normal")

    def step(t: Target, x: Tensor, g: torch.Generator) -> Tensor:
        noise = torch.randn(x.shape, generator=g, dtype=x.dtype, device=x.device)
        return _stays(x, k.move(t, x, noise)[0], k.acceptance(t, x, noise), g)

    return step


def _metropolis_for(*wrong: Callable[[MarkovKernel, Target, Tensor, Tensor], Tensor]) -> Slip:
    """The repair that puts the acceptance of Metropolis and Hastings in place of one that is `wrong` wherever drawn."""

    def slip(k: MarkovKernel) -> MarkovKernel:
        found = [(*probe, k.acceptance(*probe)) for probe in _probes(k)]
        taken = any(all(_alike(one(k, t, x, u), a) for t, x, u, a in found) for one in wrong)
        if not taken or all(_alike(_metropolis(k, t, x, u), a) for t, x, u, a in found):
            raise NotImplementedError("the acceptance goes wrong in another way, or not at all")
        mended = replace(k, log_acceptance=lambda t, x, u: _metropolis(k, t, x, u))
        # Whether the step does what the acceptance says is another law's.
        return mended if k.log_noise is not None else replace(mended, step=_made_of(mended))

    return slip


def _noise_left_out(k: MarkovKernel) -> MarkovKernel:
    if all(bool((_noises(k, *probe).abs() < 1e-3).all()) for probe in _probes(k)):
        raise NotImplementedError("the noise is as likely as its reverse")
    return replace(k, log_acceptance=lambda t, x, u: _clipped(_states(k, t, x, u)))


def _stays(x: Tensor, y: Tensor, log_probability: Tensor, g: torch.Generator) -> Tensor:
    """Takes y with that probability, and x otherwise."""
    level = torch.rand(x.shape[:-1], generator=g, dtype=torch.float64, device=x.device)
    return torch.where((level < log_probability.double().exp()).unsqueeze(-1), y, x)


def _always_moves(k: MarkovKernel) -> None:
    moved = [k.step(t, x, torch.Generator().manual_seed(1)) != x for t, x, _ in _probes(k)]
    stays = [1 - float(rows.any(-1).double().mean()) for rows in moved]
    # Some who try until they move give up where hardly anything is accepted.
    if min(stays) > 0 or max(stays) > 0.1:
        raise NotImplementedError("the state stays now and then")


def _repeating(k: MarkovKernel) -> MarkovKernel:
    """An accepted proposal is taken as often as one is accepted."""
    if k.log_noise is not None:
        raise NotImplementedError("the noise is not standard normal")
    _always_moves(k)

    def step(t: Target, x: Tensor, g: torch.Generator) -> Tensor:
        noise = torch.randn(x.shape, generator=g, dtype=x.dtype, device=x.device)
        return _stays(x, k.step(t, x, g), k.acceptance(t, x, noise), g)

    return replace(k, step=step)


def _rejecting(k: MarkovKernel) -> MarkovKernel:
    """A step that always moves proposes only, from a symmetric distribution."""
    _always_moves(k)

    def step(t: Target, x: Tensor, g: torch.Generator) -> Tensor:
        y = k.step(t, x, g)
        return _stays(x, y, t.log_density(y) - t.log_density(x), g)

    return replace(k, step=step)


def _refreshed(k: MarkovKernel) -> MarkovKernel:
    """A step that goes to the same place whatever the seed is made of its proposal and acceptance instead."""
    for t, x, u in _probes(k):
        k.acceptance(t, x, u)
        first, second = (k.step(t, x, torch.Generator().manual_seed(seed)) for seed in (1, 2))
        moved = (first != x).any(-1) & (second != x).any(-1)
        if not bool(moved.any()) or not torch.equal(first[moved], second[moved]):
            raise NotImplementedError("the noise is another at every step")

    return replace(k, step=_made_of(k))


def _either(first: Slip, second: Slip) -> Slip:
    """The second slip where the first does not apply."""

    def slip(k: MarkovKernel) -> MarkovKernel:
        try:
            return first(k)
        except NotImplementedError:
            return second(k)

    return slip


def _other_dtype(x: Tensor) -> Tensor:
    return x.to(torch.float32 if x.dtype == torch.float64 else torch.float64)


def _filled(nan: float) -> Slip:
    """The slip that puts a number for log-densities that are NaN, as `nan_to_num` does."""
    return _aimed(
        lambda t: replace(t, log_density=lambda x: torch.where(t.log_density(x).isnan(), nan, t.log_density(x)))
    )


def _shifted(t: Target) -> Target:
    def sample(count: int, g: torch.Generator) -> Tensor:
        draws = t.sample(count, g)
        return draws + 0.1 * t.spread[1].to(draws)

    return replace(t, sample=sample)


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
DRIFT: dict[str, Slip] = {
    "the state drifts to the right": _step(lambda step, t, x, g: step(t, x, g) + 0.1 * t.spread[1].to(x))
}
HALVING: dict[str, Slip] = {
    "moves are half as long": _both(lambda step, t, x, g: (x + step(t, x, g)) / 2),
    "moves are twice as long": _both(lambda step, t, x, g: 2 * step(t, x, g) - x),
    "the root of the density is taken": _both(lambda step, t, x, g: step(t.tempered(0.5), x, g)),
}
REVERSE: dict[str, Slip] = {
    "the reverse noise is negated": _proposes(lambda y, v: (y, -v)),
    "the proposal is stretched by a tenth": _proposes(lambda y, v: (1.1 * y, v)),
}
ACCEPTANCE: dict[str, Slip] = {
    "every proposal is accepted": _accepts(lambda k, t, x, u: torch.zeros_like(k.acceptance(t, x, u))),
    "the acceptance is doubled": _accepts(lambda k, t, x, u: k.acceptance(t, x, u) + math.log(2)),
    "the acceptance is that of the way back": _accepts(lambda k, t, x, u: k.acceptance(t, *k.move(t, x, u))),
    "the noise is left out of the acceptance": _noise_left_out,
    "only uphill proposals are accepted": _accepts(lambda k, t, x, u: _uphill(_states(k, t, x, u))),
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
DEPENDENCE: dict[str, Slip] = {
    "a quarter of the next chain's state leaks in": _step(lambda step, t, x, g: step(t, x, g) + 0.25 * x.roll(1, 0)),
    "the states are pulled halfway to their mean": _step(lambda step, t, x, g: step(t, x, g) + 0.5 * x.mean(0)),
    "it computes in another dtype": BATCH["it computes in another dtype"],
}
TARGET: dict[str, Slip] = {
    "the density is squared": _targets(lambda t: replace(t.tempered(2.0), normalised=t.normalised)),
    "the score's sign is changed": _targets(lambda t: replace(t, score=lambda x: -t.score(x))),
}
START: dict[str, Slip] = {
    "the exact draws are shifted by a tenth of their spread": _targets(_shifted),
    "the exact draws are all made twice as large": _targets(
        lambda t: replace(t, sample=lambda count, g: 2 * t.sample(count, g))
    ),
}
_ALL = "a proposal is accepted no more often than the densities' ratio says (all are accepted)"
ACCEPTANCE_REPAIRS: dict[str, Slip] = {
    _ALL: _metropolis_for(lambda k, t, x, u: torch.zeros_like(_states(k, t, x, u))),
    "downhill proposals are accepted too, as often as the densities' ratio says (only uphill ones are)": _metropolis_for(
        lambda k, t, x, u: _uphill(_states(k, t, x, u)),
        lambda k, t, x, u: _uphill(_states(k, t, x, u) + _noises(k, t, x, u)),
    ),
    "the reverse proposal's density is divided by the proposal's (that ratio is left out)": _metropolis_for(
        lambda k, t, x, u: _clipped(_states(k, t, x, u))
    ),
}
STEP_REPAIRS: dict[str, Slip] = {
    "fresh noise is drawn at every step (it is the same at all of them)": _refreshed,
    "a rejected proposal repeats the state (only accepted states are kept)": _repeating,
    **ACCEPTANCE_REPAIRS,
    _ALL: _either(ACCEPTANCE_REPAIRS[_ALL], _rejecting),
}
