"""Integrators and Markov kernels."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from mathcheck import Integrator, MarkovKernel, Potential, Target, check_integrator, check_markov_kernel
from right_code.subject import Right, always

Phase = tuple[Tensor, Tensor]


def leapfrog(u: Potential, q: Tensor, p: Tensor, e: float, steps: int) -> Phase:
    for _ in range(steps):
        p = p - 0.5 * e * u.gradient(q)
        q = q + e * p
        p = p - 0.5 * e * u.gradient(q)
    return q, p


def leapfrog_with_joined_kicks(u: Potential, q: Tensor, p: Tensor, e: float, steps: int) -> Phase:
    p = p - e / 2 * u.gradient(q)
    for _ in range(steps - 1):
        q = q + e * p
        p = p - e * u.gradient(q)
    q = q + e * p
    return q, p - e / 2 * u.gradient(q)


def velocity_verlet(u: Potential, q: Tensor, p: Tensor, e: float, steps: int) -> Phase:
    force = -u.gradient(q)
    for _ in range(steps):
        q = q + p * e + 0.5 * force * e**2
        new = -u.gradient(q)
        p, force = p + 0.5 * (force + new) * e, new
    return q, p


def position_verlet(u: Potential, q: Tensor, p: Tensor, e: float, steps: int) -> Phase:
    for _ in range(steps):
        q = q + e / 2 * p
        p = p - e * u.gradient(q)
        q = q + e / 2 * p
    return q, p


def yoshida(u: Potential, q: Tensor, p: Tensor, e: float, steps: int) -> Phase:
    w1 = 1 / (2 - 2 ** (1 / 3))
    w0 = 1 - 2 * w1
    for _ in range(steps):
        for w in (w1, w0, w1):
            q, p = leapfrog(u, q, p, w * e, 1)
    return q, p


def noise(x: Tensor, g: Generator) -> Tensor:
    return torch.randn(x.shape, generator=g, dtype=x.dtype)


def accepted(log_ratio: Tensor, g: Generator) -> Tensor:
    return (torch.rand(log_ratio.shape, generator=g, dtype=log_ratio.dtype).log() < log_ratio).unsqueeze(-1)


def walk(t: Target, x: Tensor, u: Tensor) -> Phase:
    return x + 0.8 * u, -u


def walk_ratio(t: Target, x: Tensor, u: Tensor) -> Tensor:
    return (t.log_density(x + 0.8 * u) - t.log_density(x)).clamp(max=0)


def walk_step(t: Target, x: Tensor, g: Generator) -> Tensor:
    u = noise(x, g)
    return torch.where(accepted(walk_ratio(t, x, u), g), x + 0.8 * u, x)


H = 0.1


def drift(t: Target, x: Tensor) -> Tensor:
    return x + H * t.score(x)


def langevin(t: Target, x: Tensor, u: Tensor) -> Phase:
    y = drift(t, x) + (2 * H) ** 0.5 * u
    return y, (x - drift(t, y)) / (2 * H) ** 0.5


def langevin_ratio(t: Target, x: Tensor, u: Tensor) -> Tensor:
    y, _ = langevin(t, x, u)

    def log_q(to: Tensor, start: Tensor) -> Tensor:
        return -(to - drift(t, start)).square().sum(-1) / (4 * H)

    return (t.log_density(y) + log_q(x, y) - t.log_density(x) - log_q(y, x)).clamp(max=0)


def langevin_step(t: Target, x: Tensor, g: Generator) -> Tensor:
    u = noise(x, g)
    return torch.where(accepted(langevin_ratio(t, x, u), g), langevin(t, x, u)[0], x)


def trajectory(t: Target, x: Tensor, p: Tensor) -> Phase:
    p = p + 0.1 * t.score(x)
    for k in range(5):
        x = x + 0.2 * p
        p = p + (0.2 if k < 4 else 0.1) * t.score(x)
    return x, -p


def energy_ratio(t: Target, x: Tensor, p: Tensor) -> Tensor:
    y, end = trajectory(t, x, p)
    return (t.log_density(y) - 0.5 * end.square().sum(-1) - t.log_density(x) + 0.5 * p.square().sum(-1)).clamp(max=0)


def hamiltonian_step(t: Target, x: Tensor, g: Generator) -> Tensor:
    p = noise(x, g)
    return torch.where(accepted(energy_ratio(t, x, p), g), trajectory(t, x, p)[0], x)


def kernel(subject: MarkovKernel) -> Right:
    return always(check_markov_kernel, subject, statistical=True)


SUBJECTS = {
    "leapfrog": always(check_integrator, Integrator(leapfrog)),
    "leapfrog with joined kicks": always(check_integrator, Integrator(leapfrog_with_joined_kicks)),
    "velocity Verlet": always(check_integrator, Integrator(velocity_verlet)),
    "position Verlet": always(check_integrator, Integrator(position_verlet, starts_with="drift")),
    "Yoshida's fourth order": always(check_integrator, Integrator(yoshida, starts_with=None)),
    "random-walk Metropolis": kernel(MarkovKernel(walk_step, walk, walk_ratio)),
    "random-walk Metropolis by its step alone": kernel(MarkovKernel(walk_step)),
    "Metropolis-adjusted Langevin": kernel(MarkovKernel(langevin_step, langevin, langevin_ratio)),
    "Hamiltonian Monte Carlo": kernel(MarkovKernel(hamiltonian_step, trajectory, energy_ratio)),
}
