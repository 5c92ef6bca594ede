r"""The gambler's ruin: the probability of reaching a target before 0, exactly and by importance sampling.

A gambler with i coins bets one coin at a time and wins each bet with probability p, until he has N coins or none. With
$r = (1-p)/p$ he reaches N with probability $(1 - r^i)/(1 - r^N)$. With a limited number of bets the probability is a
finite sum; where it is tiny it is estimated by betting with other odds q and weighting each path with the ratio of its
probabilities, *up to the bet that decided it*.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import torch
from hypothesis import strategies as st
from torch import Generator, Tensor

from mathcheck.engine import arguments
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Ball, Kind, Residual, close, exactly
from mathcheck.oracles import arb, enumeration
from mathcheck.probability.ruin_paths import check_game, sample_log_weights, stopped_log_weight
from mathcheck.probability.sampler import Sampler


def hit_probability(start: int, target: int, win: Fraction) -> Fraction:
    r"""$\frac{1 - r^i}{1 - r^N}$ with $r = (1-p)/p$, and $i/N$ for a fair game: the target is reached before 0.

    Args:
        start: i, from 0 to N.
        target: N, at least 1.
        win: p, strictly between 0 and 1.

    Raises:
        TypeError, ValueError: for arguments out of range, or odds that are no `Fraction`.
    """
    check_game(start, target)
    arguments.fractions(0, 1, win=win)
    r = (1 - win) / win
    return Fraction(start, target) if r == 1 else (1 - r**start) / (1 - r**target)


def hit_within(start: int, target: int, horizon: int, win: Fraction) -> Fraction:
    r"""The target is reached before 0 and within K bets, exactly: one bet after the other over all fortunes.

    Fortunes of 0 and N are left no more. With $p = a/b$ all probabilities after n bets are multiples of $b^{-n}$, so
    that only integers are added.

    Args:
        start: i, from 0 to N.
        target: N, at least 1.
        horizon: K, at least 0.
        win: p, strictly between 0 and 1.

    Raises:
        TypeError, ValueError: as `hit_probability`.
    """
    check_game(start, target, horizon)
    arguments.fractions(0, 1, win=win)
    up, down, whole = win.numerator, win.denominator - win.numerator, win.denominator
    reached = int(start == target)
    inside = [int(i == start and 0 < i < target) for i in range(target + 1)]
    for _ in range(horizon):
        reached = reached * whole + inside[target - 1] * up
        inside = [0, *(inside[i - 1] * up + inside[i + 1] * down for i in range(1, target)), 0]
    return Fraction(reached, whole**horizon)


def _log1mexp(x: Tensor) -> Tensor:
    r"""$\log(1 - e^x)$ for $x < 0$, relatively accurate."""
    near = x > -math.log(2)
    small, large = torch.where(near, x, -torch.ones_like(x)), torch.where(near, -torch.ones_like(x), x)
    return torch.where(near, (-torch.expm1(small)).log(), (-large.exp()).log1p())


def log_hit_probability(start: Tensor, target: Tensor, win: Tensor) -> Tensor:
    r"""$\log\frac{1 - r^i}{1 - r^N}$ with $r = (1-p)/p$, at any odds and for fortunes of any size.

    For $r > 1$ both powers are taken of $1/r$, so that nothing overflows, and close to a fair game $\log r$ comes from
    $1 - 2p$, so that nothing cancels.

    Args:
        start: i, `(*batch,)`, whole numbers from 1 to N.
        target: N, `(*batch,)`.
        win: p, `(*batch,)`, strictly between 0 and 1; the result has its dtype.

    Returns:
        `(*batch,)`.

    Raises:
        TypeError, ValueError: for shapes that differ, odds that are no floats, or arguments out of range.
    """
    arguments.floating(win=win)
    arguments.instances(Tensor, start=start, target=target)
    if start.shape != win.shape or target.shape != win.shape:
        raise ValueError(
            f"start, target and win must have one shape, got {tuple(start.shape)}, {tuple(target.shape)} "
            f"and {tuple(win.shape)}"
        )
    if not bool(((start >= 1) & (start <= target) & (win > 0) & (win < 1)).all()):
        raise ValueError("1 <= start <= target and 0 < win < 1 must hold, got an entry outside")
    i, n = start.to(win.dtype), target.to(win.dtype)
    middle = (win > 0.25) & (win < 0.75)
    log_r = torch.where(middle, ((1 - 2 * win) / win).log1p(), (-win).log1p() - win.log())
    size = torch.where(log_r == 0, -torch.ones_like(log_r), -log_r.abs())
    ratio = _log1mexp(i * size) - _log1mexp(n * size) - (n - i) * log_r.clamp(min=0)
    return torch.where(log_r == 0, (i / n).log(), ratio)


# A roulette player in small: 3 coins, 6 wanted, 12 bets at p = 18/37, sampled with q = 0.55.
_SMALL = (3, 6, 12)
weights = Sampler(
    lambda n, generator: sample_log_weights(n, *_SMALL, 18 / 37, 0.55, generator).exp(),
    mean=float(hit_within(*_SMALL, Fraction(18, 37))),
    bounds=(0.0, 1.0),
    dtype=torch.float64,
)

HitProbability = Callable[[int, int, Fraction], Fraction]
HitWithin = Callable[[int, int, int, Fraction], Fraction]
Weight = Callable[[Sequence[bool], int, int, Fraction, Fraction], Fraction]
LogWeight = Callable[[Tensor, int, int, float, float], Tensor]


def stopped_weight(steps: Sequence[bool], start: int, target: int, win: Fraction, proposal: Fraction) -> Fraction:
    """The weight of one path in rational numbers, bet by bet, up to the one that decides it; 0 if it misses the target.

    Args, Raises: as `hit_probability`; a step is True for a win.
    """
    check_game(start, target)
    arguments.sequences(bool, steps=steps)
    arguments.fractions(0, 1, win=win, proposal=proposal)
    fortune, weight = start, Fraction(1)
    for up in steps:
        if fortune in (0, target):
            break
        fortune += 1 if up else -1
        weight *= win / proposal if up else (1 - win) / (1 - proposal)
    return weight if fortune == target else Fraction(0)


def _decided(steps: Sequence[bool], start: int, target: int) -> int:
    """After how many bets the game is over; all of them if it is not."""
    fortunes = itertools.accumulate((1 if up else -1 for up in steps), initial=start)
    return next((k for k, fortune in enumerate(fortunes) if fortune in (0, target)), len(steps))


def _full_weight(steps: Sequence[bool], start: int, target: int, win: Fraction, proposal: Fraction) -> Fraction:
    """The same with the weights of all bets."""
    reached = stopped_weight(steps, start, target, win, proposal) > 0
    ratios = (win / proposal if up else (1 - win) / (1 - proposal) for up in steps)
    return math.prod(ratios, start=Fraction(1)) if reached else Fraction(0)


def _with_debt(steps: Sequence[bool], start: int, target: int, win: Fraction, proposal: Fraction) -> Fraction:
    """The weight where a gambler without a coin bets on."""
    return stopped_weight(steps, start + len(steps), target + len(steps), win, proposal)


_ODDS = st.sampled_from([Fraction(1, 2), Fraction(18, 37), Fraction(1, 3), Fraction(11, 20), Fraction(3, 4)])


def _games(subject: object, dtype: torch.dtype, bets: int = 7) -> st.SearchStrategy[tuple[int, int, int]]:
    return st.tuples(st.integers(2, 5), st.integers(1, 4), st.integers(1, bets)).map(
        lambda g: (min(g[1], g[0] - 1), g[0], g[2])
    )


@claim(
    given=lambda h, dtype: st.tuples(
        st.integers(1, 8), st.one_of(_ODDS, st.builds(Fraction, st.integers(1, 19), st.just(20)))
    ),
    reference=hit_probability,
    mutants={
        "the odds are inverted": lambda h: lambda i, n, p: h(i, n, 1 - p),
        "the fortune is counted from the target": lambda h: lambda i, n, p: h(n - i, n, p),
        "a gambler without a coin bets on": lambda h: (
            lambda i, n, p: Fraction(1) if 2 * p >= 1 else (p / (1 - p)) ** (n - i)
        ),
        "every game is fair": lambda h: lambda i, n, p: Fraction(i, n),
    },
)
def closed_form_solves_the_recurrence(hit: HitProbability, target: int, win: Fraction) -> Iterator[Residual]:
    r"""The closed form satisfies the equations of the first bet, whose solution is unique.

    $h(0) = 0$, $h(N) = 1$ and $h(i) = p\,h(i+1) + (1-p)\,h(i-1)$ for $0 < i < N$.

    Error bound: 0; rational numbers.
    """
    h = [hit(i, target, win) for i in range(target + 1)]
    yield exactly((h[0], h[-1]), (Fraction(0), Fraction(1)), what="h(0) and h(N)")
    after = [win * h[i + 1] + (1 - win) * h[i - 1] for i in range(1, target)]
    yield exactly(h[1:-1], after, what="h(i) and the mean of h after one bet")


@claim(
    given=lambda f, dtype: st.tuples(
        st.integers(1, 200),
        st.integers(0, 200),
        st.one_of(st.sampled_from([0.5, 18 / 37, 0.5 + 2.0**-20, 0.25, 0.75, 0.999]), st.floats(0.01, 0.99)).map(
            lambda p: torch.tensor(p, dtype=dtype)
        ),
    ),
    reference=log_hit_probability,
    mutants={
        "the formula is computed as it stands": lambda f: (
            lambda i, n, p: ((1 - ((1 - p) / p) ** i) / (1 - ((1 - p) / p) ** n)).log()
        ),
        "the odds are inverted": lambda f: lambda i, n, p: f(i, n, 1 - p),
        "the fortune is counted from the target": lambda f: lambda i, n, p: f((n - i).clamp(min=1), n, p),
    },
    uses=(closed_form_solves_the_recurrence,),
)
def logarithm_is_that_of_the_closed_form(
    log_hit: Callable[[Tensor, Tensor, Tensor], Tensor], start: int, more: int, win: Tensor
) -> Iterator[Residual]:
    r"""In floating point the logarithm keeps its digits at any odds: $\log\frac{1 - r^i}{1 - r^N}$.

    Error bound: 16 roundings of the value, of $N\lvert\log r\rvert$ in an unfavourable game, and of each $\log(1 - e^x)$,
    $x = -i\lvert\log r\rvert, -N\lvert\log r\rvert$, with its condition $\lvert x\rvert/(e^{\lvert x\rvert} - 1) \le 1$.
    """
    target = start + more
    p = Fraction(float(win))
    true = enumeration.log_ball(hit_probability(start, target, p))
    slope = abs(math.log((1 - p) / p))
    terms = [
        abs(math.log(-math.expm1(-k * slope))) + k * slope / math.expm1(min(k * slope, 700.0)) if slope else 0.0
        for k in (start, target)
    ]
    size = float(true.mid.abs()) + sum(terms) + (target * slope if 2 * p < 1 else 0.0)
    coins, wanted = (torch.tensor(k, device=win.device) for k in (start, target))
    yield close(log_hit(coins, wanted, win), true, ulps=16, scale=size, what="log h(i)")


def _by_images(start: int, target: int, horizon: int, win: Fraction) -> Fraction:
    """The same by reflection: paths from start to target - 1 inside (0, target), then a win; at every number of bets."""

    def paths(n: int, to: int) -> int:
        """Paths of n bets, free to go anywhere, that gain `to`."""
        ups, odd = divmod(n + to, 2)
        return math.comb(n, ups) if not odd and 0 <= ups <= n else 0

    total = Fraction(0)
    for n in range(1, horizon + 1):
        shifts = range(-n // (2 * target) - 1, n // (2 * target) + 2)
        inside = sum(
            paths(n - 1, target - 1 - start + 2 * k * target) - paths(n - 1, target - 1 + start + 2 * k * target)
            for k in shifts
        )
        wins, odd = divmod(n + target - start, 2)
        total += 0 if odd else inside * win**wins * (1 - win) ** (n - wins)
    return total


@claim(
    given=lambda h, dtype: st.tuples(_games(h, dtype), _ODDS, st.integers(0, 40)),
    reference=hit_within,
    mutants={
        "a gambler without a coin bets on": lambda h: lambda i, n, k, p: h(i + k, n + k, k, p),
        "only the last bet counts": lambda h: lambda i, n, k, p: h(i, n, k, p) - h(i, n, k - 1, p),
        "one more bet is allowed": lambda h: lambda i, n, k, p: h(i, n, k + 1, p),
        "there is no limit": lambda h: lambda i, n, k, p: hit_probability(i, n, p),
    },
)
def finite_horizon_is_exact(hit: HitWithin, game: tuple[int, int, int], win: Fraction, more: int) -> Iterator[Residual]:
    r"""Within a number of bets the probability is the sum over all paths, enumerated or reflected: $\sum p^u(1-p)^d$.

    All $2^K$ paths for K up to 7; for more the method of images,
    $\sum_k \binom{n-1}{\cdot} - \binom{n-1}{\cdot}$ over the mirror images of the start in both ends.

    Error bound: 0; rational numbers.
    """
    start, target, horizon = game
    steps = enumeration.product({True: win, False: 1 - win}, horizon)
    reached = enumeration.expectation(steps, lambda path: int(stopped_weight(path, start, target, win, win) > 0))
    yield exactly(hit(start, target, horizon, win), reached, what="the sum over all paths")
    yield exactly(
        hit(start, target, horizon + more, win),
        _by_images(start, target, horizon + more, win),
        what="the method of images",
    )


_WEIGHTS: dict[str, Callable[[Weight], Weight]] = {
    "the ratio is inverted (q/p for p/q)": lambda w: lambda s, i, n, p, q: w(s, i, n, q, p),
    "a gambler without a coin bets on": lambda w: _with_debt,
    "losses are not weighted": lambda w: lambda s, i, n, p, q: (p / q) ** sum(s) if w(s, i, n, p, q) else Fraction(0),
}


@claim(
    given=lambda w, dtype: st.tuples(_games(w, dtype), _ODDS, _ODDS),
    reference=stopped_weight,
    mutants=_WEIGHTS
    | {
        "the weight is left out": lambda w: lambda s, i, n, p, q: Fraction(w(s, i, n, p, q) > 0),
    },
    uses=(finite_horizon_is_exact,),
    examples=60,
)
def stopped_weights_are_unbiased(
    weight: Weight, game: tuple[int, int, int], win: Fraction, proposal: Fraction
) -> Iterator[Residual]:
    r"""The mean weight under other odds is the probability: $\mathbb E_q[w] = P_p(\text{target before 0, within K bets})$.

    Error bound: 0; all $2^K$ paths are enumerated in rational numbers.
    """
    start, target, horizon = game
    steps = enumeration.product({True: proposal, False: 1 - proposal}, horizon)
    mean = enumeration.expectation(steps, lambda path: weight(path, start, target, win, proposal))
    yield exactly(mean, hit_within(start, target, horizon, win), what="the mean weight")


@claim(
    given=lambda w, dtype: st.tuples(_games(w, dtype), _ODDS, _ODDS),
    reference=stopped_weight,
    mutants=_WEIGHTS | {"all bets are weighted, also those after the decision": lambda w: _full_weight},
    uses=(stopped_weights_are_unbiased,),
    examples=60,
)
def stopped_weights_have_least_variance(
    weight: Weight, game: tuple[int, int, int], win: Fraction, proposal: Fraction
) -> Iterator[Residual]:
    r"""The stopped weight is the conditional mean of the full one, so its variance is smaller.

    $w_T = \mathbb E_q[w_K \mid \mathcal F_T]$, hence $\mathbb E_q w_K^2 - \mathbb E_q w_T^2 = \mathbb E_q (w_K - w_T)^2 \ge 0$,
    and above 0 as soon as a path that reaches the target is decided before the last bet and $p \ne q$.

    Error bound: 0; all $2^K$ paths are enumerated in rational numbers.
    """
    start, target, horizon = game
    steps = enumeration.product({True: proposal, False: 1 - proposal}, horizon)
    mass: dict[tuple[bool, ...], Fraction] = defaultdict(Fraction)
    total: dict[tuple[bool, ...], Fraction] = defaultdict(Fraction)
    gap, early, decisive = Fraction(0), False, {}
    for path, chance in steps.items():
        bets = _decided(path, start, target)
        full, ours = (f(path, start, target, win, proposal) for f in (_full_weight, weight))
        decisive[path] = path[:bets]
        mass[path[:bets]] += chance
        total[path[:bets]] += chance * full
        gap += chance * (full * full - ours * ours)
        early = early or (full > 0 and bets < horizon)
    found = [weight(path, start, target, win, proposal) for path in steps]
    conditional = [total[decisive[path]] / mass[decisive[path]] for path in steps]
    yield exactly(found, conditional, what="the weights and the conditional means of the full weights")
    yield exactly(gap > 0, early and win != proposal, what="whether the variance is smaller")


def _long_paths(f: LogWeight, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, int, int, float, float]]:
    """Paths of wins, of losses, of losses until ruin and wins after it, and a drawn one; some longer than products last."""

    def of(start: int, gain: int, more: int, seed: int) -> tuple[Tensor, int, int]:
        horizon = 2 * start + gain + more
        drawn = torch.rand(horizon, generator=Generator().manual_seed(seed)) < 0.6
        bet = torch.arange(horizon)
        return torch.stack([bet >= 0, bet < 0, bet >= start, drawn]), start, start + gain

    games = st.builds(
        of, st.integers(1, 30), st.sampled_from([1, 2, 5, 200]), st.integers(0, 40), st.integers(0, 2**31 - 1)
    )
    win = st.one_of(st.sampled_from([0.01, 18 / 37, 0.5]), st.floats(0.01, 0.99))
    proposal = st.one_of(st.sampled_from([0.9, 0.55, 0.5 + 2.0**-30]), st.floats(0.01, 0.99))
    return st.tuples(games, win, proposal).map(lambda g: (*g[0], *g[1:]))


def _log(weight: Fraction) -> object:
    return arb.log(arb.exact(weight))


@claim(
    given=_long_paths,
    reference=stopped_log_weight,
    mutants={
        "the weights are multiplied before their logarithm is taken (an underflow)": lambda f: (
            lambda *x: f(*x).exp().log()
        ),
        "the ratio is inverted (q/p for p/q)": lambda f: lambda s, i, n, p, q: f(s, i, n, q, p),
        "all bets are weighted, also those after the decision": lambda f: (
            lambda s, i, n, p, q: torch.where(
                f(s, i, n, p, q) > -math.inf,
                (s.sum(-1) * math.log(p / q) + (~s).sum(-1) * math.log((1 - p) / (1 - q))).double(),
                -math.inf,
            )
        ),
        "a gambler without a coin bets on": lambda f: (
            lambda s, i, n, p, q: f(s, i + s.shape[-1], n + s.shape[-1], p, q)
        ),
    },
    examples=60,
)
def log_weights_are_those_of_the_paths(
    log_weight: LogWeight, steps: Tensor, start: int, target: int, win: float, proposal: float
) -> Iterator[Residual]:
    r"""Computed from the number of bets alone, the log-weight is the sum over them: $\sum_t\log\frac{p(s_t)}{q(s_t)}$.

    Error bound: 8 roundings of $u\lvert\log\frac pq\rvert + d\lvert\log\frac{1-p}{1-q}\rvert$, and 0 for $-\infty$; the
    weight itself is a rational number.
    """
    found = log_weight(steps, start, target, win, proposal)
    p, q = Fraction(win), Fraction(proposal)
    sizes = [abs(math.log(a / b)) for a, b in ((win, proposal), (1 - win, 1 - proposal))]
    for value, path in zip(found, steps.tolist(), strict=True):
        played = path[: _decided(path, start, target)]
        weight = stopped_weight(path, start, target, p, q)
        if weight:
            true = arb.enclose(functools.partial(_log, weight), source="logarithm of a rational number")
        else:
            true = Ball(-math.inf, kind=Kind.EXACT, source="the path misses the target")
        yield close(value, true, scale=sum(sizes[0 if up else 1] for up in played), what="the log-weight of a path")
