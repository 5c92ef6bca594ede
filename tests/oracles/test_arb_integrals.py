"""Certified integrals against SymPy and mpmath, and what the integrator must refuse."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import flint
import mpmath
import pytest
import sympy

from mathcheck.engine.residual import Undecided
from mathcheck.oracles import arb, symbolic


@pytest.fixture(autouse=True)
def _precision_is_left_alone() -> Iterator[None]:
    before = flint.ctx.prec, flint.ctx.cap
    yield
    assert (flint.ctx.prec, flint.ctx.cap) == before


def test_the_raw_integrator_is_wrong_about_a_square_root_and_ours_is_not() -> None:
    truth = flint.fmpq(14, 3)
    with arb.precision(128):
        raw = flint.acb.integral(lambda z, _: z.sqrt(), 1, 4).real
        assert not raw.contains(truth)
        assert raw.rad() < flint.arb(2) ** -100
        for f in (arb.sqrt, lambda z: z**0.5, lambda z: z ** Fraction(1, 2), lambda z: z / z.rsqrt() / z):
            ours = arb.integral(f, 1, 4)
            assert ours.contains(truth)
            assert ours.rad() < flint.arb(2) ** -100


x = sympy.Symbol("x", real=True)


@pytest.mark.parametrize(
    ("f", "a", "b", "truth"),
    [
        (lambda z: (1 + 2 * z) / (1 + z * z), -1, 2, sympy.Integral((1 + 2 * x) / (1 + x**2), (x, -1, 2))),
        (lambda z: 1 - z**-3, 1, 3, sympy.Integral(1 - x**-3, (x, 1, 3))),
        (lambda z: 2**z, 0, 3, sympy.Integral(2**x, (x, 0, 3))),
        (lambda z: z**2.5, 0, 2, sympy.Integral(x ** sympy.Rational(5, 2), (x, 0, 2))),
        (arb.sqrt, 0, 1, sympy.Rational(2, 3)),
        (arb.log, 1, 4, 4 * sympy.log(4) - 3),
        (arb.log1p, -0.5, 3, 4 * sympy.log(4) - 3 + sympy.log(2) / 2 - sympy.Rational(1, 2)),
        (arb.lgamma, 1, 2, sympy.log(2 * sympy.pi) / 2 - 1),
        (arb.tanh, 0, 1, sympy.log(sympy.cosh(1))),
        (abs, -1, 2, sympy.Rational(5, 2)),
        (lambda z: abs(z - Fraction(1, 3)), -1, 2, sympy.Rational(41, 18)),
        (lambda z: z.max(1 - z), 0, 1, sympy.Rational(3, 4)),
        (lambda z: z.min(0), -1, 5, sympy.Rational(-1, 2)),
        (lambda z: 7, 5, 3, sympy.Integer(-14)),
        (arb.erfc, 0, 1, sympy.erfc(1) + (1 - sympy.exp(-1)) / sympy.sqrt(sympy.pi)),
    ],
)
def test_integrals_agree_with_sympy(f: arb.Scalar, a: float, b: float, truth: sympy.Expr) -> None:
    expected = symbolic.value(truth.doit())
    found = arb.enclose(lambda: arb.integral(f, a, b))
    assert abs(found.mid - expected.mid) <= found.radius + expected.radius
    # Half an ulp, and up to twice that after rounding up.
    assert float(found.radius) <= math.ulp(float(found.mid))


def test_a_wrong_integral_is_refuted() -> None:
    with arb.precision(128):
        assert not arb.integral(arb.log1p, 0, 3).contains(flint.arb(3).log())


def test_a_parameter_with_a_radius_gives_an_integral_for_all_its_values() -> None:
    with arb.precision(128):
        found = arb.integral(lambda z: z * flint.arb(1, 0.5), 0, 2)
    assert found.contains(1)
    assert found.contains(3)
    assert not found.contains(4)


@pytest.mark.parametrize("f", [lambda z: 1 / z, lambda z: z**-2, arb.log, arb.sqrt, lambda z: z**0.5, arb.lgamma])
def test_integrals_across_a_pole_or_outside_the_domain_are_undecided(f: arb.Scalar) -> None:
    with pytest.raises(Undecided):
        arb.integral(f, -1, 2)


def test_functions_with_an_unwatched_branch_cut_are_refused() -> None:
    with pytest.raises(AttributeError, match=r"'atan'.*branch cut that would go unseen"):
        arb.integral(lambda z: z.atan(), 0, 1)


def test_an_error_in_the_integrand_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        arb.integral(lambda z: 1 / 0, 0, 1)
    with pytest.raises(TypeError, match="may not branch"):
        arb.integral(lambda z: z if z else 0, 0, 1)
    with pytest.raises(TypeError, match="may not compare"):
        arb.integral(lambda z: z if z == 0 else 0, 0, 1)
    with pytest.raises(TypeError, match="not supported between"):
        arb.integral(lambda z: max(z, 0), 0, 1)
    with pytest.raises(TypeError, match="must be a real number, got str"):
        arb.integral(lambda z: "1", 0, 1)


def test_an_interval_must_be_finite() -> None:
    with pytest.raises(ValueError, match="must be finite"):
        arb.integral(arb.exp, 0, math.inf)
    with pytest.raises(ValueError, match="a and b must be finite"):
        arb.integral(arb.exp, flint.arb("-inf"), 0)


@pytest.mark.parametrize(
    ("g", "growth", "truth"),
    [
        (lambda t: t * t, (0, 1), sympy.Integer(1)),
        (lambda t: arb.exp(-t * t), (1, 0), 1 / sympy.sqrt(3)),
        (lambda t: abs(t), (1, 1), sympy.sqrt(2 / sympy.pi)),
        (lambda t: arb.exp(-t * t) * (3 * t - 2) ** 2, (20, 0), (4 + sympy.Integer(9) / 3) / sympy.sqrt(3)),
        (lambda t: 1, (1, 0), sympy.Integer(1)),
    ],
)
def test_normal_expectations(g: arb.Scalar, growth: tuple[int, int], truth: sympy.Expr) -> None:
    expected = symbolic.value(truth)
    found = arb.enclose(lambda: arb.normal_expectation(g, growth))
    assert abs(found.mid - expected.mid) <= found.radius + expected.radius
    # Half an ulp, twice that after rounding up, and once more where the number is a power of two.
    assert float(found.radius) <= 2 * math.ulp(float(found.mid))


def test_a_normal_expectation_agrees_with_mpmath() -> None:
    with mpmath.workdps(30):
        density = mpmath.npdf
        truth = mpmath.quad(lambda t: mpmath.log(1 + mpmath.exp(t)) * density(t), [-12, -4, 0, 4, 12])
    found = arb.enclose(lambda: arb.normal_expectation(lambda t: arb.log1p(arb.exp(t)), (1, 1)))
    # mpmath's own error is below 1e-25 here; the tails beyond 12 weigh less than 24 Q(12) < 1e-31.
    assert abs(float(found.mid) - float(truth)) <= float(found.radius) + math.ulp(float(truth))


def test_the_mass_of_the_tails_is_in_the_radius() -> None:
    with arb.precision(20):
        # At 20 bits the cut is at 9, and the tails weigh 2 (9 phi(9) + Q(9)) = 1.9e-17 of t^2, times c2.
        sharp = arb.normal_expectation(lambda t: t * t, (0, 1))
        loose = arb.normal_expectation(lambda t: t * t, (0, flint.arb(10) ** 20))
    assert sharp.contains(1)
    assert loose.rad() > 1000


def test_growth_is_checked() -> None:
    with pytest.raises(ValueError, match="must bound g"):
        arb.normal_expectation(lambda t: t**4, (1, 1))
    with pytest.raises(ValueError, match="growth must be two finite numbers"):
        arb.normal_expectation(lambda t: t, (-1, 1))
