"""The laws of a Markov kernel, and `check_markov_kernel`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import strategies
from mathcheck.engine.check import check
from mathcheck.engine.claim import Settings, claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.guard import SubjectFault, SubjectHangs
from mathcheck.engine.residual import Ball, Kind, Residual, Undecided, at_most, close, exactly
from mathcheck.markov.markov_kernel import slips
from mathcheck.markov.markov_kernel.consumption import Consumption
from mathcheck.markov.markov_kernel.record import MarkovKernel, Step
from mathcheck.markov.targets import Target
from mathcheck.oracles import derivative, statistics

Stream = tuple[Target, torch.Generator]


def _unit(k: MarkovKernel, dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
    """A zero that says in which dtype and on which device to work."""
    return st.just(torch.zeros((), dtype=dtype))


def _runs(k: MarkovKernel, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, int]]:
    return st.tuples(_unit(k, dtype), strategies.seeds())


def _points(k: MarkovKernel, dtype: torch.dtype) -> st.SearchStrategy[tuple[str, Tensor, Tensor]]:
    """A target, a draw from it, and standard normal noise."""

    def of(name: str, seed: int) -> tuple[str, Tensor, Tensor]:
        target, generator = k.target(name), torch.Generator().manual_seed(seed)
        x = target.sample(1, generator)[0].to(dtype)
        return name, x, torch.randn(target.n, generator=generator, dtype=torch.float64).to(dtype)

    return st.builds(of, st.sampled_from([t.name for t in k.targets]), strategies.seeds())


def _generator(unit: Tensor, seed: int) -> torch.Generator:
    return torch.Generator(device=unit.device).manual_seed(seed)


def _streams(k: MarkovKernel, unit: Tensor, seed: int) -> list[Stream]:
    return [(target, _generator(unit, seed)) for target in k.targets]


def _exact(k: MarkovKernel) -> None:
    if k.halved is not None:
        raise NotImplementedError("the kernel is approximate: it is judged by halving its step")


def _coordinates(target: Target, what: str) -> list[str]:
    return [
        f"{what}, coordinate {i}, {target.name}" if target.n > 1 else f"{what}, {target.name}" for i in range(target.n)
    ]


def _follows(target: Target, heights: Tensor, exact: Tensor | None, alpha: float, what: str) -> Iterator[Residual]:
    """Do heights follow the target, coordinate by coordinate? As uniform numbers, or as those of exact draws do."""
    for i, name in enumerate(_coordinates(target, what)):
        if target.uniforms is not None:
            yield statistics.dkw(heights[:, i], lambda u: u.clamp(0, 1), alpha=alpha, what=name)
        elif exact is not None:
            yield statistics.dkw_two(heights[:, i], exact[:, i], alpha=alpha, what=name)


def _stays_put(target: Target, before: Tensor, after: Tensor, alpha: float, what: str) -> Iterator[Residual]:
    """Do chains go up as far as down on average, and outwards as far as inwards? From heights to heights."""
    for i, name in enumerate(_coordinates(target, what)):
        rise = after[:, i] - before[:, i]
        outwards = rise * (after[:, i] + before[:, i] - 1)
        yield statistics.bernstein_mean(rise, 0.0, -1.0, 1.0, alpha=alpha, what=f"the mean rise {name}")
        yield statistics.bernstein_mean(outwards, 0.0, -1.0, 1.0, alpha=alpha, what=f"the mean way outwards {name}")


@claim(
    given=_runs,
    draws=True,
    mutants=slips.REJECTION | slips.AIM | slips.DRIFT,
    repairs=slips.STEP_REPAIRS,
    examples=1,
)
def leaves_its_target_invariant(k: MarkovKernel, unit: Tensor, seed: int, most_chains: int) -> Iterator[Residual]:
    r"""Started from its target exactly, the chain follows the target after 1 and after 20 steps: $\pi K = \pi$.

    With heights h, the uniform numbers that a target makes of its draws: the h of all chains are uniform, and between start
    and end h and $(h - \tfrac12)^2$ change by nothing on average, which shows small errors of small steps.

    Error bound: that of Dvoretzky, Kiefer and Wolfowitz for each coordinate's distribution function, and the empirical
    Bernstein bound for each mean, at $\alpha = 10^{-6}$ and with as many independent chains as the budget allows; 320,000
    of them see an error of 0.008 in a distribution function.
    """
    _exact(k)
    streams = _streams(k, unit, seed)

    def draw(count: int) -> statistics.Draws:
        found: list[Tensor] = []
        for target, generator in streams:
            state = target.draws(count, unit, generator)
            found.append(target.heights(state))
            for steps in (1, 19):
                for _ in range(steps):
                    state = k.step(target, state, generator)
                found.append(target.heights(state))
        return tuple(found)

    def judge(heights: statistics.Draws, alpha: float) -> Iterator[Residual]:
        for j, (target, _) in enumerate(streams):
            start, *later = heights[3 * j : 3 * j + 3]
            for after, states in zip((1, 20), later, strict=True):
                yield from _follows(target, states, start, alpha, f"the distribution after {after} steps")
                yield from _stays_put(target, start, states, alpha, f"within {after} steps")

    yield from statistics.climb(draw, judge, most_chains)


@claim(
    given=_runs,
    draws=True,
    mutants=slips.REJECTION | slips.DRIFT,
    repairs=slips.STEP_REPAIRS,
    examples=1,
)
def a_step_is_as_likely_as_its_reverse(
    k: MarkovKernel, unit: Tensor, seed: int, most_chains: int
) -> Iterator[Residual]:
    r"""Started from its target, a reversible chain goes up as often as down: $P(h(X_1) > h(X_0)) = P(h(X_1) < h(X_0))$.

    For h the height of each coordinate, the uniform number that the target makes of it, and for its distance from one half.

    Error bound: the exact binomial test among the chains that changed h, at $\alpha = 10^{-6}$.
    """
    _exact(k)
    if not k.reversible:
        raise NotImplementedError("the kernel is not reversible")
    streams = _streams(k, unit, seed)

    def draw(count: int) -> statistics.Draws:
        found: list[Tensor] = []
        for target, generator in streams:
            start = target.draws(count, unit, generator)
            found += [target.heights(start), target.heights(k.step(target, start, generator))]
        return tuple(found)

    def judge(heights: statistics.Draws, alpha: float) -> Iterator[Residual]:
        for (target, _), first, second in zip(streams, heights[::2], heights[1::2], strict=True):
            for what, change in (
                ("goes up", second - first),
                ("goes outwards", (second - 0.5).abs() - (first - 0.5).abs()),
            ):
                for i, name in enumerate(_coordinates(target, what)):
                    changed = int((change[:, i] != 0).sum())
                    if changed:
                        yield statistics.binomial(int((change[:, i] > 0).sum()), changed, 0.5, alpha=alpha, what=name)

    yield from statistics.climb(draw, judge, most_chains)


@claim(given=_runs, draws=True, mutants=slips.HALVING, examples=1)
def halving_its_step_shrinks_its_bias(k: MarkovKernel, unit: Tensor, seed: int, most_chains: int) -> Iterator[Residual]:
    r"""An approximate kernel's bias shrinks with its step as promised.

    An approximate kernel's bias shrinks with its step as promised, as $h^p$. Started from the target exactly, 20 steps lead to
    $X_1$, 40 halved ones to $X_2$; with $f_m = \mathbb E\cos(m\pi h)$ of the heights h, which is 0 for the target,
    extrapolation leads closer to the target than halving has moved:
    $\max_m\lvert 2^p f_m(X_2) - f_m(X_1)\rvert \le \max_m\lvert f_m(X_1) - f_m(X_2)\rvert$ for m = 1, ..., 4.

    Where the bias is $b h^p$ plus less, the left side is the less. Where it is at every step what it is at this one, as for
    noise of the wrong scale, the left side is the bias, and the right one 0. In between it holds where halving divides the
    bias by at least $(2^p + 1)/2$.

    Error bound: the sum of the empirical Bernstein bounds of both sides, at $\alpha/8$ each, where those of one start are
    subtracted first. Targets whose score is not Lipschitz are left out.
    """
    if k.halved is None:
        raise NotImplementedError("the kernel is not said to be approximate (`halved`)")
    halved = k.halved
    streams = [(target, generator) for target, generator in _streams(k, unit, seed) if target.lipschitz]
    if not streams:
        raise NotImplementedError("no target has a Lipschitz score")

    def draw(count: int) -> statistics.Draws:
        found: list[Tensor] = []
        for target, generator in streams:
            start = target.draws(count, unit, generator)
            found.append(target.heights(start))
            for step, steps in ((k.step, 20), (halved, 40)):
                state = start
                for _ in range(steps):
                    state = step(target, state, generator)
                found.append(target.heights(state))
        return tuple(found)

    def judge(heights: statistics.Draws, alpha: float) -> Iterator[Residual]:
        for j, (target, _) in enumerate(streams):
            for i, name in enumerate(_coordinates(target, "extrapolated")):
                yield _extrapolated(k.order, [h[:, i] for h in heights[3 * j : 3 * j + 3]], alpha, name)

    yield from statistics.climb(draw, judge, most_chains)


def _extrapolated(order: int, heights: Sequence[Tensor], alpha: float, what: str) -> Residual:
    """How much farther from the target extrapolation leads than halving has moved, from heights at the start and both ends."""
    power, left, right = 2**order, [], []
    for m in range(1, 5):
        start, whole, half = ((m * math.pi * h).cos() for h in heights)
        wide = 2.0 * power
        extrapolated = (power * half - whole - (power - 1) * start) / (power - 1)
        moved = (half - whole) / (power - 1)
        left.append(statistics.bernstein_mean(extrapolated, 0.0, -wide, wide, alpha=alpha / 8))
        right.append(statistics.bernstein_mean(moved, 0.0, -wide, wide, alpha=alpha / 8))
    near, far = max(right, key=lambda r: r.error), max(left, key=lambda r: r.error)
    bound = max(r.bound for r in left) + max(r.bound for r in right)
    detectable = max(r.detectable or math.inf for r in left) + max(r.detectable or math.inf for r in right)
    return Residual(
        # Where a state is not a number, so is the error.
        far.error - near.error if far.error > near.error else 0.0 * far.error,
        bound,
        Kind.STATISTICAL,
        f"{what}: the mean of cos({left.index(far) + 1} pi h)",
        far.actual,
        0.0,
        source=f"halving moves it by {near.error:.3g}",
        alpha=alpha,
        detectable=detectable,
    )


@claim(given=_runs, draws=True, mutants=slips.STANDSTILL, examples=1)
def moves(k: MarkovKernel, unit: Tensor, seed: int, most_chains: int) -> Iterator[Residual]:
    r"""It moves: after 20 steps at least the promised share of the chains has left its state.

    $P(X_{20} \ne X_0) \ge m$. A chain that never moves leaves every target invariant.

    Error bound: Hoeffding's inequality at $\alpha = 10^{-6}$, for 5,000 chains or as many as the budget allows.
    """
    alpha, beta, chains = statistics.ALPHA, statistics.BETA, min(most_chains, 5000)
    for target, generator in _streams(k, unit, seed):
        start = state = target.draws(chains, unit, generator)
        for _ in range(20):
            state = k.step(target, state, generator)
        share = float((state != start).any(-1).double().mean())
        bound = math.sqrt(math.log(1 / alpha) / (2 * chains))
        yield Residual(
            max(k.moving - share, 0.0),
            bound,
            Kind.STATISTICAL,
            f"share of chains that moved, {target.name}",
            share,
            k.moving,
            source="Hoeffding",
            alpha=alpha,
            detectable=bound + math.sqrt(math.log(1 / beta) / (2 * chains)),
        )


@claim(given=_runs, draws=True, mutants=slips.REJECTION | slips.REFUSAL, repairs=slips.STEP_REPAIRS, examples=1)
def repeats_the_state_on_rejection(k: MarkovKernel, unit: Tensor, seed: int, most_chains: int) -> Iterator[Residual]:
    r"""A rejected proposal repeats the state.

    A rejected proposal repeats the state: it moves as often as it accepts another state than its own, $P(X_1 \ne X_0) =
    \mathbb E\,\alpha(X_0, U)\,1[Y \ne X_0]$ with the proposal Y; without `propose` every proposal is taken for another.

    Error bound: the empirical Bernstein bound at $\alpha = 10^{-6}$ for the mean of the differences of both sides at one
    start, in [-1, 1]; the acceptance is that of standard normal noise of its own.
    """
    if k.log_noise is not None:
        raise NotImplementedError("the noise is not standard normal")
    streams = _streams(k, unit, seed)

    def draw(count: int) -> statistics.Draws:
        found: list[Tensor] = []
        for target, generator in streams:
            start = target.draws(count, unit, generator)
            moved = (k.step(target, start, generator) != start).any(-1)
            noise = torch.randn(start.shape, generator=generator, dtype=start.dtype, device=start.device)
            acceptance = k.acceptance(target, start, noise).double().exp()
            if k.propose is not None:
                acceptance = acceptance * (k.propose(target, start, noise)[0] != start).any(-1)
            found += [moved.double(), acceptance]
        return tuple(found)

    def judge(sides: statistics.Draws, alpha: float) -> Iterator[Residual]:
        for (target, _), moved, acceptance in zip(streams, sides[::2], sides[1::2], strict=True):
            what = f"share of chains that moved, {target.name}"
            # An acceptance above 1 is told by detailed balance.
            found = statistics.bernstein_mean(moved - acceptance.clamp(max=1), 0.0, -1.0, 1.0, alpha=alpha, what=what)
            yield replace(
                found, actual=float(moved.mean()), expected=float(acceptance.mean()), source="the mean acceptance"
            )

    yield from statistics.climb(draw, judge, most_chains)


def _map(k: MarkovKernel, target: Target) -> Callable[[Tensor], Tensor]:
    """The proposal as a map of the phase space to itself, `(2n,)` -> `(2n,)`."""

    def phase(z: Tensor) -> Tensor:
        parts = k.move(target, z[: target.n].unsqueeze(0), z[target.n :].unsqueeze(0))
        return torch.cat([part.reshape(-1) for part in parts])

    return phase


def _jacobian(phase: Callable[[Tensor], Tensor], z: Tensor) -> Ball:
    try:
        return derivative.jacobian(phase, z)
    except Undecided:
        return derivative.difference_jacobian(phase, z)


def _rounded(phase: Callable[[Tensor], Tensor], z: Tensor, image: Tensor) -> Tensor:
    """How large a state is that roundings of the proposal are relative to, seen from the image of z: both, stretched."""
    there, back = (_jacobian(phase, point).mid for point in (z, image))
    size = (z.double().abs().cpu().sum() + image.double().abs().cpu().sum() + 1) * (1 + there.abs().sum())
    return size * (1 + back.abs().sum())


@claim(given=_points, mutants=slips.REVERSE, examples=25)
def the_proposal_is_its_own_inverse(k: MarkovKernel, name: str, x: Tensor, noise: Tensor) -> Iterator[Residual]:
    r"""The reverse noise leads back: $T(T(x, u)) = (x, u)$ for the map $T(x, u) = (y, v)$.

    Error bound: 8 roundings of the state, each stretched by the map's Jacobians there and back.
    """
    phase, z = _map(k, k.target(name)), torch.cat((x, noise))
    image = phase(z)
    yield close(phase(image), z, ulps=8, scale=_rounded(phase, z, image).expand(z.shape), what=f"T(T(x, u)), {name}")


@claim(given=_points, mutants=slips.REVERSE | slips.ACCEPTANCE, repairs=slips.ACCEPTANCE_REPAIRS, examples=25)
def detailed_balance(k: MarkovKernel, name: str, x: Tensor, noise: Tensor) -> Iterator[Residual]:
    r"""Every move is as frequent as its reverse.

    Every move is as frequent as its reverse, with $(y, v) = T(x, u)$.

    $\log\pi(x) + \log\rho(x, u) + \log\alpha(x, u) = \log\pi(y) + \log\rho(y, v) + \log\alpha(y, v) + \log\lvert\det DT(x,
    u)\rvert$. Where $\pi(y) = 0$, nothing may be accepted; and $\alpha \le 1$.

    Error bound: 16 roundings of the terms; the change of the right-hand side when (y, v) moves by 16 roundings, measured;
    and the radius of the determinant.
    """
    target = k.target(name)
    phase, z = _map(k, target), torch.cat((x, noise))
    image = phase(z)
    n = target.n

    def terms(point: Tensor) -> Tensor:
        a, b = point[:n].unsqueeze(0), point[n:].unsqueeze(0)
        return torch.stack(
            [target.log_density(a)[0], k.noise_density(target, a, b)[0], k.acceptance(target, a, b)[0]]
        ).double()

    here, there = terms(z).cpu(), terms(image).cpu()
    yield at_most(here[2], 0.0, what=f"log acceptance, {name}")
    if float(there[0]) == -math.inf:
        yield exactly(float(here[2]), -math.inf, kind=Kind.NUMERICAL, what=f"log acceptance of nowhere, {name}")
        return
    determinant = derivative.log_abs_det(_jacobian(phase, z))
    eps = torch.finfo(x.dtype).eps
    signs = torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=x.dtype, device=x.device).repeat(n)[: 2 * n]
    wobble = 16 * eps * float(_rounded(phase, z, image)) / (1 + float(_jacobian(phase, image).mid.abs().sum()))
    if not wobble < 1:
        raise Undecided("the proposal is so far off that its way back is lost in rounding")
    values = torch.stack([terms(image + s * signs * wobble).cpu().sum() for s in (0.0, 1.0, -1.0)])
    if bool(values.isinf().any()) and not bool(values.isinf().all()):
        raise Undecided("the end of the support lies within rounding of the way back")
    change = float((values - values[0]).abs().nan_to_num(nan=0.0).amax())
    rounding = 16 * eps * float((here.abs() + there.abs()).nan_to_num(posinf=0.0).sum())
    true = Ball(
        there.sum() + determinant.mid,
        rounding + 2 * change + determinant.radius,
        kind=Kind.NUMERICAL,
        source="the reverse move",
    )
    yield close(here.sum(), true, ulps=0, what=f"log frequency of a move, {name}")


def _hostile(target: Target, *, score: bool) -> Target:
    """The target whose log-density, and score if asked, is NaN where its first uniform number is above one half."""

    def beyond(x: Tensor) -> Tensor:
        return ~(target.heights(x)[..., :1] <= 0.5)

    return replace(
        target,
        log_density=lambda x: torch.where(beyond(x)[..., 0], math.nan, target.log_density(x)),
        score=lambda x: torch.where(beyond(x), math.nan, target.score(x)) if score else target.score(x),
    )


@claim(
    given=lambda k, dtype: st.tuples(_unit(k, dtype), strategies.seeds(), st.booleans()),
    mutants=slips.NOT_A_NUMBER,
    examples=6,
)
def a_nan_proposal_is_rejected(k: MarkovKernel, unit: Tensor, seed: int, score: bool) -> Iterator[Residual]:
    r"""A proposal at which the density is not a number is rejected.

    A proposal at which the density is not a number is rejected: where $\log\pi(y)$ is NaN, $\alpha = 0$.

    The target is made hostile: NaN above its median. Started below, 1000 chains stay below for 10 steps. A step that raises an
    exception there goes nowhere, and is not judged.

    Error bound: 0.
    """
    _exact(k)
    if not k.any_target:
        raise NotImplementedError("the step aims at a target of its own")
    for target in k.targets:
        generator = _generator(unit, seed)
        state = target.draws(1000, unit, generator)
        state = state[target.heights(state)[:, 0] <= 0.5]
        hostile = _hostile(target, score=score)
        try:
            for _ in range(10):
                state = k.step(hostile, state, generator)
        except SubjectHangs:
            raise
        except SubjectFault as fault:
            raise Undecided("the step raises an exception where the density is not a number") from fault
        stray = int((~(target.heights(state)[:, 0] <= 0.5)).sum())
        yield exactly(float(stray), 0.0, kind=Kind.NUMERICAL, what=f"chains where the density is NaN, {target.name}")


class _Pair(NamedTuple):
    """Two runs with the same seed, of twenty chains of which the last alone starts where it did."""

    target: Target
    start: Tensor
    first: Tensor
    second: Tensor


def _pairs(k: MarkovKernel, unit: Tensor, seed: int) -> tuple[list[_Pair], bool]:
    """Ten pairs of runs on each target, and whether the step drew alike in both runs of all of them."""
    pairs, alike = [], True
    for target, generator in _streams(k, unit, seed):
        for again in range(10):
            start, others = target.draws(20, unit, generator), target.draws(20, unit, generator)
            others[-1] = start[-1]
            ends, noted = [], []
            for x in (start, others):
                with Consumption() as drawn:
                    ends.append(k.step(target, x, _generator(unit, seed + again)))
                noted.append(drawn)
            pairs.append(_Pair(target, start, *ends))
            alike = alike and noted[0].fixed(noted[1], len(start))
    return pairs, alike


@claim(given=_runs, mutants=slips.BATCH, examples=1)
def chains_are_independent(k: MarkovKernel, unit: Tensor, seed: int) -> Iterator[Residual]:
    r"""A chain's next state depends on its own state and noise only, and has its shape and dtype.

    With the same seed the last of twenty chains goes where it went, whatever the others' states: $X' = f(X, U)$ row by row,
    ten times on each target. A step that draws as many random numbers as the states call for gives the last chain others
    then: `chains_are_independent_in_law` is for it.

    Error bound: 0.
    """
    pairs, alike = _pairs(k, unit, seed)
    if not alike:
        raise NotImplementedError("how much it draws depends on the states, so that it is judged in law")
    for target, start, first, second in pairs:
        yield from _formed(first, start)
        yield exactly(first[-1], second[-1], what=f"the last chain's next state, {target.name}")


def _formed(state: Tensor, start: Tensor) -> Iterator[Residual]:
    yield exactly(tuple(state.shape), tuple(start.shape), kind=Kind.NUMERICAL, what="the shape of the states")
    yield exactly(state.dtype, start.dtype, kind=Kind.NUMERICAL, what="the dtype of the states")


@claim(given=_runs, draws=True, mutants=slips.DEPENDENCE, examples=1)
def chains_are_independent_in_law(k: MarkovKernel, unit: Tensor, seed: int, most_chains: int) -> Iterator[Residual]:
    r"""A chain whose noise is not its own row's is as if alone: other chains' states do not change its law.

    A step that draws as many random numbers as the states call for, as delayed rejection and slice sampling do, cannot be
    compared row by row. With the others' states low, and again with them high, a chain comes out higher as often as lower,
    $P(X' > X'') = P(X' < X'')$, and farther out as often as farther in.

    Error bound: the exact binomial test among the chains that came out otherwise, at $\alpha = 10^{-6}$.
    """
    pairs, alike = _pairs(k, unit, seed)
    if alike:
        raise NotImplementedError("it always draws as much, so that it is judged row by row")
    for _, start, first, _ in pairs:
        yield from _formed(first, start)
    streams = _streams(k, unit, seed)

    def draw(count: int) -> statistics.Draws:
        found: list[Tensor] = []
        for target, generator in streams:
            start, one, other = (target.draws(count, unit, generator) for _ in range(3))
            lower = target.heights(one)[:, :1] < target.heights(other)[:, :1]
            for others in (torch.where(lower, one, other), torch.where(lower, other, one)):
                among = torch.stack((start, others), 1).reshape(2 * count, target.n)
                found.append(target.heights(k.step(target, among, generator)[::2]))
        return tuple(found)

    def judge(heights: statistics.Draws, alpha: float) -> Iterator[Residual]:
        for (target, _), first, second in zip(streams, heights[::2], heights[1::2], strict=True):
            for what, change in (
                ("comes out higher among high ones", second - first),
                ("comes out farther out among high ones", (second - 0.5).abs() - (first - 0.5).abs()),
            ):
                for i, name in enumerate(_coordinates(target, what)):
                    changed = int((change[:, i] != 0).sum())
                    if changed:
                        yield statistics.binomial(int((change[:, i] > 0).sum()), changed, 0.5, alpha=alpha, what=name)

    yield from statistics.climb(draw, judge, most_chains)


@claim(given=_runs, mutants=slips.TARGET, examples=3)
def targets_agree_with_themselves(k: MarkovKernel, unit: Tensor, seed: int) -> Iterator[Residual]:
    r"""A target's density, score and distribution function belong together: $\pi = \lvert\det D F\rvert$.

    These are the oracles of the other laws. Without its constant, the density is compared with that at another draw; without
    `uniforms`, the score alone is compared.

    Error bound: the radii of the Jacobians of the uniform numbers and of the log-density, with 16 roundings.
    """
    for target, generator in _streams(k, unit, seed):
        before: tuple[Tensor, Ball] | None = None
        for x in target.draws(3, unit.double(), generator):
            if target.uniforms is not None:
                true = derivative.log_abs_det(derivative.jacobian(target.uniforms, x))
                found = target.log_density(x)
                if target.normalised:
                    what, scale = f"log-density, {target.name}", 1 + true.mid.abs()
                    yield close(found, true, ulps=16, scale=scale, what=what)
                elif before is not None:
                    what = f"log-density less that at another draw, {target.name}"
                    size = 1 + found.abs() + before[0].abs() + true.mid.abs() + before[1].mid.abs()
                    radius = true.radius + before[1].radius
                    change = Ball(true.mid - before[1].mid, radius, kind=true.kind, source=true.source)
                    yield close(found - before[0], change, ulps=16, scale=size, what=what)
                before = found, true
            slope = derivative.jacobian(target.log_density, x)
            score = Ball(slope.mid[0], slope.radius[0], kind=slope.kind, source=slope.source)
            yield close(target.score(x), score, ulps=16, scale=1 + score.mid.abs(), what=f"score, {target.name}")


@claim(given=_runs, draws=True, mutants=slips.START, examples=1)
def exact_draws_follow_their_target(k: MarkovKernel, unit: Tensor, seed: int, most_chains: int) -> Iterator[Residual]:
    r"""The exact draws that chains are started from follow the target's distribution function: $F(X) \sim U(0, 1)$.

    Error bound: as in `leaves_its_target_invariant`.
    """
    streams = [(target, generator) for target, generator in _streams(k, unit, seed) if target.uniforms is not None]
    if not streams:
        raise NotImplementedError("no target has a distribution function (`uniforms`)")

    def draw(count: int) -> statistics.Draws:
        return tuple(t.heights(t.draws(count, unit.double(), generator)) for t, generator in streams)

    def judge(heights: statistics.Draws, alpha: float) -> Iterator[Residual]:
        for (target, _), draws in zip(streams, heights, strict=True):
            yield from _follows(target, draws, None, alpha, "the exact draws")

    yield from statistics.climb(draw, judge, most_chains)


def check_markov_kernel(
    kernel: MarkovKernel | Step,
    *,
    expected_failures: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> list[Evidence]:
    """Judges one step of a Markov chain Monte Carlo method by every law of a kernel.

    Args:
        kernel: a `MarkovKernel`, or the function `step(target, state, generator)` that one would hold.
        expected_failures, settings, dtype, device: as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample and a diagnosis.
        TypeError: if `kernel` is neither a record nor a function.
    """
    if not isinstance(kernel, MarkovKernel):
        if not callable(kernel):
            raise TypeError(f"kernel must be a MarkovKernel or a function, got {type(kernel).__name__}")
        kernel = MarkovKernel(kernel)
    return check(
        kernel, laws(MarkovKernel), expected_failures=expected_failures, settings=settings, dtype=dtype, device=device
    )
