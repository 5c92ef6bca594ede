"""SymPy as an oracle, against exact fractions, Arb and identities that are known to be false."""

from __future__ import annotations

import math
from fractions import Fraction

import flint
import pytest
import sympy as sp

from mathcheck.engine.residual import Kind, Undecided
from mathcheck.oracles import arb, symbolic

x, y = sp.symbols("x y", positive=True)
r = sp.Symbol("r", real=True)
c = sp.Symbol("c")
n = sp.Symbol("n", integer=True, positive=True)
MATRIX = sp.Matrix([[x, 1], [1, y + 1 / x]])


@pytest.mark.parametrize(
    ("lhs", "rhs"),
    [
        (sp.sin(c) ** 2 + sp.cos(c) ** 2, 1),
        ((x - y) * (x + y), x**2 - y**2),
        ((x**2 - y**2) / (x - y), x + y),
        (sp.log(x * y), sp.log(x) + sp.log(y)),
        (sp.log(1 + sp.exp(r)), r + sp.log(1 + sp.exp(-r))),
        (1 - sp.tanh(r) ** 2, 1 / sp.cosh(r) ** 2),
        (sp.gamma(x + 1), x * sp.gamma(x)),
        (sp.digamma(x + 1), sp.digamma(x) + 1 / x),
        (sp.sqrt(2) + sp.sqrt(3), sp.sqrt(5 + 2 * sp.sqrt(6))),
        (sp.Derivative(sp.sin(r), r), sp.cos(r)),
        (sp.Sum(n, (n, 1, 10)), 55),
        (MATRIX.inv() * MATRIX, sp.eye(2)),
        (MATRIX * MATRIX.inv() - sp.eye(2), 0),
        (sp.cos(2 * sp.pi * n), 1),
    ],
)
def test_identities_are_proved(lhs: sp.Expr, rhs: sp.Expr) -> None:
    residual = symbolic.identity(lhs, rhs, what="both sides")
    assert (residual.error, residual.bound, residual.kind, residual.what) == (0.0, 0.0, Kind.EXACT, "both sides")


@pytest.mark.parametrize(
    ("lhs", "rhs"),
    [
        (sp.sqrt(r**2), r),
        (sp.log(c**2), 2 * sp.log(c)),
        (sp.conjugate(c), c),
        (sp.cos(sp.pi * n), 1),
        (x + sp.Rational(1, 10**40), x),
        (1 + sp.exp(-10000 * x), 1),
        (sp.gamma(x + 1), sp.gamma(x)),
        (sp.Derivative(sp.sin(r), r), sp.sin(r)),
        (sp.Integer(1), 0),
    ],
)
def test_false_identities_are_refuted_at_a_point(lhs: sp.Expr, rhs: sp.Expr) -> None:
    residual = symbolic.identity(lhs, rhs)
    assert residual.ratio == math.inf
    assert residual.kind is Kind.EXACT
    assert " at " in str(residual.actual)
    assert symbolic.identity(lhs, rhs) == residual


def test_the_error_is_the_difference_and_the_point_is_told() -> None:
    residual = symbolic.identity(x + 3, x + 1, what="sums")
    assert residual.error == 2.0
    assert residual.what == "sums"
    residual = symbolic.identity(sp.Matrix([[x, 0]]), sp.Matrix([[x, x]]), what="rows")
    assert residual.what == "rows [0, 1]"
    assert "x = " in str(residual.actual)


def test_a_matrix_equation_fails_with_its_wrong_entry() -> None:
    wrong = sp.Matrix([[x, 1], [2, y + 1 / x]])
    assert symbolic.identity(MATRIX, wrong).what == "two matrices [1, 0]"


@pytest.mark.parametrize(
    "symbol",
    [
        sp.Symbol("s", even=True),
        sp.Symbol("s", prime=True),
        sp.Symbol("s", negative=True),
        sp.Symbol("s", imaginary=True),
        sp.Symbol("s", nonzero=True),
        sp.Symbol("s", complex=True),
    ],
)
def test_points_respect_the_assumptions(symbol: sp.Symbol) -> None:
    residual = symbolic.identity(symbol, 0, what="s")
    number = sp.sympify(str(residual.actual).split(" = ")[1])
    assert all(getattr(number, f"is_{fact}") is truth for fact, truth in symbol.assumptions0.items())


class Noise(sp.Function):
    """Evaluates to a rounding error, of which every digit passes for certain."""

    def _eval_evalf(self, prec: int) -> sp.Float:
        return sp.Float(2, precision=prec) ** -prec


