"""Hypothesis strategies for the field's objects: tensors shrink towards zeros, matrices towards the identity."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import effort

K = TypeVar("K")
T = TypeVar("T")

BATCH_SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (3,), (2, 3))


def seeds() -> st.SearchStrategy[int]:
    """Seeds of random draws: that of the search first, and those after it."""
    first = effort.first_seed()
    return st.integers(first, first + 2**31 - 1)


def width(dtype: torch.dtype) -> Literal[32, 64]:
    """Bits of a floating dtype, 32 or 64.

    Raises:
        TypeError: for any other dtype.
    """
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
    return 32 if dtype == torch.float32 else 64


@dataclass(frozen=True)
class Interval:
    r"""The reals from `lower` to `upper`, open at a finite end; the elementwise domain of many functions.

    `reach` bounds the magnitude of the numbers drawn, so that a search stays where floats can answer: it is a statement
    about the search, not about the domain.
    """

    lower: float = -math.inf
    upper: float = math.inf
    reach: float = 100.0

    def __post_init__(self) -> None:
        if not self.lower < self.upper:
            raise ValueError(f"lower must be below upper, got lower={self.lower}, upper={self.upper}")
        if not self.reach > 0:
            raise ValueError(f"reach must be positive, got {self.reach}")

    def elements(self, dtype: torch.dtype) -> st.SearchStrategy[float]:
        """Numbers of the interval: simple ones, extremes close to the ends and to zero, and arbitrary floats."""
        return _elements(self, dtype)


# What is drawn in one search is drawn a hundred times: Hypothesis looks through a strategy once, if it is the same object.
@functools.cache
def _elements(interval: Interval, dtype: torch.dtype) -> st.SearchStrategy[float]:
    eps = torch.finfo(dtype).eps
    low, high = max(interval.lower, -interval.reach), min(interval.upper, interval.reach)
    lattice = [0.0, 1.0, -1.0, 0.5, 2.0, -10.0, 10.0, 20.0, eps, -eps, 1e-3, math.pi, low, high]
    if math.isfinite(interval.lower):
        lattice += [interval.lower + step for step in (1.0, 0.5, 1e-3, 16 * eps)]
    if math.isfinite(interval.upper):
        lattice += [interval.upper - step for step in (0.5, 1e-3, 16 * eps)]
    if low > 0 or high < 0 or interval.lower == 0:
        lattice += [scale * (1 if high > 0 else -1) for scale in (1e-6, 0.1, 3.0)]
    rounded = (float(torch.tensor(x, dtype=dtype)) for x in lattice)
    special = [x for x in rounded if interval.lower < x < interval.upper and low <= x <= high]
    floats = st.floats(
        min_value=_inside(low, dtype, up=True),
        max_value=_inside(high, dtype, up=False),
        width=width(dtype),
        exclude_min=low == interval.lower,
        exclude_max=high == interval.upper,
        allow_subnormal=False,
    )
    return st.one_of(st.sampled_from(special), floats)


def _inside(value: float, dtype: torch.dtype, *, up: bool) -> float:
    """The float of `dtype` next to `value`, on the side that stays inside an interval."""
    near = torch.tensor(value, dtype=dtype)
    if (float(near) < value) if up else (float(near) > value):
        near = torch.nextafter(near, torch.tensor(math.inf if up else -math.inf, dtype=dtype))
    return float(near)


def log_uniform(low: float, high: float) -> st.SearchStrategy[float]:
    """Positive numbers from `low` to `high`, both among them, evenly over the orders of magnitude.

    Raises:
        ValueError: unless `0 < low <= high < inf`.
    """
    if not 0 < low <= high < math.inf:
        raise ValueError(f"low and high must satisfy 0 < low <= high < inf, got {low} and {high}")
    simple = [x for x in (1.0, 0.5, 2.0, 10.0, low, high) if low <= x <= high]
    return st.one_of(
        st.sampled_from(simple),
        st.floats(math.log(low), math.log(high)).map(lambda t: min(max(math.exp(t), low), high)),
    )


real = Interval()
positive = Interval(0.0)
unit_interval = Interval(0.0, 1.0)


def of_each(few: st.SearchStrategy[K], of: Callable[[K], st.SearchStrategy[T]]) -> st.SearchStrategy[T]:
    """Draws from `of(x)` for a drawn `x` of few hashable ones; unlike with `flatmap`, each strategy is made once."""
    made: dict[K, st.SearchStrategy[T]] = {}

    def once(value: K) -> st.SearchStrategy[T]:
        if value not in made:
            made[value] = of(value)
        return made[value]

    return few.flatmap(once)


def generators() -> st.SearchStrategy[torch.Generator]:
    """Local torch generators; the seed is drawn, so that every example sees other noise."""
    return st.integers(0, 2**31 - 1).map(lambda seed: torch.Generator().manual_seed(seed))


@functools.lru_cache(4096)
def tensors(
    shape: tuple[int, ...], dtype: torch.dtype, elements: Interval | st.SearchStrategy[float] = real
) -> st.SearchStrategy[Tensor]:
    """Tensors of one shape. Up to 12 entries are drawn one by one; larger ones repeat a drawn pool of 12 at random."""
    numbers = elements.elements(dtype) if isinstance(elements, Interval) else elements
    count = math.prod(shape)

    def build(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=dtype).reshape(shape)

    if count <= 12:
        return st.lists(numbers, min_size=count, max_size=count).map(build)

    def spread(pool: list[float], seed: int) -> Tensor:
        index = torch.randint(len(pool), (count,), generator=torch.Generator().manual_seed(seed))
        return torch.tensor(pool, dtype=dtype)[index].reshape(shape)

    return st.builds(spread, st.lists(numbers, min_size=1, max_size=12), st.integers(0, 2**31 - 1))


def within(reach: float, x: Tensor, shift: float) -> float:
    """The number next to `shift` with which all finite entries of x + shift stay in [-reach, reach], where x itself does."""
    finite = x[x.isfinite()].double()
    if not finite.numel():
        return shift
    return max(min(shift, reach - float(finite.max())), -reach - float(finite.min()))


def batch_shapes() -> st.SearchStrategy[tuple[int, ...]]:
    """Leading shapes: a single event, one row, three rows, two by three."""
    return st.sampled_from(BATCH_SHAPES)


def normal_tensors(shape: tuple[int, ...], dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
    """Standard normal noise from a drawn seed."""
    return generators().map(lambda g: torch.randn(shape, generator=g, dtype=torch.float64).to(dtype))


def orthogonal_matrices(n: int, dtype: torch.dtype, batch: tuple[int, ...] = ()) -> st.SearchStrategy[Tensor]:
    """Orthogonal matrices `(*batch, n, n)`; the identity is among them."""

    def build(seed: int) -> Tensor:
        if seed == 0:
            return torch.eye(n, dtype=dtype).expand(*batch, n, n).clone()
        noise = torch.randn(*batch, n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        q: Tensor = torch.linalg.qr(noise)[0].to(dtype)
        return q

    return st.integers(0, 2**31 - 1).map(build)


def spd_matrices(
    n: int, dtype: torch.dtype, batch: tuple[int, ...] = (), cond: float | None = None
) -> st.SearchStrategy[Tensor]:
    """Symmetric positive definite matrices `(*batch, n, n)` of condition number up to `cond` and scale 1e-3 to 1e3.

    The default bound on the condition number is `0.01 / eps**0.5`: the square roots keep half of their digits.
    """
    limit = math.log(0.01 / math.sqrt(torch.finfo(dtype).eps) if cond is None else cond)
    unit = st.one_of(st.sampled_from([0.0, 1.0, 0.5]), st.floats(0, 1))

    def build(q: Tensor, exponents: list[float], scale: float) -> Tensor:
        eigenvalues = torch.exp(torch.tensor(exponents, dtype=torch.float64) * limit + scale)
        root = q.double() * eigenvalues.sqrt()
        spd: Tensor = (root @ root.mT).to(dtype)
        return spd

    scales = st.one_of(st.just(0.0), st.floats(math.log(1e-3), math.log(1e3)))
    return st.builds(
        build, orthogonal_matrices(n, torch.float64, batch), st.lists(unit, min_size=n, max_size=n), scales
    )


def permutations(n: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Permutations of 0, ..., n-1; the identity is the simplest."""
    return st.permutations(range(n)).map(tuple)


def index_sets(n: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Non-empty proper subsets of 0, ..., n-1, sorted; `n` at least 2."""
    subset = st.lists(st.booleans(), min_size=n, max_size=n).filter(lambda chosen: any(chosen) and not all(chosen))
    return subset.map(lambda chosen: tuple(i for i, use in enumerate(chosen) if use))


def simplexes(n: int) -> st.SearchStrategy[Tensor]:
    """Probability vectors `(n,)` in float64, some entries zero or tiny."""
    weights = st.one_of(st.sampled_from([1.0, 0.0, 1e-12, 2.0]), st.floats(1e-6, 1.0))
    lists = st.lists(weights, min_size=n, max_size=n).filter(lambda w: sum(w) > 0.1)
    return lists.map(lambda w: torch.tensor(w, dtype=torch.float64) / sum(w))
