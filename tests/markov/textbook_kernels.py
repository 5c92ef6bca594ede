"""Markov kernels as textbooks write them, each with its usual slips, on targets of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import logsigmoid

from mathcheck import MarkovKernel, Target

Step = Callable[[Target, Tensor, Generator], Tensor]
RHO = 0.8
SPREAD = math.sqrt(1 - RHO**2)


def normal_noise(count: int, n: int, g: Generator) -> Tensor:
    return torch.randn((count, n), generator=g, dtype=torch.float64)


def independent_normals(n: int, name: str) -> Target:
    return Target(
        name,
        lambda x: -(x * x).sum(-1) / 2 - n * math.log(2 * math.pi) / 2,
        lambda x: -x,
        lambda count, g: normal_noise(count, n, g),
        torch.special.ndtr,
        n,
    )


NORMAL = independent_normals(1, "the standard normal")
PHASE = independent_normals(2, "position and momentum")
WIDE = Target(
    "a wide normal without its constant",
    lambda x: -(x * x).sum(-1) / 200,
    sample=lambda count, g: 10 * normal_noise(count, 1, g),
    uniforms=lambda x: torch.special.ndtr(x / 10),
    normalised=False,
)
DRAWS_ONLY = Target("a normal of which draws are known", NORMAL.log_density, sample=NORMAL.sample)
EXPONENTIAL = Target(
    "the exponential distribution",
    lambda x: torch.where(x > 0, -x, -math.inf).sum(-1),
    lambda x: -torch.ones_like(x),
    lambda count, g: -torch.rand((count, 1), generator=g, dtype=torch.float64).log(),
    lambda x: -torch.expm1(-x.clamp(min=0)),
    lipschitz=False,
)


def _correlated(x: Tensor) -> Tensor:
    return torch.stack((x[..., 0], (x[..., 1] - RHO * x[..., 0]) / SPREAD), -1)


def _correlated_draws(count: int, g: Generator) -> Tensor:
    z = normal_noise(count, 2, g)
    return torch.stack((z[:, 0], RHO * z[:, 0] + SPREAD * z[:, 1]), -1)


CORRELATED = Target(
    "correlated normals",
    lambda x: -_correlated(x).square().sum(-1) / 2 - math.log(2 * math.pi * SPREAD),
    sample=_correlated_draws,
    uniforms=lambda x: torch.special.ndtr(_correlated(x)),
    n=2,
)
# A posterior: the parameter is drawn from its prior, the datum given it, and the kernel moves the parameter alone.
POSTERIOR = Target(
    "a parameter and its datum",
    lambda x: -(x[..., 0] ** 2 + (x[..., 1] - x[..., 0]) ** 2) / 2 - math.log(2 * math.pi),
    sample=lambda count, g: normal_noise(count, 2, g).cumsum(-1),
    uniforms=lambda x: torch.special.ndtr(torch.stack((x[..., 0], x[..., 1] - x[..., 0]), -1)),
    n=2,
)


def randn(x: Tensor, g: Generator) -> Tensor:
    return torch.randn(x.shape, generator=g, dtype=x.dtype)


def rand(x: Tensor, g: Generator) -> Tensor:
    return torch.rand(x.shape[:-1], generator=g, dtype=x.dtype)


def change(t: Target, x: Tensor, y: Tensor) -> Tensor:
    return t.log_density(y) - t.log_density(x)


def choose(taken: Tensor, y: Tensor, x: Tensor) -> Tensor:
    return torch.where(taken.unsqueeze(-1), y, x)


def metropolis(
    propose: Callable[..., tuple[Tensor, Tensor]],
    log_ratio: Callable[..., Tensor],
    *targets: Target,
    accept: Callable[[Tensor], Tensor] = lambda r: r.clamp(max=0),
    scale: float = 1.0,
    full: bool = True,
    **options: Any,
) -> MarkovKernel:
    """Noise of that scale, a proposal, an acceptance; `full` says all of it in the record."""

    def log_acceptance(t: Target, x: Tensor, u: Tensor) -> Tensor:
        return accept(log_ratio(t, x, u))

    def step(t: Target, x: Tensor, g: Generator) -> Tensor:
        u = scale * randn(x, g)
        return choose(rand(x, g).log() < log_acceptance(t, x, u), propose(t, x, u)[0], x)

    if full:
        return MarkovKernel(step, propose, log_acceptance, targets=targets or (NORMAL,), **options)
    return MarkovKernel(step, targets=targets or (NORMAL,), **options)


def walk(size: float, *targets: Target, power: float = 1.0, shift: float = 0.0, **options: Any) -> MarkovKernel:
    def propose(t: Target, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        return x + size * u + shift, -u

    return metropolis(propose, lambda t, x, u: power * change(t, x, x + size * u + shift), *targets, **options)


def accepted_only(kernel: MarkovKernel) -> MarkovKernel:
    def step(t: Target, x: Tensor, g: Generator) -> Tensor:
        y = kernel.step(t, x, g)
        for _ in range(8):
            y = torch.where((y == x).all(-1, keepdim=True), kernel.step(t, x, g), y)
        return y

    return MarkovKernel(step, targets=kernel.targets)


def langevin(eps: float, *, ratio: bool = True, drift: float = 0.5, **options: Any) -> MarkovKernel:
    def propose(t: Target, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        y = x + drift * eps**2 * t.score(x) + eps * u
        return y, (x - y - drift * eps**2 * t.score(y)) / eps

    def log_ratio(t: Target, x: Tensor, u: Tensor) -> Tensor:
        y, v = propose(t, x, u)
        return change(t, x, y) + (((u * u).sum(-1) - (v * v).sum(-1)) / 2 if ratio else 0)

    return metropolis(propose, log_ratio, **options)


def walk_of_few_draws(size: float, power: float = 1.0) -> Step:
    """Uniform numbers are drawn only where the density falls."""

    def step(t: Target, x: Tensor, g: Generator) -> Tensor:
        y = x + size * randn(x, g)
        ratio = power * change(t, x, y)
        taken = ratio >= 0
        need = ~taken
        taken[need] = torch.rand(int(need.sum()), generator=g, dtype=x.dtype).log() < ratio[need]
        return choose(taken, y, x)

    return step


def leaking_walk_of_few_draws(size: float) -> Step:
    """As `walk_of_few_draws`, but a chain's proposal is halfway to its neighbour's."""

    def step(t: Target, x: Tensor, g: Generator) -> Tensor:
        near = walk_of_few_draws(size)(t, x, g)
        return near + 0.5 * x.roll(1, 0)

    return step


def gibbs(*, random: bool = False, scale: float = SPREAD, stale: bool = False) -> Step:
    def step(t: Target, x: Tensor, g: Generator) -> Tensor:
        z = scale * randn(x, g)
        first = RHO * x[:, 1] + z[:, 0]
        if random:
            either = torch.stack((first, x[:, 1]), -1), torch.stack((x[:, 0], RHO * x[:, 0] + z[:, 1]), -1)
            return choose(rand(x, g) < 0.5, *either)
        return torch.stack((first, RHO * (x[:, 0] if stale else first) + z[:, 1]), -1)

    return step


def coordinatewise(power: float = 1.0) -> Step:
    def step(t: Target, x: Tensor, g: Generator) -> Tensor:
        for i in range(x.shape[-1]):
            y = x.clone()
            y[:, i] += 1.5 * torch.randn(len(x), generator=g, dtype=x.dtype)
            x = choose(rand(x, g).log() < power * change(t, x, y), y, x)
        return x

    return step


def delayed_rejection(*, second_ratio: bool = True, few_draws: bool = False) -> Step:
    """A second, shorter proposal where the first is rejected (Tierney and Mira 1999)."""
    wide = 3.0

    def proposed(x: Tensor, y: Tensor) -> Tensor:
        return -((x - y) ** 2).sum(-1) / (2 * wide**2)

    def step(t: Target, x: Tensor, g: Generator) -> Tensor:
        one = x + wide * randn(x, g)
        log_first = change(t, x, one).clamp(max=0)
        taken = rand(x, g).log() < log_first
        two = x + randn(x, g)
        ratio = change(t, x, two)
        if second_ratio:
            back = change(t, two, one).clamp(max=0)
            ratio = ratio + proposed(two, one) - proposed(x, one)
            ratio = ratio + torch.log1p(-back.exp()) - torch.log1p(-log_first.exp())
        level = torch.ones_like(ratio)
        need = ~taken if few_draws else torch.ones_like(taken)
        level[need] = torch.rand(int(need.sum()), generator=g, dtype=x.dtype)
        return choose(taken, one, choose(level.log() < ratio, two, x))

    return step


def independence(*, ratio: bool = True, full: bool = True) -> MarkovKernel:
    scale = 1.5

    def log_noise(t: Target, x: Tensor, u: Tensor) -> Tensor:
        return -(u * u).sum(-1) / (2 * scale**2)

    def log_ratio(t: Target, x: Tensor, u: Tensor) -> Tensor:
        return change(t, x, u) + (log_noise(t, u, x) - log_noise(t, x, u) if ratio else 0)

    options = {"log_noise": log_noise} if full else {}
    return metropolis(lambda t, x, u: (u, x), log_ratio, scale=scale, full=full, **options)


def partial_refreshment(*, flip: bool = True, scale: float = math.sqrt(1 - 0.7**2)) -> Step:
    """Hamiltonian Monte Carlo that keeps most of its momentum (Horowitz 1991), on position and momentum."""
    eps = 0.8

    def step(t: Target, x: Tensor, g: Generator) -> Tensor:
        q, p = x.unbind(-1)
        p = 0.7 * p + scale * torch.randn(p.shape, generator=g, dtype=x.dtype)
        half = p - eps / 2 * q
        end = q + eps * half
        speed = half - eps / 2 * end
        taken = rand(x, g).log() < (q * q + p * p - end * end - speed * speed) / 2
        return choose(taken, torch.stack((end, speed), -1), torch.stack((q, -p if flip else p), -1))

    return step


def slice_sampler(*, level: Callable[[Tensor, Generator], Tensor] = lambda x, g: rand(x, g).log()) -> Step:
    """Stepping out and shrinkage (Neal 2003)."""
    width = 2.0

    def step(t: Target, x: Tensor, g: Generator) -> Tensor:
        height = t.log_density(x) + level(x, g)
        low = x - width * torch.rand(x.shape, generator=g, dtype=x.dtype)
        high = low + width
        while bool((above := t.log_density(low) > height).any()):
            low = choose(above, low - width, low)
        while bool((above := t.log_density(high) > height).any()):
            high = choose(above, high + width, high)
        y, todo = x.clone(), torch.arange(len(x))
        while len(todo):
            span = high[todo] - low[todo]
            candidate = low[todo] + span * torch.rand(span.shape, generator=g, dtype=x.dtype)
            inside = t.log_density(candidate) > height[todo]
            y[todo[inside]] = candidate[inside]
            left = candidate < x[todo]
            low[todo], high[todo] = torch.where(left, candidate, low[todo]), torch.where(left, high[todo], candidate)
            todo = todo[~inside]
        return y

    return step


def mixture(share: Callable[[Tensor], Tensor] = lambda x: torch.full_like(x[:, 0], 0.5)) -> Step:
    """Long steps or short ones, by chance."""

    def step(t: Target, x: Tensor, g: Generator) -> Tensor:
        size = torch.where(rand(x, g) < share(x), 2.4, 0.3).to(x.dtype)
        y = x + size.unsqueeze(-1) * randn(x, g)
        return choose(rand(x, g).log() < change(t, x, y), y, x)

    return step


def one_after_another(power: float = 1.0) -> Step:
    """One chain at a time, all from one generator, with a uniform number only where it is needed."""

    def step(t: Target, x: Tensor, g: Generator) -> Tensor:
        rows = []
        for row in x.split(1):
            y = row + 1.5 * randn(row, g)
            ratio = power * change(t, row, y)
            taken = bool(ratio >= 0) or bool(rand(row, g).log() < ratio)
            rows.append(y if taken else row)
        return torch.cat(rows)

    return step


def walk_in_the_logarithm(jacobian: float = 1.0, **options: Any) -> MarkovKernel:
    return metropolis(
        lambda t, x, u: (x * u.exp(), -u),
        lambda t, x, u: change(t, x, x * u.exp()) + jacobian * u.sum(-1),
        EXPONENTIAL,
        **options,
    )


def barker_proposal(*, ratio: bool = True) -> Step:
    """A step to the side that the gradient favours (Livingstone and Zanella 2022)."""

    def step(t: Target, x: Tensor, g: Generator) -> Tensor:
        z = 1.5 * randn(x, g)
        way = torch.rand(x.shape, generator=g, dtype=x.dtype) < torch.sigmoid(z * t.score(x))
        move = torch.where(way, z, -z)
        y = x + move
        log_ratio = change(t, x, y)
        if ratio:
            log_ratio = log_ratio + (logsigmoid(-move * t.score(y)) - logsigmoid(move * t.score(x))).sum(-1)
        return choose(rand(x, g).log() < log_ratio, y, x)

    return step


def preconditioned_walk(kept: float = math.sqrt(0.75)) -> Step:
    """Crank and Nicolson's proposal for a prior of variance 2; the likelihood makes a standard normal of it."""

    def step(t: Target, x: Tensor, g: Generator) -> Tensor:
        y = kept * x + 0.5 * math.sqrt(2) * randn(x, g)
        return choose(rand(x, g).log() < ((x * x).sum(-1) - (y * y).sum(-1)) / 4, y, x)

    return step