def test_noise_is_not_taken_for_a_refutation() -> None:
    with pytest.raises(Undecided):
        symbolic.identity(Noise(x), 0)


def test_quadrature_in_an_identity() -> None:
    quadrature = sp.Integral(sp.exp(-(r**2)), (r, 0, 1))
    assert symbolic.identity(quadrature, sp.sqrt(sp.pi) / 2 * sp.erf(1)).error == 0.0


@pytest.mark.parametrize(
    ("lhs", "rhs"),
    [
        (sp.Function("f")(x), 0),
        (sp.nan, sp.nan),
        (sp.zoo, sp.zoo),
        (sp.Piecewise((r, r > 0), (-r, True)), sp.Abs(r)),
        (sp.sin(sp.Symbol("q", irrational=True)), 0),
    ],
)
def test_what_is_neither_proved_nor_refuted_is_undecided(lhs: sp.Expr, rhs: sp.Expr) -> None:
    with pytest.raises(Undecided):
        symbolic.identity(lhs, rhs)


def test_identity_refuses_bad_input() -> None:
    with pytest.raises(ValueError, match="lhs must be exact, got a float"):
        symbolic.identity(0.5 * x, x / 2)
    with pytest.raises(TypeError, match="lhs must be a SymPy expression"):
        symbolic.identity("x", 0)
    with pytest.raises(TypeError, match="rhs must be a SymPy expression, matrix or number, got Equality"):
        symbolic.identity(x, sp.Eq(x, y))
    with pytest.raises(ValueError, match=r"same shape, got \(1, 2\) and \(2, 1\)"):
        symbolic.identity(sp.Matrix([[x, y]]), sp.Matrix([x, y]))
    with pytest.raises(ValueError, match="same shape"):
        symbolic.identity(sp.Matrix([[x, y]]), x)


@pytest.mark.parametrize(
    ("formula", "compute"),
    [
        (sp.exp(x) - sp.log(x), lambda t: t.exp() - t.log()),
        (sp.exp(x) - 1 - x, lambda t: t.expm1() - t),
        (sp.erf(x) * sp.sqrt(x) / 3, lambda t: t.erf() * t.sqrt() / 3),
        (sp.loggamma(x), lambda t: t.lgamma()),
    ],
)
@pytest.mark.parametrize("point", [1e-30, 0.1, 2.5, 300.0])
def test_values_agree_with_ball_arithmetic(formula: sp.Expr, compute: arb.Scalar, point: float) -> None:
    ours = symbolic.value(formula, x=point)
    other = arb.enclose(lambda: compute(flint.arb(point)))
    assert ours.kind is Kind.EXACT
    assert abs(ours.mid - other.mid) <= ours.radius + other.radius
    # Half an ulp, and up to twice that after rounding up.
    assert float(ours.radius) <= math.ulp(float(ours.mid))


@pytest.mark.parametrize("number", [Fraction(1, 3), Fraction(3), Fraction(-7, 10**320), Fraction(10**308, 3)])
def test_rational_values_are_held(number: Fraction) -> None:
    ball = symbolic.value(r, r=number)
    assert abs(Fraction(float(ball.mid)) - number) <= Fraction(float(ball.radius))
    assert (float(ball.radius) == 0) == (Fraction(float(ball.mid)) == number)


def test_a_wrong_value_is_not_held() -> None:
    assert math.nextafter(math.e, 3) not in symbolic.value(sp.exp(1))


def test_a_hidden_zero_is_found() -> None:
    ball = symbolic.value(sp.sin(r) ** 2 + sp.cos(r) ** 2 - 1, r=1)
    assert (float(ball.mid), float(ball.radius)) == (0.0, 0.0)


def test_value_refuses_bad_input() -> None:
    with pytest.raises(ValueError, match=r"must name the symbols \['x'\], got \[\]"):
        symbolic.value(sp.sin(x))
    with pytest.raises(ValueError, match="must name the symbols"):
        symbolic.value(sp.sin(x), x=1, z=2)
    with pytest.raises(TypeError, match="x must be a number, got '1'"):
        symbolic.value(sp.sin(x), x="1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="x must be finite, got nan"):
        symbolic.value(sp.sin(x), x=math.nan)
    with pytest.raises(ValueError, match="real and finite"):
        symbolic.value(sp.log(x), x=-1)
    with pytest.raises(ValueError, match="real and finite"):
        symbolic.value(sp.log(x), x=0)
    with pytest.raises(ValueError, match="must be exact"):
        symbolic.value(sp.Float(0.1))
    with pytest.raises(Undecided, match="beyond the range"):
        symbolic.value(sp.exp(x), x=10000)
