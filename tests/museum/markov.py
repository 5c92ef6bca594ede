"""Slips of Markov chain Monte Carlo."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from mathcheck import Integrator, MarkovKernel, check_integrator, check_markov_kernel
from mathcheck.markov.potentials import Potential
from mathcheck.markov.targets import Target
from museum.exhibit import THOROUGH, Exhibit

STEP, LENGTH = 0.25, 4
Phase = tuple[Tensor, Tensor]
Ratio = Callable[[Target, Tensor, Tensor], Tensor]


def leapfrog(u: Potential, q: Tensor, p: Tensor, e: float, steps: int) -> Phase:
    p = p - e / 2 * u.gradient(q)
    for i in range(steps):
        q = q + e * p
        p = p - (e if i < steps - 1 else e / 2) * u.gradient(q)
    return q, p


def without_the_first_half_step(u: Potential, q: Tensor, p: Tensor, e: float, steps: int) -> Phase:
    for i in range(steps):
        q = q + e * p
        p = p - (e if i < steps - 1 else e / 2) * u.gradient(q)
    return q, p


def noise(x: Tensor, g: Generator) -> Tensor:
    return torch.randn(x.shape, generator=g, dtype=x.dtype)


def accepted(log_acceptance: Tensor, g: Generator) -> Tensor:
    return torch.rand(log_acceptance.shape, generator=g, dtype=log_acceptance.dtype).log() < log_acceptance


def metropolis(propose: Callable[..., Phase], log_ratio: Ratio, draw: Callable[..., Tensor] = noise) -> MarkovKernel:
    """Draws noise, proposes, and accepts with min(1, exp(log ratio))."""

    def log_acceptance(t: Target, x: Tensor, u: Tensor) -> Tensor:
        return log_ratio(t, x, u).clamp(max=0)

    def step(t: Target, x: Tensor, g: Generator) -> Tensor:
        u = draw(x, g)
        return torch.where(accepted(log_acceptance(t, x, u), g).unsqueeze(-1), propose(t, x, u)[0], x)

    return MarkovKernel(step, propose, log_acceptance)


def walk(t: Target, x: Tensor, u: Tensor) -> Phase:
    return x + u, -u


def densities(t: Target, x: Tensor, y: Tensor) -> Tensor:
    return t.log_density(y) - t.log_density(x)


def walk_ratio(t: Target, x: Tensor, u: Tensor) -> Tensor:
    return densities(t, x, x + u)


def langevin(t: Target, x: Tensor, u: Tensor) -> Phase:
    y = x + STEP**2 / 2 * t.score(x) + STEP * u
    return y, (x - y - STEP**2 / 2 * t.score(y)) / STEP


def langevin_ratio(t: Target, x: Tensor, u: Tensor) -> Tensor:
    y, v = langevin(t, x, u)
    return densities(t, x, y) + ((u * u).sum(-1) - (v * v).sum(-1)) / 2


def trajectory(t: Target, x: Tensor, p: Tensor) -> Phase:
    energy = Potential(t.name, lambda q: -t.log_density(q), lambda q: -t.score(q), t.n, 1.0, 1.0)
    q, p = leapfrog(energy, x, p, STEP, LENGTH)
    return q, -p


def energy_change(t: Target, x: Tensor, p: Tensor) -> Tensor:
    q, end = trajectory(t, x, p)
    return densities(t, x, q) + ((p * p).sum(-1) - (end * end).sum(-1)) / 2


def only_uphill(t: Target, x: Tensor, u: Tensor) -> Tensor:
    return (walk_ratio(t, x, u) >= 0).to(x.dtype).log()


def accepted_only(t: Target, x: Tensor, g: Generator) -> Tensor:
    """Tries until something is accepted, and records that."""
    state, waiting = x, torch.ones(len(x), dtype=torch.bool)
    for _ in range(12):
        p = noise(x, g)
        y, end = trajectory(t, x, p)
        change = densities(t, x, y) + ((p * p).sum(-1) - (end * end).sum(-1)) / 2
        done = waiting & accepted(change, g)
        state, waiting = torch.where(done.unsqueeze(-1), y, state), waiting & ~done
        if not waiting.any():
            break
    return state


def drawn_once(x: Tensor, g: Generator) -> Tensor:
    """The momentum of every chain, drawn before the loop."""
    return torch.randn(x.shape, generator=Generator().manual_seed(0), dtype=x.dtype)


HMC = metropolis(trajectory, energy_change)
WALK = metropolis(walk, walk_ratio)

EXHIBITS = [
    Exhibit(
        "a leapfrog without the first half step",
        check_integrator,
        Integrator(without_the_first_half_step),
        Integrator(leapfrog),
        named="half a step of the momentum comes first",
    ),
    Exhibit(
        "Hamiltonian Monte Carlo that keeps accepted states only",
        check_markov_kernel,
        MarkovKernel(accepted_only, HMC.propose, HMC.log_acceptance),
        HMC,
        named="a rejected proposal repeats the state",
        settings=THOROUGH,
    ),
    Exhibit(
        "Hamiltonian Monte Carlo that never draws a new momentum",
        check_markov_kernel,
        MarkovKernel(metropolis(trajectory, energy_change, drawn_once).step, HMC.propose, HMC.log_acceptance),
        HMC,
        named="fresh noise is drawn at every step",
        settings=THOROUGH,
    ),
    Exhibit(
        "Hamiltonian Monte Carlo that accepts every trajectory",
        check_markov_kernel,
        metropolis(trajectory, lambda t, x, p: torch.zeros_like(x[..., 0])),
        HMC,
        named="all are accepted",
        settings=THOROUGH,
    ),
    Exhibit(
        "a Langevin step without the proposal's ratio",
        check_markov_kernel,
        metropolis(langevin, lambda t, x, u: densities(t, x, langevin(t, x, u)[0])),
        metropolis(langevin, langevin_ratio),
        named="the reverse proposal's density is divided by the proposal's",
        settings=THOROUGH,
    ),
    Exhibit(
        "a random walk that accepts only what goes uphill",
        check_markov_kernel,
        metropolis(walk, only_uphill),
        WALK,
        named="downhill proposals are accepted too",
        settings=THOROUGH,
    ),
    Exhibit(
        "a random walk that accepts everything",
        check_markov_kernel,
        metropolis(walk, lambda t, x, u: torch.zeros_like(x[..., 0])),
        WALK,
        named="all are accepted",
        settings=THOROUGH,
    ),
    Exhibit(
        "a random walk whose acceptance is that of the way back",
        check_markov_kernel,
        metropolis(walk, lambda t, x, u: -walk_ratio(t, x, u)),
        WALK,
        named="that of the way back",
        settings=THOROUGH,
    ),
]
