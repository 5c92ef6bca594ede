r"""Hamiltonian Monte Carlo as one compiled loop, for densities of a few coordinates written in plain arithmetic.

One chain is sequential: each of its leapfrog steps waits for the one before, and on a few numbers at a time nearly all
of an array library's time is spent between its operations. Here numba compiles the whole chain; many chains go side by
side through the same loop, so that the processor moves several of them at once.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Residual, close
from mathcheck.markov.hamiltonian import Chain, hmc_proposal, random_lengths

Coordinates = Callable[..., Any]

# As many chains as stay in the innermost cache, and are moved by the same instructions.
_SIDE_BY_SIDE = 64
# Functions of so many arguments are compiled; beyond that the tensors of `hmc_chain` are the faster ones anyway.
_MOST = 16


def compiled_hmc_chain(
    log_density: Coordinates,
    score: Coordinates,
    start: Tensor,
    generator: torch.Generator,
    step_size: float,
    steps: int,
    *,
    draws: int,
    randomise: bool = False,
) -> Chain:
    r"""The chains of `mathcheck.markov.hamiltonian.hmc_chain`, with their noise drawn in bulk and the rest compiled.

    The first call with a density compiles it, which takes a second or a few; later calls do not. It computes on the CPU
    in double precision.

    Args:
        log_density: $\log\pi$ up to a constant as a function of n numbers, `log_density(x_1, ..., x_n)`, in what numba
            compiles: arithmetic, `math`, constants from around it. It is compiled once: what it refers to must not change.
        score: $\nabla\log\pi$ likewise, n numbers.
        start: `(*batch, n)`, where the log-density is finite; not part of the result. n is at most 16.
        generator: source of all randomness, on the CPU.
        step_size: $\epsilon$, positive.
        steps: leapfrog steps of each trajectory, at least 1.
        draws: at least 1.
        randomise: draw the number of leapfrog steps anew for each draw, from 1 to `steps`, the same for all chains.

    Returns:
        The chain and its rate of acceptance, in the dtype of `start`.

    Raises:
        TypeError, ValueError: for arguments of other types, shapes or ranges, or if the log-density is not finite at
            the start.
        ModuleNotFoundError: if numba is not installed.
    """
    arguments.functions(log_density=log_density, score=score)
    arguments.vectors(start=start)
    arguments.instances(torch.Generator, generator=generator)
    arguments.positive(step_size=step_size)
    arguments.at_least(1, steps=steps, draws=draws)
    arguments.instances(bool, randomise=randomise)
    n = start.shape[-1]
    if n > _MOST or start.device.type != "cpu":
        raise ValueError(f"start must hold at most {_MOST} coordinates on the CPU, got {n} on {start.device}")
    run = _compiled(log_density, score, n)
    lengths = random_lengths(steps, draws, generator) if randomise else torch.full((draws,), steps)
    at = start.detach().double().reshape(-1, n).numpy()
    momenta, levels = _noise(draws, len(at), n, generator)
    states, accepted = np.empty((draws, len(at), n)), np.zeros(len(at))
    first = run(at, momenta.numpy(), levels.numpy(), lengths.numpy(), float(step_size), states, accepted)
    if first >= 0:
        raise ValueError(f"start must have finite log-densities, got {log_density(*at[first])} at {at[first].tolist()}")
    return Chain(
        torch.from_numpy(states).to(start.dtype).reshape(draws, *start.shape),
        torch.from_numpy(accepted / draws).to(start.dtype).reshape(start.shape[:-1]),
    )


def _noise(draws: int, chains: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Momenta `(draws, chains, n)` and minus the logarithms of uniform numbers `(draws, chains)`, in double precision."""
    momenta = torch.randn(draws, chains, n, generator=generator, dtype=torch.float64)
    return momenta, torch.empty(draws, chains, dtype=torch.float64).exponential_(generator=generator)


@functools.cache
def _compiled(log_density: Coordinates, score: Coordinates, n: int) -> Callable[..., int]:
    """The loop over all chains, draws and leapfrog steps; it returns the first chain without a density, or -1."""
    if importlib.util.find_spec("numba") is None:
        raise ModuleNotFoundError("compiled chains need numba: pip install 'mathcheck[numba]'")
    numba: Any = importlib.import_module("numba")
    # As with tensors, a division by zero gives an infinite or undefined number, and the proposal is rejected.
    njit, block = numba.njit(error_model="numpy"), _SIDE_BY_SIDE
    density, slope, column = njit(log_density), njit(score), _column(njit, n)

    # Coordinate i of chain k stands at place i * block + k: in one row, the compiler moves eight chains with one instruction.
    @njit  # type: ignore[untyped-decorator]
    def move(q: Any, p: Any, width: int, kick: float, drift: float) -> None:
        for k in range(width):
            force = slope(*column(q, k))
            for i in range(n):
                p[i * block + k] += kick * force[i]
                q[i * block + k] += drift * p[i * block + k]

    @njit  # type: ignore[untyped-decorator]
    def log_joint(q: Any, p: Any, k: int) -> Any:
        squares = 0.0
        for i in range(n):
            squares += p[i * block + k] * p[i * block + k]
        return density(*column(q, k)) - squares / 2

    @njit  # type: ignore[untyped-decorator]
    def run(start: Any, momenta: Any, levels: Any, lengths: Any, step: float, states: Any, accepted: Any) -> int:
        here, q, p, before = np.zeros(n * block), np.zeros(n * block), np.zeros(n * block), np.empty(block)
        for first in range(0, len(start), block):
            width = min(block, len(start) - first)
            for k in range(width):
                for i in range(n):
                    here[i * block + k] = start[first + k, i]
                if not np.isfinite(density(*column(here, k))):
                    return first + k
            for draw in range(len(levels)):
                for k in range(width):
                    for i in range(n):
                        p[i * block + k] = momenta[draw, first + k, i]
                    before[k] = log_joint(here, p, k)
                q[:] = here
                move(q, p, width, step / 2, step)
                for _ in range(lengths[draw] - 1):
                    move(q, p, width, step, step)
                move(q, p, width, step / 2, 0.0)
                for k in range(width):
                    # Not a number, from a trajectory that diverged, is at least nothing: rejected.
                    accept = levels[draw, first + k] >= before[k] - log_joint(q, p, k)
                    accepted[first + k] += accept
                    for i in range(n):
                        here[i * block + k] = q[i * block + k] if accept else here[i * block + k]
                        states[draw, first + k, i] = here[i * block + k]
        return -1

    return run  # type: ignore[no-any-return]


