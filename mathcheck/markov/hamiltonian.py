r"""Hamiltonian Monte Carlo: the leapfrog integrator, the step that it makes, and the chain.

A state x gets a fresh momentum p, moves along $\dot q = p$, $\dot p = \nabla\log\pi(q)$ by leapfrog, and goes where it
came to with probability $\min(1, e^{-\Delta H})$, $H(q, p) = -\log\pi(q) + \tfrac12\lvert p\rvert^2$; otherwise x is
repeated. Leapfrog followed by a flip of the momentum is its own inverse and preserves volume: nothing else is needed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Residual, close, exactly
from mathcheck.engine.strategies import BATCH_SHAPES, of_each
from mathcheck.markov.integrator import Integrator
from mathcheck.markov.markov_kernel import MarkovKernel
from mathcheck.markov.metropolis import metropolis_log_acceptance
from mathcheck.markov.targets import Target
from mathcheck.oracles import enumeration, statistics

Map = Callable[[Tensor], Tensor]
Rows = list[list[Fraction]]


class Transition(NamedTuple):
    """What a step did: the next state `(*batch, n)`, whether it was accepted and its log-acceptance, `(*batch,)`."""

    state: Tensor
    accepted: Tensor
    log_acceptance: Tensor


class Chain(NamedTuple):
    """All states after the start `(draws, *batch, n)`, repeated ones too, and the rate of acceptance `(*batch,)`."""

    states: Tensor
    acceptance_rate: Tensor


def _shaped(value: Tensor, shape: torch.Size, name: str) -> Tensor:
    if not isinstance(value, Tensor) or value.shape != shape:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{name} must return shape {tuple(shape)}, got {got}")
    return value


def leapfrog(gradient: Map, position: Tensor, momentum: Tensor, step_size: float, steps: int) -> tuple[Tensor, Tensor]:
    r"""Half a kick, a drift, half a kick: $p \gets p - \tfrac\epsilon2\nabla U$, $q \gets q + \epsilon p$, $p \gets p -
    \tfrac\epsilon2\nabla U$.

    Each part is a shear, so volume is preserved exactly; read backwards it is itself with the momentum flipped. Half
    kicks between two steps are joined: the gradient is computed `steps + 1` times.

    Args:
        gradient: $\nabla U$, `(*batch, n)` -> `(*batch, n)`; U is the potential, the negative log-density.
        position, momentum: `(*batch, n)`.
        step_size: $\epsilon$; stable below $2/\omega$ for a Hessian of largest eigenvalue $\omega^2$. A negative one goes
            back in time.
        steps: at least 1.

    Returns:
        Position and momentum `(*batch, n)`; not finite where the trajectory diverged.

    Raises:
        TypeError, ValueError: for tensors that are not floating or of different shapes, a step size that is not
            finite, fewer than 1 step, or a gradient of another shape.
    """
    arguments.functions(gradient=gradient)
    arguments.alike(position=position, momentum=momentum)
    arguments.vectors(position=position)
    arguments.finite(step_size=step_size)
    arguments.at_least(1, steps=steps)
    return _trajectory(gradient, position, momentum, step_size, steps, -1)


def _trajectory(slope: Map, q: Tensor, p: Tensor, step: float, steps: int, sign: int) -> tuple[Tensor, Tensor]:
    """Leapfrog along `sign` times `slope`."""
    p = p.add(_shaped(slope(q), q.shape, "gradient"), alpha=sign * step / 2)
    q = q.add(p, alpha=step)
    for _ in range(steps - 1):
        p = p.add(slope(q), alpha=sign * step)
        q = q.add(p, alpha=step)
    return q, p.add(slope(q), alpha=sign * step / 2)


def _score(log_density: Map) -> Map:
    def score(x: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(log_density(leaf).sum(), leaf)
        return gradient

    return score


def _check_functions(log_density: Map, score: Map | None) -> None:
    arguments.functions(log_density=log_density)
    if score is not None:
        arguments.functions(score=score)


def hmc_proposal(
    log_density: Map, position: Tensor, momentum: Tensor, step_size: float, steps: int, *, score: Map | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Where a trajectory ends, the flipped momentum there, and the log-acceptance $\min(0, -\Delta H)$.

    Args:
        log_density: $\log\pi$ up to a constant, `(*batch, n)` -> `(*batch,)`.
        position, momentum, steps: as for `leapfrog`.
        step_size: as for `leapfrog`, and positive.
        score: $\nabla\log\pi$, `(*batch, n)` -> `(*batch, n)`; default by autograd.

    Returns:
        Position and momentum `(*batch, n)`, log-acceptance `(*batch,)`.

    Raises:
        TypeError, ValueError: as `leapfrog`, or if the step size is not positive or `log_density` returns another shape.
    """
    _check_functions(log_density, score)
    arguments.alike(position=position, momentum=momentum)
    arguments.vectors(position=position)
    arguments.positive(step_size=step_size)
    arguments.at_least(1, steps=steps)
    end, speed = _trajectory(score or _score(log_density), position, momentum, step_size, steps, 1)
    batch = position.shape[:-1]
    before = _shaped(log_density(position), batch, "log_density") - (momentum * momentum).sum(-1) / 2
    after = _shaped(log_density(end), batch, "log_density") - (speed * speed).sum(-1) / 2
    return end, -speed, metropolis_log_acceptance(after - before)


