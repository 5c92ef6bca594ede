r"""The generalised inverse $G(u) = \inf\{x : u \le F(x)\}$ of a distribution function: of a table, and of any function.

For $0 < u < 1$ the set is $[G(u), \infty)$, so that $G(u) \le x \iff u \le F(x)$, whatever jumps and flat parts F has; with
U uniform on (0, 1), $P(G(U) \le x) = P(U \le F(x)) = F(x)$.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Generator, Tensor

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Ball, Kind, Residual, close, exactly
from mathcheck.engine.strategies import BATCH_SHAPES, Interval
from mathcheck.oracles import arb
from mathcheck.probability.density import Density
from mathcheck.probability.kernels.float_order import DTYPES, from_key, key, middle
from mathcheck.probability.quantile import Quantile
from mathcheck.probability.sampler import Sampler
from mathcheck.probability.table import table_cdf, table_quantile

Map = Callable[[Tensor], Tensor]

# Newton's method settles within this many steps or is given up; then at most 64 halvings reach neighbouring floats.
_NEWTON_STEPS = 24
_SMALL_STEP = 2**12


def _level(u: Tensor) -> Tensor:
    if not isinstance(u, Tensor) or u.dtype not in DTYPES:
        raise TypeError(f"u must be a float32 or float64 tensor, got {getattr(u, 'dtype', type(u).__name__)}")
    if not bool(((u >= 0) & (u <= 1)).all()):
        raise ValueError(f"u must lie in [0, 1], got {u.detach().flatten()[:8].tolist()}")
    return u


def open_uniform(
    n: int,
    generator: Generator | None = None,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Tensor:
    r"""$U = (K + \tfrac12)\,2^{-m}$ with K uniform on $0, \dots, 2^m - 1$: never 0 and never 1, unlike `torch.rand`.

    Args:
        n: how many, at least 0.
        generator: source of the randomness.
        dtype: float64 (m = 52) or float32 (m = 23), in which every value is exact.
        device: of the generator.

    Returns:
        `(n,)`, symmetric around one half.

    Raises:
        TypeError, ValueError: if `n` is no number of at least 0, or for another dtype.
    """
    arguments.at_least(0, n=n)
    arguments.dtypes(dtype=dtype)
    arguments.devices(device=device)
    if generator is not None:
        arguments.instances(Generator, generator=generator)
    bits = 52 if dtype == torch.float64 else 23
    return (torch.randint(2**bits, (n,), generator=generator, device=device).to(dtype) + 0.5) * 2.0**-bits


def _newton(u: Tensor, x: Tensor, level: Tensor, slope: Tensor) -> Tensor:
    """A step for log F(x) = log u, or for log(1 - F(x)) = log(1 - u) above the median: fast in the tails as well."""
    left = u < 0.5
    part, goal = torch.where(left, level, 1 - level), torch.where(left, u, 1 - u)
    return x - torch.where(left, 1.0, -1.0).to(x.dtype) * part / slope * (part / goal).log()


def invert_cdf(
    cdf: Map, u: Tensor, density: Map | None = None, *, lower: float = -math.inf, upper: float = math.inf
) -> Tensor:
    r"""$G(u)$: the smallest float x with $u \le F(x)$, for any distribution function F, to the last ulp.

    A bracket of neighbouring floats proves the result: $F(x^-) < u \le F(x)$ for the computed F. Halving the number of
    floats in the bracket takes at most 64 evaluations whatever F is; with the density, Newton's method in the
    logarithm of the nearer tail is tried first, kept inside the bracket; 8 to 25 evaluations are usual then.

    Args:
        cdf: F, elementwise on tensors shaped like u; increasing, jumps and flat parts allowed.
        u: levels in [0, 1], any shape, float32 or float64; $G(0) = -\infty$.
        density: $F'$; with it the result is differentiable (once) in u and in whatever F is made of.
        lower: where to start; what lies below is not looked at.
        upper: where to end; $+\infty$ is returned where F stays below u until there.

    Returns:
        Like u.

    Raises:
        TypeError, ValueError: for levels that are no floats in [0, 1], `lower < upper` violated, or a `cdf` that changes
            the shape.
    """
    arguments.functions(cdf=cdf, **({} if density is None else {"density": density}))
    arguments.numbers(lower=lower, upper=upper)
    if not lower < upper:
        raise ValueError(f"lower must be below upper, got {lower} and {upper}")
    with torch.no_grad():
        x = _search(cdf, _level(u).detach(), density, lower, upper)
    if density is None or not torch.is_grad_enabled():
        return x
    # F(x; a) = u defines x(u, a): dx = (du - dF) / F'.
    error = u - cdf(x)
    slope = density(x).detach()
    step = torch.where((slope > 0) & x.isfinite(), error - error.detach(), 0.0) / torch.where(slope > 0, slope, 1.0)
    return x + step


def _search(cdf: Map, u: Tensor, density: Map | None, lower: float, upper: float) -> Tensor:
    largest = torch.finfo(u.dtype).max
    low, high = (torch.full_like(u, min(max(end, -largest), largest)) for end in (lower, upper))
    at_low, at_high = cdf(low), cdf(high)
    if at_low.shape != u.shape:
        raise ValueError(f"cdf must keep the shape {tuple(u.shape)}, got {tuple(at_low.shape)}")
    done_low, never = at_low >= u, at_high < u
    lo, hi = key(low), key(high)
    guess = middle(lo, hi)
    below = torch.zeros_like(never)

    def look(place: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluates F at a place inside the bracket and shrinks the bracket."""
        nonlocal lo, hi
        level = cdf(from_key(place, u.dtype))
        short = level < u
        lo, hi = torch.where(short, torch.maximum(lo, place), lo), torch.where(short, hi, torch.minimum(hi, place))
        return level, short

    if density is not None:
        active = torch.ones_like(never)
        for _ in range(_NEWTON_STEPS):
            x = from_key(guess, u.dtype)
            proposal = key(_newton(u, x, look(guess)[0], density(x)))
            following = torch.where((proposal >= lo) & (proposal <= hi), proposal, middle(lo, hi))
            moved = (following - guess).abs()
            guess = torch.where(active, following, guess)
            # A step that small squares to less than an ulp; what is left is noise, which would never settle.
            active &= (moved > _SMALL_STEP) & (hi > lo + 1)
            if not bool(active.any()):
                break
        below = look(guess.clamp(min=lo, max=hi))[1]
    for k in itertools.count():
        if not bool((hi > lo + 1).any()):
            break
        # From where Newton's method ended, away from the known side in growing steps; otherwise halve.
        probe = guess + torch.where(below, 1, -1) * 4 ** min(k, 16)
        near = (probe > lo) & (probe < hi) & (k < 16) & (density is not None)
        look(torch.where(near, probe, middle(lo, hi)))
    found = torch.where(done_low, low, from_key(hi, u.dtype))
    return torch.where(u == 0, -math.inf, torch.where(never, math.inf, found))