def multiple_try(*, weights: bool = True) -> Step:
    """One of three proposals, chosen by their densities (Liu, Liang and Wong 2000)."""

    def step(t: Target, x: Tensor, g: Generator) -> Tensor:
        tries = x[:, None] + 2.0 * torch.randn((len(x), 3, 1), generator=g, dtype=x.dtype)
        logs = t.log_density(tries)
        chosen = torch.multinomial(logs.softmax(-1), 1, generator=g)
        y = tries.gather(1, chosen[..., None])[:, 0]
        back = y[:, None] + 2.0 * torch.randn((len(x), 2, 1), generator=g, dtype=x.dtype)
        reverse = torch.cat((t.log_density(back), t.log_density(x)[:, None]), -1)
        ratio = logs.logsumexp(-1) - reverse.logsumexp(-1) if weights else change(t, x, y)
        return choose(rand(x, g).log() < ratio, y, x)

    return step


def unadjusted(h: float, *, noise: float = 2.0, drift: float = 1.0) -> Step:
    return lambda t, x, g: x + drift * h * t.score(x) + math.sqrt(noise * h) * randn(x, g)


def halving(step: Callable[[float], Step], h: float, **options: Any) -> MarkovKernel:
    return MarkovKernel(step(h), halved=step(h / 2), **{"targets": (NORMAL,), **options})


