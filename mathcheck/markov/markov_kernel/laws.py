"""The laws of a Markov kernel, and `check_markov_kernel`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine.check import check
from mathcheck.engine.claim import Settings, claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Ball, Kind, Residual, Undecided, at_most, close, exactly
from mathcheck.markov.markov_kernel import slips
from mathcheck.markov.markov_kernel.record import MarkovKernel, Step
from mathcheck.markov.targets import Target
from mathcheck.oracles import derivative, statistics

CHAINS = 20_000


def _unit(k: MarkovKernel, dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
    """A zero that says in which dtype and on which device to work."""
    return st.just(torch.zeros((), dtype=dtype))


def _seeds() -> st.SearchStrategy[int]:
    return st.integers(0, 2**31 - 1)


def _runs(k: MarkovKernel, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, int]]:
    return st.tuples(_unit(k, dtype), _seeds())


def _points(k: MarkovKernel, dtype: torch.dtype) -> st.SearchStrategy[tuple[str, Tensor, Tensor]]:
    """A target, a draw from it, and standard normal noise."""

    def of(name: str, seed: int) -> tuple[str, Tensor, Tensor]:
        target, generator = k.target(name), torch.Generator().manual_seed(seed)
        x = target.sample(1, generator)[0].to(dtype)
        return name, x, torch.randn(target.n, generator=generator, dtype=torch.float64).to(dtype)

    return st.builds(of, st.sampled_from([t.name for t in k.targets]), _seeds())


def _generator(unit: Tensor, seed: int) -> torch.Generator:
    return torch.Generator(device=unit.device).manual_seed(seed)


def _follows(target: Target, states: Tensor, what: str) -> Iterator[Residual]:
    """Do the states follow the target? Coordinate by coordinate, as uniform numbers."""
    uniforms = target.uniforms(states.double())
    for i in range(target.n):
        name = f"{what}, coordinate {i}, {target.name}" if target.n > 1 else f"{what}, {target.name}"
        yield statistics.dkw(uniforms[:, i], lambda u: u.clamp(0, 1), what=name)


@claim(given=_runs, mutants=slips.REJECTION | slips.AIM, repairs=slips.STEP_REPAIRS, examples=2)
def leaves_its_target_invariant(k: MarkovKernel, unit: Tensor, seed: int) -> Iterator[Residual]:
    r"""Started from its target exactly, the chain follows the target after 1 and after 20 steps: $\pi K = \pi$.

    Error bound: that of Dvoretzky, Kiefer and Wolfowitz for 20,000 independent chains at $\alpha = 10^{-6}$ for each
    coordinate's distribution function; an error of 0.03 in any of them would have been caught.
    """
    for target in k.targets:
        generator = _generator(unit, seed)
        state = target.draws(CHAINS, unit, generator)
        for after in (1, 20):
            for _ in range(1 if after == 1 else 19):
                state = k.step(target, state, generator)
            yield from _follows(target, state, f"the distribution after {after} steps")


@claim(
    given=_runs,
    mutants=slips.REJECTION | slips.DRIFT,
    repairs=slips.STEP_REPAIRS,
    examples=2,
)
def a_step_is_as_likely_as_its_reverse(k: MarkovKernel, unit: Tensor, seed: int) -> Iterator[Residual]:
    r"""Started from its target, a reversible chain goes up as often as down: $P(h(X_1) > h(X_0)) = P(h(X_1) < h(X_0))$.

    For h the first uniform number that the target makes of a state, and for its distance from one half.

    Error bound: the exact binomial test among the chains of 20,000 that changed h, at $\alpha = 10^{-6}$.
    """
    if not k.reversible:
        raise NotImplementedError("the kernel is not reversible")
    for target in k.targets:
        generator = _generator(unit, seed)
        start = target.draws(CHAINS, unit, generator)
        first, second = (target.uniforms(x.double())[:, 0] for x in (start, k.step(target, start, generator)))
        for what, change in (
            ("goes up", second - first),
            ("goes outwards", (second - 0.5).abs() - (first - 0.5).abs()),
        ):
            changed = int((change != 0).sum())
            if changed:
                yield statistics.binomial(int((change > 0).sum()), changed, 0.5, what=f"{what}, {target.name}")


@claim(given=_runs, mutants=slips.STANDSTILL, examples=2)
def moves(k: MarkovKernel, unit: Tensor, seed: int) -> Iterator[Residual]:
    r"""It moves: after 20 steps at least the promised share of the chains has left its state.

    $P(X_{20} \ne X_0) \ge m$. A chain that never moves leaves every target invariant.

    Error bound: Hoeffding's inequality for 2,000 chains at $\alpha = 10^{-6}$.
    """
    chains, alpha, beta = 2000, statistics.ALPHA, statistics.BETA
    for target in k.targets:
        generator = _generator(unit, seed)
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


@claim(given=_runs, mutants=slips.REJECTION | slips.REFUSAL, repairs=slips.STEP_REPAIRS, examples=2)
def repeats_the_state_on_rejection(k: MarkovKernel, unit: Tensor, seed: int) -> Iterator[Residual]:
    r"""A rejected proposal repeats the state.

    A rejected proposal repeats the state: it moves as often as it accepts another state than its own, $P(X_1 \ne X_0) =
    \mathbb E\,\alpha(X_0, U)\,1[Y \ne X_0]$ with the proposal Y; without `propose` every proposal is taken for another.

    Error bound: Hoeffding's inequality for the difference of two means of 20,000 draws from [0, 1] at $\alpha =
    10^{-6}$; the acceptance is averaged over standard normal noise of its own.
    """
    alpha, beta = statistics.ALPHA, statistics.BETA
    if k.log_noise is not None:
        raise NotImplementedError("the noise is not standard normal")
    for target in k.targets:
        generator = _generator(unit, seed)
        start = target.draws(CHAINS, unit, generator)
        moved = float((k.step(target, start, generator) != start).any(-1).double().mean())
        noise = torch.randn(start.shape, generator=generator, dtype=start.dtype, device=start.device)
        acceptance = k.acceptance(target, start, noise).double().exp()
        if k.propose is not None:
            acceptance = acceptance * (k.propose(target, start, noise)[0] != start).any(-1)
        rate = float(acceptance.mean())
        bound = math.sqrt(math.log(2 / alpha) / CHAINS)
        yield Residual(
            abs(moved - rate),
            bound,
            Kind.STATISTICAL,
            f"share of chains that moved, {target.name}",
            moved,
            rate,
            source="the mean acceptance",
            alpha=alpha,
            detectable=bound + math.sqrt(math.log(1 / beta) / CHAINS),
        )


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
        return ~(target.uniforms(x.double())[..., :1] <= 0.5)

    return replace(
        target,
        log_density=lambda x: torch.where(beyond(x)[..., 0], math.nan, target.log_density(x)),
        score=lambda x: torch.where(beyond(x), math.nan, target.score(x)) if score else target.score(x),
    )


@claim(
    given=lambda k, dtype: st.tuples(_unit(k, dtype), _seeds(), st.booleans()), mutants=slips.NOT_A_NUMBER, examples=6
)
def a_nan_proposal_is_rejected(k: MarkovKernel, unit: Tensor, seed: int, score: bool) -> Iterator[Residual]:
    r"""A proposal at which the density is not a number is rejected.

    A proposal at which the density is not a number is rejected: where $\log\pi(y)$ is NaN, $\alpha = 0$.

    The target is made hostile: NaN above its median. Started below, 1000 chains stay below for 10 steps.

    Error bound: 0.
    """
    if not k.any_target:
        raise NotImplementedError("the step aims at a target of its own")
    for target in k.targets:
        generator = _generator(unit, seed)
        state = target.draws(1000, unit, generator)
        state = state[target.uniforms(state.double())[:, 0] <= 0.5]
        hostile = _hostile(target, score=score)
        for _ in range(10):
            state = k.step(hostile, state, generator)
        stray = int((~(target.uniforms(state.double())[:, 0] <= 0.5)).sum())
        yield exactly(float(stray), 0.0, kind=Kind.NUMERICAL, what=f"chains where the density is NaN, {target.name}")


@claim(given=_runs, mutants=slips.BATCH, examples=10)
def chains_are_independent(k: MarkovKernel, unit: Tensor, seed: int) -> Iterator[Residual]:
    r"""A chain's next state depends on its own state and noise only, and has its shape and dtype.

    With the same seed the last chain goes where it went, whatever the others' states: $X' = f(X, U)$ row by row.

    Error bound: 0.
    """
    for target in k.targets:
        generator = _generator(unit, seed)
        start, others = target.draws(20, unit, generator), target.draws(20, unit, generator)
        others[-1] = start[-1]
        first, second = (k.step(target, x, _generator(unit, seed)) for x in (start, others))
        yield exactly(tuple(first.shape), tuple(start.shape), kind=Kind.NUMERICAL, what="the shape of the states")
        yield exactly(first.dtype, start.dtype, kind=Kind.NUMERICAL, what="the dtype of the states")
        yield exactly(first[-1], second[-1], what=f"the last chain's next state, {target.name}")


@claim(given=_runs, mutants=slips.TARGET, examples=3)
def targets_agree_with_themselves(k: MarkovKernel, unit: Tensor, seed: int) -> Iterator[Residual]:
    r"""A target's density, score, exact draws and distribution function belong together: $\pi = \lvert\det D F\rvert$.

    These are the oracles of the other laws.

    Error bound: the radii of the Jacobians of the uniform numbers and of the log-density, with 16 roundings; for the
    draws as in `leaves_its_target_invariant`.
    """
    for target in k.targets:
        draws = target.draws(CHAINS, unit.double(), _generator(unit, seed))
        for x in draws[:3]:
            if target.normalised:
                true = derivative.log_abs_det(derivative.jacobian(target.uniforms, x))
                yield close(
                    target.log_density(x), true, ulps=16, scale=1 + true.mid.abs(), what=f"log-density, {target.name}"
                )
            slope = derivative.jacobian(target.log_density, x)
            score = Ball(slope.mid[0], slope.radius[0], kind=slope.kind, source=slope.source)
            yield close(target.score(x), score, ulps=16, scale=1 + score.mid.abs(), what=f"score, {target.name}")
        yield from _follows(target, draws, "the exact draws")


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
