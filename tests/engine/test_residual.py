"""Numbers with a radius, and comparisons that cannot be fooled."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from mathcheck.engine.residual import Ball, Kind, Residual, at_most, close, exactly, fraction_ball

F64, F32 = torch.float64, torch.float32


@pytest.mark.parametrize(
    ("error", "bound", "ratio"),
    [
        (0.0, 0.0, 0.0),
        (1.0, 2.0, 0.5),
        (1.0, 0.0, math.inf),
        (math.nan, 1.0, math.inf),
        (0.0, math.nan, math.inf),
        (math.inf, 1.0, math.inf),
    ],
)
def test_ratio(error: float, bound: float, ratio: float) -> None:
    assert Residual(error, bound, Kind.EXACT).ratio == ratio


def test_an_infinite_bound_compares_nothing() -> None:
    assert not Residual(0.0, math.inf, Kind.NUMERICAL).informative
    ball = Ball([1.0, 2.0], [math.inf, math.inf], kind=Kind.NUMERICAL)
    assert not close(torch.tensor([5.0, 6.0], dtype=F64), ball).informative
    partly = Ball([1.0, 2.0], [math.inf, 0.0], kind=Kind.NUMERICAL)
    assert close(torch.tensor([5.0, 6.0], dtype=F64), partly).ratio > 1


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 1.0 + 1e-12])
def test_close_refutes(wrong: float) -> None:
    assert close(torch.tensor(wrong, dtype=F64), torch.tensor(1.0, dtype=F64)).ratio > 1


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, math.inf, -math.inf, 5e-324, 1e308])
def test_close_accepts_equality(value: float) -> None:
    assert close(torch.tensor(value, dtype=F64), torch.tensor(value, dtype=F64)).ratio == 0


def test_nan_never_passes_even_against_nan() -> None:
    nan = torch.tensor(math.nan, dtype=F64)
    assert close(nan, nan).ratio > 1
    assert at_most(nan, 1.0).ratio > 1
    assert at_most(torch.tensor(1.0), nan).ratio > 1


def test_the_bound_counts_ulps_of_the_coarser_dtype() -> None:
    eps = torch.finfo(F32).eps
    one = torch.tensor(1.0, dtype=F64)
    assert close(torch.tensor(1.0 + 7 * eps, dtype=F32), one, ulps=8).ratio <= 1
    assert close(torch.tensor(1.0 + 9 * eps, dtype=F32), one, ulps=8).ratio > 1
    assert close(torch.tensor(1.0 + 9 * eps, dtype=F32), one, ulps=8, cond=2.0).ratio <= 1


def test_the_oracles_radius_is_added() -> None:
    ball = Ball(1.0, 0.5, kind=Kind.ENCLOSED)
    assert close(torch.tensor(1.49, dtype=F64), ball).ratio <= 1
    assert close(torch.tensor(1.51, dtype=F64), ball).ratio > 1
    assert close(torch.tensor(1.49, dtype=F64), ball).kind is Kind.ENCLOSED


def test_a_true_value_beyond_the_dtype_may_overflow_but_not_the_other_way() -> None:
    huge = Ball(1e300, kind=Kind.ENCLOSED)
    assert close(torch.tensor(math.inf, dtype=F32), huge).ratio == 0
    assert close(torch.tensor(-math.inf, dtype=F32), huge).ratio > 1
    assert close(torch.tensor(math.inf, dtype=F64), huge).ratio > 1
    assert close(torch.tensor(1e300, dtype=F64), Ball(math.inf, kind=Kind.ENCLOSED)).ratio > 1


def test_nothing_is_broadcast() -> None:
    assert close(torch.zeros(3), torch.zeros(())).ratio > 1
    assert close(torch.zeros(1), torch.zeros(3)).ratio > 1
    assert at_most(torch.zeros(3), torch.zeros(2)).ratio > 1
    assert exactly(torch.zeros(3), torch.zeros(1)).ratio > 1


def test_the_worst_element_is_reported() -> None:
    residual = close(torch.tensor([1.0, 2.5, 3.0], dtype=F64), torch.tensor([1.0, 2.0, 3.0], dtype=F64), what="x")
    assert (residual.actual, residual.expected, residual.what) == (2.5, 2.0, "x [1]")


def test_at_most_holds_to_the_last_bit() -> None:
    above = torch.nextafter(torch.tensor(0.0, dtype=F64), torch.tensor(1.0, dtype=F64))
    assert at_most(above, 0.0).ratio > 1
    assert at_most(torch.tensor(-0.0, dtype=F64), 0.0).ratio == 0
    assert at_most(torch.tensor(math.inf), math.inf).ratio == 0


def test_exactly_compares_shape_dtype_and_bits() -> None:
    assert exactly(torch.zeros(2), torch.zeros(2)).ratio == 0
    assert exactly(torch.zeros(2), torch.zeros(2, dtype=F64)).ratio > 1
    assert exactly(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])).error == 1
    assert exactly(Fraction(1, 3), Fraction(2, 6)).kind is Kind.EXACT
    assert exactly(torch.tensor(math.nan), torch.tensor(math.nan)).ratio == 0


@pytest.mark.parametrize("radius", [-1.0, math.nan, [0.0, 1.0]])
def test_a_ball_refuses_bad_radii(radius: object) -> None:
    with pytest.raises(ValueError, match="radius"):
        Ball(1.0, radius, kind=Kind.EXACT)  # type: ignore[arg-type]


def test_a_fraction_lies_in_its_ball() -> None:
    for value in (Fraction(1, 3), Fraction(-2, 7), Fraction(1, 2), Fraction(10**40, 3)):
        ball = fraction_ball(value)
        assert abs(Fraction(float(ball.mid)) - value) <= Fraction(float(ball.radius))
    assert float(fraction_ball(Fraction(1, 2)).radius) == 0


def test_stacked_balls_keep_their_rows() -> None:
    rows = [Ball([1.0, 2.0], 0.1, kind=Kind.EXACT), Ball([3.0, 4.0], 0.2, kind=Kind.EXACT)]
    ball = Ball.stack(rows, (2, 2))
    assert ball.mid.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert ball.radius[1].tolist() == [0.2, 0.2]
    assert [1.05, 2.0] in rows[0]
    assert [1.2, 2.0] not in rows[0]


def test_kinds_are_ordered_by_strength() -> None:
    assert [kind.value for kind in Kind] == ["exact", "enclosed", "numerical", "statistical", "asymptotic"]
    assert Kind.EXACT.strength < Kind.ASYMPTOTIC.strength