def _mixed_cdf(x: Tensor) -> Tensor:
    """A jump of 1/4 at 0, a slope on (0, 1), a flat part on (1, 2), a jump of 1/4 at 2, a slope on (2, 3)."""
    return torch.where(
        x < 0,
        0.0,
        torch.where(x < 1, 0.25 + x / 4, torch.where(x < 2, 0.5, torch.where(x < 3, 0.75 + (x - 2) / 4, 1.0))),
    ).to(x.dtype)


def _mixed_left(x: Tensor) -> Tensor:
    return torch.where(
        x <= 0,
        0.0,
        torch.where(x <= 1, 0.25 + x / 4, torch.where(x <= 2, 0.5, torch.where(x <= 3, 0.75 + (x - 2) / 4, 1.0))),
    ).to(x.dtype)


def _lomax_cdf(x: Tensor) -> Tensor:
    return 1 - 1 / (1 + x.clamp(min=0))


def _lomax_density(x: Tensor) -> Tensor:
    return torch.where(x < 0, 0.0, 1 / (1 + x.clamp(min=0)).square())


def _logistic_density(x: Tensor) -> Tensor:
    return torch.sigmoid(x) * torch.sigmoid(-x)


_PLACES, _LEVELS = (-1.5, 0.0, 2.0, 2.5, 7.0), (0.125, 0.25, 0.25, 0.875, 1.0)


def _columns(like: Tensor) -> tuple[Tensor, Tensor]:
    return torch.tensor(_PLACES).to(like), torch.tensor(_LEVELS).to(like)


def _sampled(quantile: Map) -> Callable[[int, Generator], Tensor]:
    return lambda n, generator: quantile(open_uniform(n, generator))


table = Quantile(
    lambda u: table_quantile(u, *_columns(u)),
    lambda x: table_cdf(x, *_columns(x)),
    lambda x: table_cdf(x, *_columns(x), left=True),
    ulps=0,
    batch_shapes=BATCH_SHAPES,
)
mixed = Quantile(
    lambda u: invert_cdf(_mixed_cdf, u), _mixed_cdf, _mixed_left, Interval(reach=4.0), 0, batch_shapes=BATCH_SHAPES
)
lomax = Quantile(
    lambda u: invert_cdf(_lomax_cdf, u, _lomax_density),
    _lomax_cdf,
    None,
    Interval(0.0, reach=1e3),
    0,
    batch_shapes=BATCH_SHAPES,
)
logistic = Quantile(
    lambda u: invert_cdf(torch.sigmoid, u, _logistic_density),
    torch.sigmoid,
    None,
    Interval(reach=30.0),
    2,
    batch_shapes=BATCH_SHAPES,
)
table_draws = Sampler(_sampled(table.quantile), table.cdf, table.left_cdf, mean=2.25, bounds=(-1.5, 7.0))
mixed_draws = Sampler(_sampled(mixed.quantile), _mixed_cdf, _mixed_left, mean=1.25, bounds=(0.0, 3.0), draws=20_000)
lomax_draws = Sampler(_sampled(lomax.quantile), _lomax_cdf, draws=20_000)
lomax_density = Density(
    lambda x: torch.where(x < 0, -math.inf, -2 * x.clamp(min=0).log1p()),
    Interval(0.0, reach=1e3),
    cdf=lambda x: x.clamp(min=0) / (1 + x.clamp(min=0)),
    batch_shapes=BATCH_SHAPES,
)

