"""The laws of an f-divergence, and `check_f_divergence`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Unpack

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.divergence.f_divergence import slips
from mathcheck.divergence.f_divergence.exact import enclosed
from mathcheck.divergence.f_divergence.record import FDivergence
from mathcheck.engine import arguments
from mathcheck.engine.adapting import subject
from mathcheck.engine.check import Options, check
from mathcheck.engine.claim import claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Kind, Residual, at_most, close, exactly
from mathcheck.engine.strategies import of_each

_REMEDY = "see mathcheck.divergence.finite, whose forms do not cancel"


def _places(dtype: torch.dtype) -> int:
    """Binary places of the probabilities drawn: a sum of them, and a step of a chain in quarters, is exact."""
    return 20 if dtype == torch.float32 else 48


def _counts(weights: Sequence[int], total: int) -> list[int]:
    counts = [w * total // sum(weights) for w in weights]
    counts[max(range(len(weights)), key=weights.__getitem__)] += total - sum(counts)
    return counts


def _distributions(n: int, dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
    """Distributions `(n,)` that sum to exactly 1, some outcomes impossible or rare."""
    weights = st.lists(st.sampled_from([1, 2, 3, 0, 5, 1000, 10**6]), min_size=n, max_size=n).filter(any)
    total = 2 ** _places(dtype)
    return weights.map(lambda w: torch.tensor(_counts(w, total), dtype=torch.float64).div(total).to(dtype))


def pairs(f: FDivergence, dtype: torch.dtype, sizes: Sequence[int] = (2, 3, 4)) -> st.SearchStrategy[Any]:
    """Pairs of distributions: unrelated, equal, or nearly so.

    Raises:
        TypeError: if `f` is no record, `dtype` neither float32 nor float64, or the sizes are no integers.
    """
    arguments.instances(FDivergence, f=f)
    arguments.dtypes(dtype=dtype)
    arguments.sequences(int, sizes=sizes)

    def moved(p: Tensor, source: int, target: int, power: int) -> tuple[Tensor, Tensor]:
        q, step = p.clone(), min(2.0**-power, float(p[source]))
        q[source] -= step
        q[target] += step
        return p, q

    def of(n: int) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
        law, index = _distributions(n, dtype), st.integers(0, n - 1)
        near = st.builds(moved, law, index, index, st.integers(2, _places(dtype)))
        apart = st.tuples(law, law)
        return (
            st.one_of(apart, near, st.tuples(near, st.booleans()).map(lambda t: t[0][::-1] if t[1] else t[0]))
            if f.near_equal
            else apart
        )

    return of_each(st.sampled_from(list(sizes)), of)


def _rounded_pairs(f: FDivergence, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    """Pairs of distributions as programs make them: normalised in floats, with entries of all sizes."""
    size = st.one_of(st.sampled_from([1.0, 0.0, 1e-30, 1e-8]), st.floats(1e-6, 1.0))

    def law(n: int) -> st.SearchStrategy[Tensor]:
        lists = st.lists(size, min_size=n, max_size=n).filter(lambda w: sum(w) > 0.1)
        return lists.map(lambda w: (lambda t: t / t.sum())(torch.tensor(w, dtype=dtype)))

    rounded = of_each(st.integers(2, 5), lambda n: st.tuples(law(n), law(n)))
    return st.one_of(pairs(f, dtype), rounded) if f.near_equal else pairs(f, dtype)


@claim(
    given=_rounded_pairs,
    repairs=slips.REPAIRS,
    mutants={
        **slips.SIGN,
        "eps is subtracted": slips.then(lambda value, n: value - torch.finfo(value.dtype).eps),
        "outcomes that q excludes are left out (no recession term)": slips.no_recession_below_zero,
    },
    half=True,
    remedy=_REMEDY,
)
def never_negative(f: FDivergence, p: Tensor, q: Tensor) -> Iterator[Residual]:
    r"""An f-divergence is never negative, to the last bit: $D_f(P, Q) \ge 0$.

    Error bound: 0; a sum of terms that are each non-negative in floating point stays non-negative.
    """
    yield at_most(-f.divergence(p, q), 0.0, what="-D(p, q) <= 0")


@claim(
    given=pairs,
    repairs=slips.REPAIRS,
    mutants={
        "eps is added": slips.then(lambda value, n: value + torch.finfo(value.dtype).eps),
        "differences below a millionth are dropped": slips.then(lambda value, n: torch.where(value < 1e-6, 0.0, value)),
    },
    remedy=_REMEDY,
)
def zero_exactly_on_equal_arguments(f: FDivergence, p: Tensor, q: Tensor) -> Iterator[Residual]:
    r"""A divergence is zero on equal arguments and, if f is strictly convex at 1, only there.

    $D_f(P, Q) = 0 \iff P = Q$.

    Error bound: 0; differences of equal floats are exact, and those of different ones do not underflow when squared.
    """
    yield exactly(f.divergence(p, p), torch.zeros_like(p[..., 0]), what="D(p, p)")
    if f.strict and not torch.equal(p, q) and f.near_equal:
        value = f.divergence(p, q)
        least = torch.nextafter(torch.zeros_like(value), torch.ones_like(value))
        yield at_most(least, value, what="the smallest number above 0 <= D(p, q)")


@claim(
    given=pairs,
    repairs=slips.REPAIRS,
    mutants=slips.SCALE | slips.SIGN | slips.SWAP | slips.RECESSION | slips.FORMULA,
    half=True,
    remedy=_REMEDY,
)
def equals_the_definition(f: FDivergence, p: Tensor, q: Tensor) -> Iterator[Residual]:
    r"""The divergence is what its definition says.

    $D_f(P, Q) = \sum_{q_i > 0} q_i f(p_i/q_i) + f'(\infty) P(q = 0)$.

    Error bound: the promised roundings of the value itself, since nothing cancels, plus the oracle's radius; where near
    equality is excluded, of the sum of the terms' sizes. The distributions are dyadic rationals that sum to exactly 1.
    """
    true = enclosed(f, p, q)
    scale = true.mid.abs()
    if not f.near_equal:
        sizes = replace(f, generator=lambda t: abs(f.generator(t)) + abs(t - 1))
        scale = enclosed(sizes, p, q).mid
    yield close(f.divergence(p, q), true, ulps=f.ulps + p.shape[-1], scale=scale, what="D(p, q)")


_CHANNEL_ROWS = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0], [0.25, 0.25, 0.5]]


def _processed(f: FDivergence, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor, Tensor]]:
    """A pair of distributions on four outcomes and a channel whose rows are quarters, or one that merges two outcomes."""
    noisy = st.lists(st.sampled_from(_CHANNEL_ROWS), min_size=4, max_size=4)
    merging = st.permutations([0, 0, 1, 2]).map(lambda targets: [_CHANNEL_ROWS[k] for k in targets])
    rows = st.one_of(merging, noisy)
    return st.tuples(pairs(f, dtype, (4,)), rows).map(lambda t: (*t[0], torch.tensor(t[1], dtype=dtype)))


@claim(
    given=_processed,
    repairs=slips.REPAIRS,
    mutants={
        **slips.SIGN,
        "the squares of the differences are summed": slips.squares,
        "it is averaged over the outcomes": slips.then(lambda value, n: value / n**2),
    },
    examples=50,
    remedy=_REMEDY,
)
def processing_loses_information(f: FDivergence, p: Tensor, q: Tensor, channel: Tensor) -> Iterator[Residual]:
    r"""No channel makes two distributions easier to tell apart: $D_f(PK, QK) \le D_f(P, Q)$.

    Error bound: the promised roundings of both values; the channel's rows are quarters, so that PK is exact.
    """
    before, after = f.divergence(p, q), f.divergence(p @ channel, q @ channel)
    yield at_most(
        after, before, ulps=2 * f.ulps, scale=torch.nan_to_num(after, posinf=0.0), what="D(pK, qK) <= D(p, q)"
    )


def _two_pairs(f: FDivergence, dtype: torch.dtype) -> st.SearchStrategy[Any]:
    """Two pairs on the same outcomes, or on separate ones, and a weight in quarters."""

    def apart(first: Sequence[Tensor], second: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        left = tuple(torch.cat([t, torch.zeros_like(second[0])]) for t in first)
        return left, tuple(torch.cat([torch.zeros_like(first[0]), t]) for t in second)

    same = of_each(st.sampled_from([2, 3]), lambda n: st.tuples(pairs(f, dtype, (n,)), pairs(f, dtype, (n,))))
    separate = st.builds(apart, pairs(f, dtype, (2,)), pairs(f, dtype, (2,)))
    return st.tuples(st.one_of(same, separate), st.sampled_from([0.5, 0.25, 0.75])).map(lambda t: (*t[0], t[1]))


@claim(
    given=_two_pairs,
    repairs=slips.REPAIRS,
    mutants={
        **slips.SIGN,
        "its square root is taken": slips.then(lambda value, n: value.clamp(min=0).sqrt()),
    },
    examples=60,
    remedy=_REMEDY,
)
def jointly_convex(
    f: FDivergence, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], weight: float
) -> Iterator[Residual]:
    r"""A divergence is jointly convex: mixing both arguments brings them together.

    $D_f(\lambda P + (1-\lambda)P', \lambda Q + (1-\lambda)Q') \le \lambda D_f(P, Q) + (1-\lambda) D_f(P', Q')$.

    Error bound: the promised roundings of both sides; weights are quarters, so that the mixtures are exact.
    """
    mixed = f.divergence(*(weight * a + (1 - weight) * b for a, b in zip(first, second, strict=True)))
    sides = weight * f.divergence(*first) + (1 - weight) * f.divergence(*second)
    scale = torch.nan_to_num(mixed.abs(), posinf=0.0)
    yield at_most(mixed, sides, ulps=2 * f.ulps + 4, scale=scale, what="D of the mixtures <= mixture of the D")


@claim(
    given=lambda f, dtype: st.tuples(*[pairs(f, dtype, (3,))] * 2),
    repairs=slips.REPAIRS,
    examples=50,
    mutants={
        "it is summed over the batch": slips.then(lambda value, n: value.sum()),
        "it is averaged over the batch": slips.then(lambda value, n: value.mean().expand(value.shape)),
        "it is computed in another dtype": slips.then(
            lambda value, n: value.to(torch.float32 if value.dtype == torch.float64 else torch.float64)
        ),
    },
)
def rows_are_independent(
    f: FDivergence, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]
) -> Iterator[Residual]:
    r"""Every row of a batch is judged alone, in the arguments' dtype: $D_f(P, Q)_b = D_f(P_b, Q_b)$.

    Error bound: 0 for shape and dtype; the promised roundings of the value.
    """
    if not f.batched:
        raise NotImplementedError("the divergence takes one row at a time")
    value = f.divergence(*(torch.stack([a, b, a]) for a, b in zip(first, second, strict=True)))
    alone = torch.stack([f.divergence(*pair) for pair in (first, second, first)])
    yield exactly(tuple(value.shape), (3,), kind=Kind.NUMERICAL, what="the shape of D")
    yield exactly(value.dtype, first[0].dtype, kind=Kind.NUMERICAL, what="the dtype of D")
    yield close(value, alone, ulps=f.ulps, what="D of a row among others")


def check_f_divergence(divergence: FDivergence | Any, **options: Unpack[Options]) -> list[Evidence]:
    r"""Judges an implementation of $D_f(P, Q)$ on finitely many outcomes by every law of an f-divergence.

    Args:
        divergence: the function and the f behind it.
        options: `expected_failures`, `require`, `settings`, `dtype`, `device`, `name` as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample, the true value and a diagnosis.
        TypeError: if `divergence` is not a record.
    """
    divergence = subject("f_divergence", FDivergence, divergence, argument="divergence")
    return check(divergence, laws(FDivergence), **options)
