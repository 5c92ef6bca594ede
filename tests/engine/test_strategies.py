"""What the strategies draw is what they say."""

from __future__ import annotations

import itertools
import math

import hypothesis
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcheck.engine import strategies
from mathcheck.engine.strategies import Interval

DTYPES = st.sampled_from([torch.float32, torch.float64])
QUIET = settings(max_examples=60, deadline=None, database=None, derandomize=True)
INTERVALS = [strategies.real, strategies.positive, strategies.unit_interval, Interval(-2.0, 3.0), Interval(upper=-1.0)]


@QUIET
@given(st.data(), DTYPES, st.sampled_from(INTERVALS))
def test_intervals_are_open_and_exact_in_their_dtype(
    data: st.DataObject, dtype: torch.dtype, interval: Interval
) -> None:
    x = data.draw(interval.elements(dtype))
    assert interval.lower < x < interval.upper
    assert abs(x) <= interval.reach
    assert float(torch.tensor(x, dtype=dtype)) == x


@QUIET
@given(st.data(), DTYPES)
def test_spd_matrices_are_symmetric_and_positive_definite(data: st.DataObject, dtype: torch.dtype) -> None:
    n = data.draw(st.integers(1, 4))
    matrix = data.draw(strategies.spd_matrices(n, dtype, (2,)))
    assert matrix.shape == (2, n, n)
    assert torch.equal(matrix, matrix.mT)
    assert bool((torch.linalg.eigvalsh(matrix.double()) > 0).all())


@QUIET
@given(st.data())
def test_index_sets_and_permutations(data: st.DataObject) -> None:
    kept = data.draw(strategies.index_sets(4))
    assert 0 < len(kept) < 4
    assert list(kept) == sorted(set(kept))
    assert sorted(data.draw(strategies.permutations(4))) == [0, 1, 2, 3]


@QUIET
@given(strategies.simplexes(3))
def test_simplexes_sum_to_one(p: torch.Tensor) -> None:
    assert bool((p >= 0).all())
    assert abs(float(p.sum()) - 1) <= 4 * torch.finfo(torch.float64).eps


@QUIET
@given(strategies.log_uniform(1e-8, 1e8))
def test_log_uniform_stays_inside(x: float) -> None:
    assert 1e-8 <= x <= 1e8


def test_examples_see_different_noise() -> None:
    seen = set()

    @settings(max_examples=30, deadline=None, database=None, derandomize=True)
    @given(strategies.normal_tensors((2,), torch.float64))
    def draw(noise: torch.Tensor) -> None:
        seen.add(tuple(noise.tolist()))

    draw()
    assert len(seen) > 10


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Interval(1.0, 1.0), "lower"),
        (lambda: Interval(math.nan, 1.0), "lower"),
        (lambda: Interval(reach=0.0), "reach"),
        (lambda: strategies.log_uniform(0.0, 1.0), "low"),
    ],
)
def test_bad_input_is_refused(make: object, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        make()  # type: ignore[operator]
    with pytest.raises(TypeError, match="dtype"):
        strategies.width(torch.int64)


def test_tensors_shrink_to_zeros() -> None:
    smallest = hypothesis.find(strategies.tensors((2, 2), torch.float64), lambda t: True)
    assert torch.equal(smallest, torch.zeros(2, 2, dtype=torch.float64))


def test_large_tensors_are_drawn_too() -> None:
    large = hypothesis.find(strategies.tensors((4, 4, 4), torch.float32), lambda t: len(set(t.flatten().tolist())) > 3)
    assert large.shape == (4, 4, 4)
    assert list(itertools.islice(strategies.BATCH_SHAPES, 2)) == [(), (1,)]
