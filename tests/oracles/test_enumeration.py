"""Exact finite probability against numpy, closed forms and ball arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import flint
import numpy as np
import pytest
import sympy

from mathcheck.engine.residual import Kind
from mathcheck.oracles import enumeration as space
from mathcheck.oracles import symbolic

DIE = space.uniform(range(1, 7))
COIN = {"heads": Fraction(2, 3), "tails": Fraction(1, 3)}
KERNEL = {
    0: {0: Fraction(1, 2), 1: Fraction(1, 2)},
    1: {0: Fraction(1, 3), 1: Fraction(1, 3), 2: Fraction(1, 3)},
    2: {2: Fraction(1)},
}


def test_moments_of_a_die() -> None:
    assert space.expectation(DIE, lambda v: v) == Fraction(7, 2)
    assert space.expectation(DIE, lambda v: Fraction(v) ** 2) == Fraction(91, 6)
    assert space.expectation([Fraction(1, 4), Fraction(3, 4)], lambda v: v) == Fraction(3, 4)


def test_values_of_probability_zero_are_not_asked_for() -> None:
    assert space.expectation({0: Fraction(0), 2: 1}, lambda v: Fraction(1, v)) == Fraction(1, 2)
    assert space.pushforward({0: Fraction(0), 2: 1}, lambda v: Fraction(1, v)) == {Fraction(1, 2): 1}


def test_two_dice_agree_with_a_convolution() -> None:
    total = space.pushforward(space.product(DIE, 3), sum)
    counts = np.convolve(np.convolve(np.ones(6, dtype=int), np.ones(6, dtype=int)), np.ones(6, dtype=int))
    assert total == {3 + i: Fraction(int(count), 6**3) for i, count in enumerate(counts)}


def test_the_number_of_heads_is_binomial() -> None:
    heads = space.pushforward(space.product(COIN, 5), lambda draws: draws.count("heads"))
    assert heads == {k: math.comb(5, k) * Fraction(2, 3) ** k * Fraction(1, 3) ** (5 - k) for k in range(6)}
    assert sum(space.product(COIN, 5).values()) == 1


def test_a_markov_chain_agrees_with_a_matrix_power() -> None:
    # Six times the kernel has integer entries, so numpy's answer is exact.
    matrix = np.array([[3, 3, 0], [2, 2, 2], [0, 0, 6]], dtype=object)
    law = {0: Fraction(1)}
    for _ in range(7):
        law = space.kernel_step(law, KERNEL)
    power = np.linalg.matrix_power(matrix, 7)[0]
    assert law == {state: Fraction(int(entry), 6**7) for state, entry in enumerate(power)}


def test_a_wrong_kernel_gives_another_law() -> None:
    swapped = {**KERNEL, 0: KERNEL[1], 1: KERNEL[0]}
    assert space.kernel_step({0: Fraction(1)}, swapped) != space.kernel_step({0: Fraction(1)}, KERNEL)


def test_a_step_names_states_of_probability_zero() -> None:
    assert space.kernel_step({2: Fraction(1)}, KERNEL) == {0: 0, 1: 0, 2: 1}


@pytest.mark.parametrize(
    "value",
    [Fraction(1, 3), Fraction(2), Fraction(10) ** 400, Fraction(1, 10**400), Fraction(2**80 + 1, 2**80), Fraction(1)],
)
def test_logarithms_agree_with_sympy(value: Fraction) -> None:
    ball = space.log_ball(value)
    other = symbolic.value(sympy.log(sympy.Rational(value.numerator, value.denominator)))
    assert ball.kind is Kind.ENCLOSED
    assert abs(ball.mid - other.mid) <= ball.radius + other.radius
    # Half an ulp, and up to twice that after rounding up.
    assert float(ball.radius) <= math.ulp(float(ball.mid))


def test_the_logarithm_of_a_number_next_to_one_is_sharp() -> None:
    ball = space.log_ball(Fraction(2**900 + 1, 2**900))
    # log(1 + t) lies between t - t^2/2 and t.
    assert abs(Fraction(float(ball.mid)) - Fraction(1, 2**900)) <= Fraction(float(ball.radius)) + Fraction(1, 2**1801)
    assert float(ball.radius) <= math.ulp(2.0**-900)


def test_the_precision_is_left_alone() -> None:
    before = flint.ctx.prec
    space.log_ball(Fraction(1, 3))
    assert flint.ctx.prec == before


@pytest.mark.parametrize(
    ("masses", "error", "match"),
    [
        ({1: Fraction(1, 2)}, ValueError, "must sum to exactly 1, got 1/2"),
        ({}, ValueError, "must sum to exactly 1, got 0"),
        ({1: Fraction(3, 2), 2: Fraction(-1, 2)}, ValueError, r"\[2\] must be at least 0, got -1/2"),
        ({1: 0.5, 2: 0.5}, TypeError, r"\[1\] must be a Fraction or an integer, got 0.5"),
        ({1: True}, TypeError, "must be a Fraction or an integer, got True"),
    ],
)
def test_things_that_are_no_distribution_are_refused(masses: dict, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        space.expectation(masses, lambda v: v)
    with pytest.raises(error, match=match):
        space.product(masses, 2)
    with pytest.raises(error, match=match):
        space.pushforward(masses, str)
    with pytest.raises(error, match=match):
        space.kernel_step(masses, KERNEL)
    with pytest.raises(error, match=match):
        space.kernel_step({0: Fraction(1)}, {0: masses})


def test_other_bad_input() -> None:
    with pytest.raises(TypeError, match=r"f\(1\) must be a Fraction or an integer, got 0.5"):
        space.expectation(DIE, lambda v: v * 0.5)
    with pytest.raises(TypeError, match="space must map outcomes to probabilities, got list"):
        space.product([Fraction(1)], 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        space.product(DIE, 0)
    with pytest.raises(ValueError, match="at least one and all different"):
        space.uniform([1, 1])
    with pytest.raises(ValueError, match="at least one and all different"):
        space.uniform([])
    with pytest.raises(ValueError, match=r"none for \['elsewhere'\]"):
        space.kernel_step({"elsewhere": Fraction(1)}, {0: {0: Fraction(1)}})
    for bad in (0, Fraction(-1, 2)):
        with pytest.raises(ValueError, match="value must be positive"):
            space.log_ball(bad)
    with pytest.raises(TypeError, match="value must be a Fraction"):
        space.log_ball(0.5)  # type: ignore[arg-type]
