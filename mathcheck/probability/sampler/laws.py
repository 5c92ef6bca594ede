"""The laws of a sampler, and `check_sampler`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Generator, Tensor

from mathcheck.engine import strategies
from mathcheck.engine.adapting import subject
from mathcheck.engine.check import check
from mathcheck.engine.claim import Settings, claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Kind, Residual, exactly
from mathcheck.oracles import statistics
from mathcheck.probability.distribution_function import is_distribution_function
from mathcheck.probability.kernels.float_order import from_key, key, middle
from mathcheck.probability.sampler import slips
from mathcheck.probability.sampler.record import Map, Sampler
from mathcheck.probability.sampler.slips import Slip

# What a repair of the tails replaces on either side.
_OUTER = 0.05


def _seeds(s: Sampler, dtype: torch.dtype) -> st.SearchStrategy[tuple[int]]:
    return st.tuples(strategies.seeds())


def _draws(s: Sampler, seed: int, n: int) -> Tensor:
    return s.sample(n, Generator().manual_seed(seed)).detach()


def _climb(
    s: Sampler, seed: int, most: int, judge: Callable[[Tensor, float], Iterable[Residual]]
) -> Iterator[Residual]:
    """Judges more and more draws of one stream, up to as many as the record says, or else `most`."""
    generator = Generator().manual_seed(seed)

    def draw(count: int) -> statistics.Draws:
        return (s.sample(count, generator).detach(),)

    yield from statistics.climb(draw, lambda drawn, alpha: judge(drawn[0], alpha), s.draws or most)


def _cdf(s: Sampler) -> Map:
    if s.cdf is None:
        raise NotImplementedError("the sampler has no cdf")
    return s.cdf


@claim(
    given=_seeds, draws=True, mutants=slips.SPREAD | slips.PLACE, repairs={**slips.SPREAD, **slips.PLACE}, examples=1
)
def draws_follow_the_distribution(s: Sampler, seed: int, most_draws: int) -> Iterator[Residual]:
    r"""The draws follow the distribution function: $\sup_x\lvert F_n(x) - F(x)\rvert$ is what chance allows.

    Error bound: $\sqrt{\ln(2/\alpha)/2n}$ with $\alpha = 10^{-6}$ (Dvoretzky, Kiefer, Wolfowitz, Massart), for every F.
    """
    cdf = _cdf(s)
    yield from _climb(s, seed, most_draws, lambda x, alpha: [statistics.dkw(x, cdf, left_cdf=s.left_cdf, alpha=alpha)])


def _places(cdf: Map, levels: Tensor) -> Tensor:
    """For each level the smallest float x with F(x) >= level."""
    largest = torch.full_like(levels, torch.finfo(torch.float64).max, dtype=torch.float64)
    low, high = key(-largest), key(largest)
    while bool((high > low + 1).any()):
        centre = middle(low, high)
        enough = cdf(from_key(centre, torch.float64)).clamp(0.0, 1.0) >= levels
        low, high = torch.where(enough, low, centre), torch.where(enough, centre, high)
    return from_key(high, torch.float64)


def _place(cdf: Map, level: float) -> float:
    return float(_places(cdf, torch.tensor([level], dtype=torch.float64))[0])


def _at(cdf: Map, x: float) -> float:
    return min(max(float(cdf(torch.tensor([x], dtype=torch.float64))[0]), 0.0), 1.0)


@claim(
    given=_seeds,
    mutants=slips.DISTRIBUTION,
    repairs={"the distribution function is kept between 0 and 1": slips.cdf(lambda level: level.clamp(0.0, 1.0))},
    examples=3,
)
def cdf_rises_from_zero_to_one(s: Sampler, seed: int) -> Iterator[Residual]:
    r"""The distribution function rises from 0 to 1 on the whole line: $0 \le F(x) \le F(y) \le 1$ for $x \le y$.

    So do the left limits, where there are any, between the values. F is 0 below the bounds of the draws and 1 above,
    where they are given. x goes over draws and over places far beyond all of them; where F raises an exception there it
    is not judged.

    Error bound: 8 roundings of $F(x)(1 + \lvert\log F(x)\rvert)$ and what F changes when x is moved by 8 roundings; 0 below 0.
    """
    cdf, x = _cdf(s), _draws(s, seed, 1000).double().cpu()
    x = x[x.isfinite()].sort().values
    if not len(x):
        raise NotImplementedError("no draw is finite")
    low, high = s.bounds or (-math.inf, math.inf)
    first, last = (low if math.isfinite(low) else float(x[0])), (high if math.isfinite(high) else float(x[-1]))
    steps = torch.tensor([0.25, 1.0, 10.0, 1e3], dtype=torch.float64) * max(1.0, last - first)
    ends = torch.tensor([first, last], dtype=torch.float64)
    x = torch.cat([x[:: max(1, len(x) // 20)], first - steps, ends, last + steps]).sort().values
    yield from is_distribution_function(cdf, x, left=s.left_cdf, support=(low, high))


def _outer_drawn_anew(*, light: bool) -> Slip:
    """Draws beyond the outer twentieths are replaced by true ones, where fewer than there should be lie far out."""

    def slip(s: Sampler) -> Sampler:
        if s.left_cdf is not None:
            raise NotImplementedError("a distribution with jumps may have no tails")
        cdf, x = _cdf(s), _draws(s, 0, s.draws or 100_000).double().cpu()
        far = float(((x <= _place(cdf, slips.TAIL)) | (x > _place(cdf, 1 - slips.TAIL))).double().mean())
        if (far < 2 * slips.TAIL) is not light:
            raise NotImplementedError("the tails go wrong the other way, or not at all")
        low, high = _place(cdf, _OUTER), _place(cdf, 1 - _OUTER)

        def sample(n: int, generator: Generator) -> Tensor:
            x = s.sample(n, generator)
            level = _OUTER * torch.rand(x.shape, generator=generator, dtype=torch.float64)
            for outer, levels in ((x < low, level), (x > high, 1 - level)):
                x = x.masked_scatter(outer, _places(cdf, levels[outer]).to(x))
            return x

        return replace(s, sample=sample)

    return slip


@claim(
    given=_seeds,
    draws=True,
    mutants={"the tails are cut off (draws beyond are put at the cut)": slips.clipped, **slips.PLACE},
    repairs={
        "draws beyond the outer twentieths are drawn anew (its tails are too light)": _outer_drawn_anew(light=True),
        "draws beyond the outer twentieths are drawn anew (its tails are too heavy)": _outer_drawn_anew(light=False),
    },
    examples=1,
)
def tails_hold_their_probability(s: Sampler, seed: int, most_draws: int) -> Iterator[Residual]:
    r"""Each tail holds its probability: $P(X \le a) = F(a)$ and $P(X > b) = 1 - F(b)$ for a and b far out.

    About a thousandth lies beyond, where the distribution function's largest error says little.

    Error bound: the exact two-sided binomial test of each tail, at $\alpha/2$; with jumps $P(X < a)$ and $P(X \ge b)$
    are tested as well, all four at $\alpha/4$.
    """
    cdf = _cdf(s)
    low, high = _place(cdf, slips.TAIL), _place(cdf, 1 - slips.TAIL)
    sure = [_at(cdf, low), 1 - _at(cdf, high)]
    if s.left_cdf is not None:
        sure += [_at(s.left_cdf, low), 1 - _at(s.left_cdf, high)]

    def judge(drawn: Tensor, alpha: float) -> Iterator[Residual]:
        x = drawn.double().cpu()
        tails = [
            (f"P(X <= {low:.6g})", x <= low),
            (f"P(X > {high:.6g})", x > high),
            (f"P(X < {low:.6g})", x < low),
            (f"P(X >= {high:.6g})", x >= high),
        ]
        for (what, beyond), p in zip(tails, sure, strict=False):
            count = int((beyond | x.isnan()).sum())
            yield statistics.binomial(count, len(x), p, alpha=alpha / len(sure), what=what)

    yield from _climb(s, seed, most_draws, judge)


@claim(given=_seeds, draws=True, mutants=slips.PLACE, repairs=slips.PLACE, examples=1)
def draws_have_the_mean(s: Sampler, seed: int, most_draws: int) -> Iterator[Residual]:
    r"""The draws have the mean: $\mathbb E X = m$.

    Error bound: for bounded draws the capital of a bet against the mean stays below $1/\alpha$; otherwise Catoni's
    estimate is within its bound for the stated variance. Both hold at every n, with $\alpha = 10^{-6}$.
    """
    mean, bounds, variance = s.mean, s.bounds, s.variance or 0.0
    if mean is None:
        raise NotImplementedError("the sampler's mean is unknown")

    def judge(x: Tensor, alpha: float) -> Iterator[Residual]:
        if bounds is not None:
            yield statistics.bounded_mean(x, mean, *bounds, alpha=alpha)
        elif len(x) > 2 * math.log(2 / alpha):
            yield statistics.catoni_mean(x, mean, variance, alpha=alpha)

    yield from _climb(s, seed, most_draws, judge)


@claim(
    given=_seeds,
    draws=True,
    mutants={
        "every draw is used twice": slips.then(slips.doubled),
        "the draws are sorted": slips.then(lambda x: x.sort().values),
        "a draw is followed by its mirror image": slips.then(
            lambda x: torch.where(
                torch.arange(len(x), device=x.device) % 2 == 0,
                x,
                x.sort(descending=True).values[x.roll(1).argsort().argsort()],
            )
        ),
    },
    examples=1,
)
def successive_draws_are_independent(s: Sampler, seed: int, most_draws: int) -> Iterator[Residual]:
    r"""A draw says nothing about the next: $P(X_{2i} \le a,\ X_{2i+1} \le a) = F(a)^2$ with a in the middle.

    Error bound: the exact two-sided binomial test at $\alpha = 10^{-6}$, over pairs that do not overlap.
    """
    cdf = _cdf(s)
    a = _place(cdf, 0.5)
    right, left = _at(cdf, a), _at(s.left_cdf or cdf, a)
    # Of the two events at a jump, the one that is less sure says more.
    closed = abs(right - 0.5) <= abs(left - 0.5)
    what, p = f"P(two draws {'<=' if closed else '<'} {a:.6g})", (right if closed else left) ** 2

    def judge(drawn: Tensor, alpha: float) -> Iterator[Residual]:
        x = drawn.double().cpu()
        both = ((x <= a) if closed else (x < a))[: len(x) // 2 * 2].reshape(-1, 2).all(-1)
        yield statistics.binomial(int(both.sum()), len(both), p, alpha=alpha, what=what)

    yield from _climb(s, seed, most_draws, judge)


@claim(
    given=_seeds,
    mutants={
        "the generator is ignored and another seed used at every call": slips.forgetful,
        "torch's global generator is used": slips.from_global_generator,
    },
    examples=3,
)
def one_seed_gives_one_sample(s: Sampler, seed: int) -> Iterator[Residual]:
    r"""The same seed gives the same draws, whatever else was drawn: $X(\omega)$ is a function of the generator alone.

    Error bound: 0.
    """
    first = _draws(s, seed, 100)
    torch.rand(17)
    yield exactly(_draws(s, seed, 100), first, what="the draws of the same seed")


@claim(
    given=_seeds,
    mutants={
        "the generator is ignored and a fixed seed used": lambda s: replace(
            s, sample=lambda n, generator: s.sample(n, Generator().manual_seed(0))
        ),
    },
    examples=3,
)
def other_seeds_give_other_samples(s: Sampler, seed: int) -> Iterator[Residual]:
    r"""Another seed gives other draws, and so does the next call: $X \ne X'$ for independent noise.

    Error bound: 0. Where no value takes more than 99 of 100 draws, 10,000 draws agree by chance with probability below
    $0.99^{10000} < 10^{-43}$; other samplers are not judged.
    """
    generator = Generator().manual_seed(seed)
    first, following = (s.sample(10_000, generator) for _ in range(2))
    if int(torch.unique(first, return_counts=True)[1].max()) > 9_900:
        raise NotImplementedError("nearly all draws have the same value")
    for what, other in (("another seed", _draws(s, seed + 1, 10_000)), ("the next call", following)):
        yield exactly(torch.equal(first, other), False, kind=Kind.STATISTICAL, what=f"the draws of {what} are the same")


@claim(
    given=_seeds,
    mutants={
        "one draw is missing": slips.then(lambda x: x[1:]),
        "a dimension is added": slips.then(lambda x: x[:, None]),
    },
    examples=3,
)
def shape_is_the_number_of_draws(s: Sampler, seed: int) -> Iterator[Residual]:
    r"""Asked for some draws it gives as many numbers of the promised dtype: $X_1, \dots, X_n$ of shape $(n,)$.

    Error bound: 0.
    """
    for n in (1, 7):
        x = s.sample(n, Generator().manual_seed(seed))
        yield exactly(tuple(x.shape), (n,), kind=Kind.NUMERICAL, what="the shape of the draws")
        if s.dtype is not None:
            yield exactly(x.dtype, s.dtype, kind=Kind.NUMERICAL, what="the dtype of the draws")


def check_sampler(
    sampler: Sampler | Any,
    *,
    expected_failures: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> list[Evidence]:
    r"""Judges draws $X_1, \dots, X_n$ by every law of a sampler.

    Args:
        sampler: the sampler under test.
        expected_failures, settings, dtype, device: as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the seed, what was found and a diagnosis.
        TypeError: if `sampler` is no `Sampler`, and no adapter makes one of it.
    """
    sampler = subject("sampler", Sampler, sampler)
    return check(
        sampler, laws(Sampler), expected_failures=expected_failures, settings=settings, dtype=dtype, device=device
    )