def hmc_step(
    log_density: Map,
    state: Tensor,
    generator: torch.Generator,
    step_size: float,
    steps: int,
    *,
    score: Map | None = None,
) -> Transition:
    r"""One step of Hamiltonian Monte Carlo for many chains at once, which leaves $\pi$ invariant at any step size.

    A proposal outside the support, or from a trajectory that diverged, is rejected.

    Args:
        log_density, step_size, steps, score: as for `hmc_proposal`.
        state: `(*batch, n)`, one chain a row.
        generator: source of all randomness, on the device of `state`.

    Returns:
        The next state `(*batch, n)`, whether it is the proposal, and the log-acceptance.

    Raises:
        TypeError, ValueError: as `hmc_proposal`.
    """
    arguments.vectors(state=state)
    arguments.instances(torch.Generator, generator=generator)
    momentum = torch.empty_like(state).normal_(generator=generator)
    # -log of a uniform number, without its rounding to zero.
    level = torch.empty_like(state[..., 0]).exponential_(generator=generator)
    end, _, log_acceptance = hmc_proposal(log_density, state, momentum, step_size, steps, score=score)
    accepted = level >= -log_acceptance
    return Transition(torch.where(accepted.unsqueeze(-1), end, state), accepted, log_acceptance)


def random_lengths(longest: int, count: int, generator: torch.Generator) -> Tensor:
    """Numbers of leapfrog steps `(count,)`, independent and uniform on 1, ..., `longest`.

    A fixed length can trap the chain: with step size 1, three steps on a normal take x to -x whatever the momentum.

    Raises:
        TypeError, ValueError: if `longest` or `count` is no integer or less than 1.
    """
    arguments.at_least(1, longest=longest, count=count)
    arguments.instances(torch.Generator, generator=generator)
    return torch.randint(1, longest + 1, (count,), generator=generator, device=generator.device)


def hmc_chain(
    log_density: Map,
    start: Tensor,
    generator: torch.Generator,
    step_size: float,
    steps: int,
    *,
    draws: int,
    score: Map | None = None,
    randomise: bool = False,
) -> Chain:
    """The states of Hamiltonian Monte Carlo chains after each of `draws` steps; a rejected step repeats the state.

    Args:
        log_density, step_size, steps, score: as for `hmc_proposal`.
        start: `(*batch, n)`, where the log-density is finite; not part of the result.
        generator: source of all randomness, on the device of `start`.
        draws: at least 1.
        randomise: draw the number of leapfrog steps anew for each draw, from 1 to `steps`, the same for all chains.

    Returns:
        The chain and its rate of acceptance.

    Raises:
        TypeError, ValueError: as `hmc_step`, or if the log-density is not finite at the start.
    """
    _check_functions(log_density, score)
    arguments.vectors(start=start)
    arguments.instances(torch.Generator, generator=generator)
    arguments.at_least(1, steps=steps, draws=draws)
    arguments.instances(bool, randomise=randomise)
    if not bool(log_density(start).isfinite().all()):
        raise ValueError(f"start must have finite log-densities, got {log_density(start).flatten().tolist()[:8]}")
    lengths = random_lengths(steps, draws, generator).tolist() if randomise else [steps] * draws
    states, accepted, state = [], torch.zeros(start.shape[:-1], dtype=start.dtype, device=start.device), start
    for length in lengths:
        moved = hmc_step(log_density, state, generator, step_size, length, score=score)
        state = moved.state
        states.append(state)
        accepted = accepted + moved.accepted
    return Chain(torch.stack(states), accepted / draws)


integrator = Integrator(
    lambda potential, q, p, step_size, steps: leapfrog(potential.gradient, q, p, step_size, steps),
    batch_shapes=BATCH_SHAPES,
)
_STEP_SIZE, _STEPS = 0.5, 3
kernel = MarkovKernel(
    lambda t, x, g: hmc_step(t.log_density, x, g, _STEP_SIZE, _STEPS, score=t.score).state,
    propose=lambda t, x, p: hmc_proposal(t.log_density, x, p, _STEP_SIZE, _STEPS, score=t.score)[:2],
    log_acceptance=lambda t, x, p: hmc_proposal(t.log_density, x, p, _STEP_SIZE, _STEPS, score=t.score)[2],
)