Solve = Callable[[Map, Tensor, Map], Tensor]
TableQuantile = Callable[[Tensor, Tensor, Tensor], Tensor]


def _tables(quantile: TableQuantile, dtype: torch.dtype) -> st.SearchStrategy[tuple[tuple[int, ...], Tensor]]:
    """Probabilities in sixteenths, zeros among them, of 1 to 5 places, and the places."""

    def cut(cuts: list[int]) -> tuple[int, ...]:
        return tuple(b - a for a, b in itertools.pairwise([0, *sorted(cuts), 16]))

    masses = st.lists(st.integers(0, 16), max_size=4).map(cut)
    steps = st.lists(st.sampled_from([1.0, 0.5, 3.0]), min_size=5, max_size=5)
    return st.tuples(masses, steps.map(lambda s: torch.tensor(s, dtype=dtype).cumsum(0) - 3))


@claim(
    given=_tables,
    reference=table_quantile,
    mutants={
        "the first level above u is taken, not the first at least u": lambda g: (
            lambda u, x, f: x[torch.searchsorted(f, u, right=True).clamp(max=len(x) - 1)]
        ),
        "the place before is taken": lambda g: lambda u, x, f: x[(torch.searchsorted(f, u) - 1).clamp(min=0)],
        "the other tail is counted (1 - u for u)": lambda g: lambda u, x, f: g(1 - u, x, f),
        "the places are interpolated": lambda g: (
            lambda u, x, f: x[0] + (x[-1] - x[0]) * u if len(x) > 1 else g(u, x, f) + u
        ),
    },
)
def table_is_inverted_exactly(quantile: TableQuantile, masses: tuple[int, ...], places: Tensor) -> Iterator[Residual]:
    r"""A table's quantile is the smallest place at which F reaches the level, and spreads uniform levels as the table says.

    $G(u) = \min\{x_k : u \le F_k\}$ for every $u = j/32$, $0 < j < 32$; and of the 16 levels $(j + \frac12)/16$ exactly
    $16\,p_k$ fall on $x_k$.

    Error bound: 0: levels and probabilities are multiples of 1/32, which floats hold exactly, and are compared as
    fractions.
    """
    places = places[: len(masses)]
    levels = torch.tensor(masses).cumsum(0).to(places) / 16
    exact = [Fraction(m, 16) for m in itertools.accumulate(masses)]
    for name, u in (("j/32", torch.arange(1, 32)), ("uniform", 2 * torch.arange(16) + 1)):
        found = quantile(u.to(places) / 32, places, levels)
        first = [next(k for k, level in enumerate(exact) if Fraction(int(j), 32) <= level) for j in u]
        yield exactly([float(x) for x in found], [float(places[k]) for k in first], what=f"G at the levels {name}")
        if name == "uniform":
            counts = [int((found == x).sum()) for x in places]
            yield exactly(counts, list(masses), what="how many of 16 uniform levels fall on each place")


def _shifted(change: Callable[[Solve, Map, Tensor, Map], Tensor]) -> Callable[[Solve], Solve]:
    return lambda solve: lambda cdf, u, density: change(solve, cdf, u, density)


def _bisected(solve: Solve, cdf: Map, u: Tensor, density: Map) -> Tensor:
    low, high = torch.full_like(u, -3.0), torch.full_like(u, 3.0)
    for _ in range(30):
        centre = (low + high) / 2
        low, high = torch.where(cdf(centre) < u, centre, low), torch.where(cdf(centre) < u, high, centre)
    return (low + high) / 2


def _logistics(solve: Solve, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, float, float]]:
    levels = strategies.tensors((3,), dtype, strategies.unit_interval)
    return st.tuples(levels, st.sampled_from([0.0, 1.0, -40.0]), st.sampled_from([1.0, 0.125, 32.0]))


def _logistic(u: Any, place: Any, scale: Any) -> Any:
    return place + scale * (arb.log(u) - arb.log1p(-u))