def _column(njit: Any, n: int) -> Any:
    """The function `(q, k)` -> the n coordinates of chain k, for numba a tuple only if its length is part of its code."""
    if n == 1:
        return njit(lambda q, k: (q[k],))
    head, last = _column(njit, n - 1), (n - 1) * _SIDE_BY_SIDE
    return njit(lambda q, k: (*head(q, k), q[last + k]))


def _ellipse(first: float, second: float) -> float:
    return -(first * first + second * second / 4) / 2


def _ellipse_score(first: float, second: float) -> tuple[float, float]:
    return -first, -second / 4


Compiled = Callable[..., Chain]


def _step_by_step(start: Tensor, generator: torch.Generator, step_size: float, lengths: list[int]) -> Chain:
    """The chain of the same noise on tensors, draw by draw."""
    scales = start.new_tensor([1.0, 0.25])
    momenta, levels = _noise(len(lengths), math.prod(start.shape[:-1]), 2, generator)
    states: list[Tensor] = []
    accepted = torch.zeros_like(start[..., 0])
    for p, level, length in zip(momenta, levels, lengths, strict=True):
        at = states[-1] if states else start
        end, _, log_acceptance = hmc_proposal(
            lambda x: -(scales * x * x).sum(-1) / 2,
            at,
            p.reshape(at.shape),
            step_size,
            length,
            score=lambda x: -scales * x,
        )
        accept = level.reshape(log_acceptance.shape) >= -log_acceptance
        accepted += accept
        states.append(torch.where(accept.unsqueeze(-1), end, at))
    return Chain(torch.stack(states), accepted / len(lengths))


def _shifted(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Compiled], Compiled]:
    """The slip that records `change(start, states)`."""

    def mutant(chain: Compiled) -> Compiled:
        def run(density: Coordinates, score: Coordinates, start: Tensor, *rest: Any, **options: Any) -> Chain:
            found = chain(density, score, start, *rest, **options)
            return found._replace(states=change(start, found.states))

        return run

    return mutant


@claim(
    given=lambda chain, dtype: st.tuples(
        st.integers(0, 2**31 - 1),
        st.sampled_from([(), (3,), (2, 70)]),
        st.sampled_from([0.5, 1.0, 1.75]),
        st.integers(1, 5),
        st.booleans(),
    ),
    reference=compiled_hmc_chain,
    mutants={
        "the start is recorded": _shifted(lambda start, states: torch.cat((start.unsqueeze(0), states[:-1]))),
        "the momenta have half the variance": lambda chain: (
            lambda f, s, x, g, step, *z, **k: chain(f, s, x, g, step / 2**0.5, *z, **k)
        ),
        "one leapfrog step more": lambda chain: (
            lambda f, s, x, g, step, steps, **k: chain(f, s, x, g, step, steps + 1, **k)
        ),
        "only accepted states are recorded": _shifted(
            lambda start, states: states[(states != torch.cat((start.unsqueeze(0), states[:-1]))).flatten(1).any(-1)]
        ),
    },
    examples=15,
)
def compiled_steps_are_those_of_the_tensors(
    chain: Compiled, seed: int, batch: tuple[int, ...], step_size: float, steps: int, randomise: bool
) -> Iterator[Residual]:
    r"""From the same noise come the same states as on tensors: $X_{t+1} = K(X_t, U_t)$ for every chain and every t.

    Error bound: 16 roundings, in double precision, of 8 times the largest coordinate or momentum for every leapfrog step
    so far. On a normal with deviations 1 and 2 the powers of leapfrog's matrix have norms of at most
    $2/\sqrt{1 - \epsilon^2/4} < 5$, and their first entry is a cosine: a draw does not magnify what it starts from. That a
    rounding decides whether a proposal is accepted has a probability of about $10^{-8}$.
    """
    if importlib.util.find_spec("numba") is None:
        raise NotImplementedError("numba is not installed")
    generators, draws = [torch.Generator().manual_seed(seed) for _ in range(2)], 20
    start = torch.full((*batch, 2), 0.5, dtype=torch.float64)
    found = chain(_ellipse, _ellipse_score, start, generators[0], step_size, steps, draws=draws, randomise=randomise)
    lengths = random_lengths(steps, draws, generators[1]).tolist() if randomise else [steps] * draws
    true = _step_by_step(start, generators[1], step_size, lengths)
    size = 8 * float(true.states.abs().max().clamp(min=6.0))
    yield close(
        found.states, true.states, ulps=16 * sum(length + 1 for length in lengths), scale=size, what="the states"
    )
    yield close(found.acceptance_rate, true.acceptance_rate, what="the acceptance rate")