def _unadjusted(step_size: float) -> Callable[[Target, Tensor, torch.Generator], Tensor]:
    """A step of leapfrog with fresh momentum that is always taken: unadjusted Langevin, with half its square as the time."""

    def step(target: Target, x: Tensor, generator: torch.Generator) -> Tensor:
        momentum = torch.empty_like(x).normal_(generator=generator)
        return _trajectory(target.score, x, momentum, step_size, 1, 1)[0]

    return step


_GAUSSIAN = Target(
    "the standard normal",
    log_density=lambda x: -(x * x).sum(-1) / 2 - math.log(2 * math.pi) / 2,
    score=lambda x: -x,
    sample=lambda count, generator: torch.empty((count, 1), dtype=torch.float64, device=generator.device).normal_(
        generator=generator
    ),
    uniforms=torch.special.ndtr,
)
unadjusted = MarkovKernel(_unadjusted(0.4), targets=(_GAUSSIAN,), halved=_unadjusted(0.4 / math.sqrt(2)), moving=1.0)


def finite_chain(weights: Sequence[int], momenta: Sequence[int], force: Sequence[int], steps: int) -> Rows:
    r"""The transition matrix of Hamiltonian Monte Carlo on the integers modulo m, in exact rational numbers.

    Leapfrog is $p \gets p - f(q)$, $q \gets q + p$, $p \gets p - f(q)$, all modulo m: each part permutes the $m^2$ states of
    phase space, and backwards it is itself with p negated, whatever the force f. The momentum has the law
    $v(p)/\sum v$, and a trajectory is accepted with $\min\big(1, \tfrac{w(q')v(p')}{w(q)v(p)}\big)$.

    Args:
        weights: w, `(m,)`, positive, proportional to the target.
        momenta: v, `(m,)`, positive and even: v(p) = v(m - p).
        force: f, `(m,)`, any integers.
        steps: at least 1.

    Raises:
        TypeError, ValueError: if the lengths differ, a weight is not positive, or the momenta's law is not even.
    """
    arguments.sequences(int, weights=weights, momenta=momenta, force=force)
    arguments.at_least(1, steps=steps)
    if any(momenta[p] != momenta[-p % len(momenta)] for p in range(len(momenta))):
        raise ValueError(f"momenta must be even, v(p) = v(-p), got {list(momenta)}")
    return _finite_chain(weights, momenta, force, steps)


def _finite_chain(
    w: Sequence[int],
    v: Sequence[int],
    force: Sequence[int],
    steps: int,
    *,
    first: int = 1,
    kinetic: bool = True,
    repeats: bool = True,
) -> Rows:
    m = len(w)
    if not len(v) == len(force) == m or min(*w, *v) <= 0:
        raise ValueError(
            f"weights, momenta and force must be {m} numbers each, the first two positive, got {w}, {v}, {force}"
        )
    rows = [[Fraction(0)] * m for _ in range(m)]
    for start, speed in itertools.product(range(m), repeat=2):
        q, p = start, speed
        for _ in range(steps):
            p = (p - first * force[q]) % m
            q = (q + p) % m
            p = (p - force[q]) % m
        ratio = Fraction(w[q], w[start]) * (Fraction(v[p], v[speed]) if kinetic else 1)
        share, accepted = Fraction(v[speed], sum(v)), min(Fraction(1), ratio)
        rows[start][q] += share * accepted
        rows[start][start] += share * (1 - accepted) if repeats else 0
    return [[mass / sum(row) for mass in row] for row in rows]