@claim(
    given=_logistics,
    reference=invert_cdf,
    mutants={
        "30 halvings of [-3, 3] are made": _shifted(_bisected),
        "the root is found to a millionth of itself": _shifted(lambda g, cdf, u, f: g(cdf, u, f) * (1 + 1e-5)),
        "the level is taken for one minus it": _shifted(lambda g, cdf, u, f: g(cdf, 1 - u, f)),
        "Newton's method is stopped after five steps": _shifted(
            lambda g, cdf, u, f: functools.reduce(lambda x, _: x - (cdf(x) - u) / f(x), range(5), torch.zeros_like(u))
        ),
    },
    examples=40,
)
def smooth_function_is_inverted_to_the_last_ulp(
    solve: Solve, u: Tensor, place: float, scale: float
) -> Iterator[Residual]:
    r"""A smooth distribution function is inverted to the last ulp: $F(x) = u$ for the logistic function, far into its tails.

    $G(u) = a + s\log\frac{u}{1-u}$ for $F(x) = 1/(1 + e^{-(x-a)/s})$.

    Error bound: 1 ulp of x, since the root-finder brackets; and what the roundings of F are worth in x: 4 of F(x), and
    one each of x and of a in $(x - a)/s$: $4\epsilon F/F' = 4\epsilon s/(1-u)$ and $\epsilon(\lvert x - a\rvert +
    \lvert a\rvert)$.
    """

    def cdf(x: Tensor) -> Tensor:
        return torch.sigmoid((x - place) / scale)

    def density(x: Tensor) -> Tensor:
        return torch.sigmoid((x - place) / scale) * torch.sigmoid((place - x) / scale) / scale

    found = solve(cdf, u, density)
    exact = [arb.exact(v) for v in u.tolist()]
    true = arb.enclose(lambda: [_logistic(v, arb.exact(place), arb.exact(scale)) for v in exact], rel_bits=60)
    size = true.mid.abs() + (true.mid - place).abs() + abs(place) + 4 * scale / (1 - u.double().cpu())
    yield close(found, true, ulps=1, scale=size, what="G(u)")


@claim(
    # At smaller levels the derivative in the level leaves the range of the dtype.
    given=lambda solve, dtype: _logistics(solve, dtype).map(lambda given: (given[0].clamp(min=1e-30), *given[1:])),
    reference=invert_cdf,
    mutants={
        "the result is detached": _shifted(
            lambda g, cdf, u, f: g(cdf, u, f).detach() + 0 * u + 0 * cdf(torch.zeros_like(u))
        ),
        "the gradient in the level is the density, not its inverse": _shifted(
            lambda g, cdf, u, f: (
                (lambda x: x + f(x) * (u - u.detach()))(g(cdf, u, f).detach()) - 0 * cdf(torch.zeros_like(u))
            )
        ),
        "the gradient in the parameters is forgotten": _shifted(
            lambda g, cdf, u, f: g(lambda x: cdf(x).detach(), u, f) + 0 * cdf(torch.zeros_like(u))
        ),
    },
    examples=40,
)
def derivative_is_that_of_the_implicit_function(
    solve: Solve, u: Tensor, place: float, scale: float
) -> Iterator[Residual]:
    r"""The root moves with the level and with whatever F is made of.

    $\frac{\partial G}{\partial u} = \frac{1}{F'(G)}$ and $\frac{\partial G}{\partial a} = -\frac{\partial_a
    F(G)}{F'(G)}$, which for the place of a logistic distribution are $\frac{s}{u(1-u)}$ and 1.

    Error bound: 32 roundings times $1 + (\lvert x\rvert + \lvert a\rvert)/s$, since the density is taken at a rounded
    argument, and times $\frac{1}{1-u}$, since F itself is rounded.
    """
    a = torch.full_like(u, place).requires_grad_()
    level = u.detach().clone().requires_grad_()

    def cdf(x: Tensor) -> Tensor:
        return torch.sigmoid((x - a) / scale)

    def density(x: Tensor) -> Tensor:
        return torch.sigmoid((x - a) / scale) * torch.sigmoid((a - x) / scale) / scale

    x = solve(cdf, level, density)
    in_level, in_place = torch.autograd.grad(x.sum(), (level, a))
    exact = [arb.exact(v) for v in u.tolist()]
    true = arb.enclose(lambda: [arb.exact(scale) / (v * (1 - v)) for v in exact], rel_bits=60)
    wide = u.double().cpu()
    cond = (1 + (x.detach().double().cpu().abs() + abs(place)) / scale) / (1 - wide)
    yield close(in_level, true, ulps=32, cond=cond, what="dG/du")
    one = Ball(torch.ones_like(wide), kind=Kind.EXACT, source="a shift of the distribution")
    yield close(in_place, one, ulps=32, cond=cond, what="dG/da")