def of_parameter(weight: float = 1.0) -> Step:
    """Metropolis for the parameter of `POSTERIOR`; the datum stays. The likelihood counts `weight` times."""

    def step(t: Target, x: Tensor, g: Generator) -> Tensor:
        y = x.clone()
        y[:, 0] += 1.5 * torch.randn(len(x), generator=g, dtype=x.dtype)
        prior, misfit = (x[:, 0] ** 2 - y[:, 0] ** 2) / 2, x[:, 1:] - torch.stack((x[:, 0], y[:, 0]), -1)
        return choose(rand(x, g).log() < prior + weight * (misfit[:, 0] ** 2 - misfit[:, 1] ** 2) / 2, y, x)

    return step


def on(*targets: Target, own: bool = True, **options: Any) -> Callable[[Step], MarkovKernel]:
    return lambda step: MarkovKernel(step, targets=targets, any_target=not own, **options)


ON_NORMAL, ON_ITS_NORMAL, SWEEP = on(NORMAL, own=False), on(NORMAL), on(CORRELATED, reversible=False)

# Those that the tests try every time.
QUICK_RIGHT = {
    "a random walk": walk(1.0),
    "a random walk, its step alone": walk(1.0, full=False),
    "a walk of few draws": ON_NORMAL(walk_of_few_draws(1.5)),
    "Gibbs": SWEEP(gibbs()),
    "unadjusted Langevin": halving(unadjusted, 0.1),
    "a target of which draws are known": walk(2.0, DRAWS_ONLY, full=False),
    "a posterior": on(POSTERIOR)(of_parameter()),
}
QUICK_WRONG = {
    "only accepted states are kept": accepted_only(walk(2.4)),
    "a walk of few draws, the ratio squared": ON_NORMAL(walk_of_few_draws(1.5, 2.0)),
    "a walk of few draws that leaks": on(NORMAL, reversible=False)(leaking_walk_of_few_draws(1.5)),
    "Gibbs with variances for standard deviations": SWEEP(gibbs(scale=SPREAD**2)),
    "unadjusted Langevin with the wrong noise": halving(lambda h: unadjusted(h, noise=1.0), 0.1),
    "a posterior whose likelihood counts twice": on(POSTERIOR)(of_parameter(2.0)),
}
RIGHT = {
    **QUICK_RIGHT,
    "a short walk on its own target": walk(0.5, full=False, any_target=False),
    "a walk on a wide target without its constant": walk(20.0, WIDE),
    "a target of which draws are known, in full": walk(2.0, DRAWS_ONLY),
    "Langevin": langevin(0.8),
    "Langevin, its step alone": langevin(0.8, full=False),
    "Langevin on its own target": langevin(1.4, full=False, any_target=False),
    "a walk of few draws on every target": MarkovKernel(walk_of_few_draws(1.0)),
    "random-scan Gibbs": on(CORRELATED)(gibbs(random=True)),
    "Metropolis within Gibbs": on(CORRELATED, own=False, reversible=False)(coordinatewise()),
    "delayed rejection": ON_NORMAL(delayed_rejection()),
    "delayed rejection of few draws": ON_NORMAL(delayed_rejection(few_draws=True)),
    "Barker's acceptance": walk(2.0, accept=logsigmoid),
    "an independence sampler": independence(),
    "an independence sampler, its step alone": independence(full=False),
    "partial refreshment": on(PHASE, reversible=False)(partial_refreshment()),
    "slice sampling": ON_NORMAL(slice_sampler()),
    "a mixture": ON_NORMAL(mixture()),
    "a walk in the logarithm": walk_in_the_logarithm(),
    "Barker's proposal": ON_NORMAL(barker_proposal()),
    "Crank and Nicolson": ON_ITS_NORMAL(preconditioned_walk()),
    "multiple try": ON_NORMAL(multiple_try()),
    "one chain after another": ON_NORMAL(one_after_another()),
    "unadjusted Langevin on its own target": halving(unadjusted, 0.1, any_target=False),
    "unadjusted Langevin on every smooth target": MarkovKernel(unadjusted(0.1), halved=unadjusted(0.05)),
    "unadjusted Langevin, long steps": halving(unadjusted, 0.3),
}
WRONG = {
    **QUICK_WRONG,
    "only accepted states are kept, of short steps": accepted_only(walk(1.0)),
    "Langevin, only accepted states are kept": accepted_only(langevin(1.4)),
    "Langevin without the proposal's ratio": langevin(0.8, ratio=False, full=False),
    "Langevin that accepts everything": MarkovKernel(
        lambda t, x, g: x + 0.32 * t.score(x) + 0.8 * randn(x, g), targets=(NORMAL,)
    ),
    "half of the log-ratio": walk(1.0, power=0.5, full=False),
    "a lopsided walk": walk(1.0, shift=0.1, full=False),
    "Gibbs from old values": SWEEP(gibbs(stale=True)),
    "random-scan Gibbs with variances": on(CORRELATED)(gibbs(random=True, scale=SPREAD**2)),
    "Metropolis within Gibbs, half of the log-ratio": on(CORRELATED, reversible=False)(coordinatewise(0.5)),
    "delayed rejection without the second ratio": ON_NORMAL(delayed_rejection(second_ratio=False)),
    "Barker's acceptance of twice the log-ratio": walk(2.0, power=2.0, accept=logsigmoid, full=False),
    "an independence sampler without the ratio": independence(ratio=False),
    "an independence sampler without the ratio, its step alone": independence(ratio=False, full=False),
    "partial refreshment without a flip": on(PHASE, reversible=False)(partial_refreshment(flip=False)),
    "partial refreshment, 1 - a for its root": on(PHASE, reversible=False)(partial_refreshment(scale=0.3)),
    "slice sampling at a fixed level": ON_NORMAL(slice_sampler(level=lambda x, g: torch.full_like(x[:, 0], -0.5))),
    "a mixture that depends on the state": ON_NORMAL(mixture(lambda x: 0.2 + 0.6 * (x[:, 0] > 0).double())),
    "a walk in the logarithm without the Jacobian": walk_in_the_logarithm(0.0, full=False),
    "a walk in the logarithm with its inverse": walk_in_the_logarithm(-1.0, full=False),
    "Barker's proposal without the ratio": ON_NORMAL(barker_proposal(ratio=False)),
    "Crank and Nicolson, 1 - b for its root": ON_ITS_NORMAL(preconditioned_walk(0.5)),
    "multiple try without the weights": ON_NORMAL(multiple_try(weights=False)),
    "one chain after another, half of the log-ratio": ON_NORMAL(one_after_another(0.5)),
    "unadjusted Langevin with half the drift": halving(lambda h: unadjusted(h, drift=0.5), 0.1),
    "unadjusted Langevin with the wrong noise, short steps": halving(lambda h: unadjusted(h, noise=1.0), 0.01),
    "unadjusted Langevin that is said to be exact": ON_NORMAL(unadjusted(0.1)),
}