def _phase_spaces() -> st.SearchStrategy[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]]:
    def of(m: int) -> st.SearchStrategy[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]]:
        def numbers(low: int, high: int, count: int) -> st.SearchStrategy[tuple[int, ...]]:
            return st.lists(st.integers(low, high), min_size=count, max_size=count).map(tuple)

        even = numbers(1, 6, m // 2 + 1).map(lambda half: tuple(half[min(p, m - p)] for p in range(m)))
        return st.tuples(numbers(1, 6, m), even, numbers(0, m - 1, m), st.integers(1, 3))

    return of_each(st.integers(2, 5), of)


@claim(
    given=lambda chain, dtype: _phase_spaces(),
    reference=finite_chain,
    mutants={
        "only accepted states are kept": lambda chain: lambda *z: _finite_chain(*z, repeats=False),
        "the first kick is taken twice": lambda chain: lambda *z: _finite_chain(*z, first=2),
        "the first kick is left out": lambda chain: lambda *z: _finite_chain(*z, first=0),
        "the momentum is left out of the acceptance": lambda chain: lambda *z: _finite_chain(*z, kinetic=False),
        "the momentum's law is not even": lambda chain: lambda w, v, *z: _finite_chain(w, (*v[:-1], v[-1] + 1), *z),
    },
    examples=60,
)
def a_finite_twin_keeps_its_target(
    chain: Callable[..., Rows], weights: tuple[int, ...], momenta: tuple[int, ...], force: tuple[int, ...], steps: int
) -> Iterator[Residual]:
    r"""Hamiltonian Monte Carlo on the integers modulo m is reversible: $w(q) P(q, q') = w(q') P(q', q)$.

    Hence $\pi P = \pi$ for $\pi = w/\sum w$, whatever the force: the gradient decides how often it accepts, not where to.

    Error bound: 0; every state of phase space is visited, in rational numbers.
    """
    rows, m = chain(weights, momenta, force, steps), len(weights)
    target = {q: Fraction(weights[q], sum(weights)) for q in range(m)}
    moved = enumeration.kernel_step(target, {q: dict(enumerate(row)) for q, row in enumerate(rows)})
    yield exactly([moved[q] for q in range(m)], [target[q] for q in range(m)], what="the target after a step")
    flow = [[weights[x] * rows[x][y] for y in range(m)] for x in range(m)]
    yield exactly(flow, [list(column) for column in zip(*flow, strict=True)], what="moves and reverse moves")


@claim(
    given=lambda lengths, dtype: st.tuples(st.integers(2, 100), st.integers(0, 2**31 - 1)),
    reference=random_lengths,
    mutants={
        "each is drawn from 1 up to the one before": lambda lengths: _shrinking,
        "the longest is left out": lambda lengths: lambda longest, count, g: lengths(longest - 1, count, g),
    },
    examples=10,
)
def lengths_stay_uniform(lengths: Callable[..., Tensor], longest: int, seed: int) -> Iterator[Residual]:
    r"""Random numbers of steps are drawn anew each time: $P(L_t = l) = 1/L$ for l = 1, ..., L.

    Error bound: the likelihood of 20,000 draws against a mixture, at $\alpha = 10^{-6}$; a number beyond the longest
    refutes at once.
    """
    drawn = lengths(longest, 20_000, torch.Generator().manual_seed(seed))
    counts = torch.bincount(drawn.clamp(0, longest + 1), minlength=longest + 2)
    uniform = torch.full((longest + 2,), 1 / longest, dtype=torch.float64)
    uniform[0] = uniform[-1] = 0.0
    yield statistics.discrete(counts, uniform, what="length")


def _shrinking(longest: int, count: int, generator: torch.Generator) -> Tensor:
    """`L = randint(1, L + 1)` in a loop: L can only fall."""
    drawn = []
    for _ in range(count):
        longest = int(torch.randint(1, longest + 1, (), generator=generator)) if longest > 1 else 1
        drawn.append(longest)
    return torch.tensor(drawn)


def _normal(x: Tensor) -> Tensor:
    return -(x * x).sum(-1) / 2


@claim(
    given=lambda chain, dtype: st.tuples(
        st.just(torch.zeros((), dtype=dtype)), st.integers(0, 2**31 - 1), st.integers(1, 3)
    ),
    reference=hmc_chain,
    mutants={
        "only accepted states are recorded": lambda chain: (
            lambda f, x, *a, **k: _of(chain(f, x, *a, **k), lambda states: states[_moved(x, states)])
        ),
        "the start is recorded": lambda chain: (
            lambda f, x, *a, **k: _of(chain(f, x, *a, **k), lambda states: torch.cat((x.unsqueeze(0), states[:-1])))
        ),
    },
    examples=10,
)
def every_state_is_recorded(record: Callable[..., Chain], unit: Tensor, seed: int, steps: int) -> Iterator[Residual]:
    r"""The chain is the sequence of the steps' states, repeated ones too: $X_{t+1} = K(X_t, U_t)$ for every t.

    Error bound: 0; the same seed gives the same noise.
    """
    start, draws, size = torch.full((1,), 0.25, dtype=unit.dtype, device=unit.device), 60, 1.75
    generators = [torch.Generator(device=unit.device).manual_seed(seed) for _ in range(2)]
    chain = record(_normal, start, generators[0], size, steps, draws=draws)
    states, moves, state = [], 0.0, start
    for _ in range(draws):
        state, accepted, _ = hmc_step(_normal, state, generators[1], size, steps)
        states.append(state)
        moves += float(accepted)
    yield exactly(chain.states, torch.stack(states), what="the states")
    yield close(chain.acceptance_rate, torch.tensor(moves / draws, dtype=unit.dtype), what="the acceptance rate")


def _of(chain: Chain, change: Map) -> Chain:
    return chain._replace(states=change(chain.states))


def _moved(start: Tensor, states: Tensor) -> Tensor:
    return (states != torch.cat((start.unsqueeze(0), states[:-1]))).any(-1)
