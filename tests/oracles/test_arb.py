"""Ball arithmetic against SymPy, mpmath, exact fractions and closed forms, and its negative controls."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from fractions import Fraction

import flint
import pytest
import sympy
import torch

from mathcheck.engine.residual import Ball, Kind, Undecided
from mathcheck.oracles import arb, symbolic

LARGEST = sys.float_info.max
SMALLEST = math.ulp(0.0)


@pytest.fixture(autouse=True)
def _precision_is_left_alone() -> Iterator[None]:
    before = flint.ctx.prec, flint.ctx.cap
    yield
    assert (flint.ctx.prec, flint.ctx.cap) == before


def holds(ball: Ball, value: Fraction) -> bool:
    """Whether a ball without dimensions holds a rational number, decided without rounding."""
    return abs(Fraction(float(ball.mid)) - value) <= Fraction(float(ball.radius))


def fraction(x: flint.arb) -> Fraction:
    mantissa, exponent = x.man_exp()
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


# Numbers and balls


@pytest.mark.parametrize("x", [0.1, -SMALLEST, LARGEST, 3, 10**400 + 1, torch.tensor(0.1), torch.tensor(7)])
def test_numbers_enter_without_rounding(x: float) -> None:
    with arb.precision(10):
        ball = arb.exact(x)
        assert ball.is_exact()
        assert fraction(ball) == Fraction(x.item() if isinstance(x, torch.Tensor) else x)


def test_a_fraction_is_a_ball_around_it() -> None:
    with arb.precision(40):
        third = arb.exact(Fraction(1, 3))
        assert third.contains(flint.fmpq(1, 3))
        assert not third.is_exact()
        assert arb.exact(Fraction(3, 8)) == flint.arb(0.375)


def test_a_list_is_nested_like_the_tensor() -> None:
    tensor = torch.tensor([[0.1, 2.0, -3.0], [4.0, 5.0, 1e-40]], dtype=torch.float32)
    nested = arb.exact_list(tensor)
    assert [[fraction(x) for x in row] for row in nested] == [[Fraction(v) for v in row] for row in tensor.tolist()]
    assert arb.exact_list(torch.tensor(2.5)) == flint.arb(2.5)
    assert arb.exact_list(torch.empty(0)) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, torch.ones(2)])
def test_numbers_that_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="x must be"):
        arb.exact(bad)


def test_things_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match="x must be a real number, got str"):
        arb.exact("1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"tensor must be a torch\.Tensor, got list"):
        arb.exact_list([1.0])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"tensor must be real, got dtype torch\.complex64"):
        arb.exact_list(torch.ones(1, dtype=torch.complex64))
    with pytest.raises(ValueError, match="x must be finite, got nan"):
        arb.exact_list(torch.tensor([1.0, math.nan]))


def test_the_precision_is_restored_after_an_error() -> None:
    before = flint.ctx.prec
    with arb.precision(77):
        assert flint.ctx.prec == 77
    with pytest.raises(ZeroDivisionError), arb.precision(77):
        1 / 0  # noqa: B018
    assert flint.ctx.prec == before
    with pytest.raises(ValueError, match="bits must be at least 2, got 1"), arb.precision(1):
        pass


HALF_ULP = Fraction(2) ** 970


@pytest.mark.parametrize(
    "value",
    [
        Fraction(0),
        Fraction(1, 3),
        Fraction(-(10**300), 7),
        Fraction(1, 3 * 2**1073),
        Fraction(-5, 3 * 2**1074),
        Fraction(1, 7**3000),
        Fraction(LARGEST) + HALF_ULP / 3,
        Fraction(LARGEST) + HALF_ULP,
        -(Fraction(2) ** 1024),
    ],
)
def test_a_float_ball_holds_the_number(value: Fraction) -> None:
    with arb.precision(200):
        ball = arb.to_ball(arb.exact(value))
    assert ball.kind is Kind.ENCLOSED
    assert holds(ball, value)
    # The radius is half an ulp of the centre, and at most twice that after it was rounded up; near 0 one ulp.
    assert float(ball.radius) <= max(math.ulp(float(ball.mid)), SMALLEST)


def test_an_exact_float_has_radius_zero() -> None:
    ball = arb.to_ball([flint.arb(0.1), flint.arb(-LARGEST), flint.arb(SMALLEST)])
    assert ball.mid.tolist() == [0.1, -LARGEST, SMALLEST]
    assert ball.radius.tolist() == [0.0, 0.0, 0.0]


def test_the_radius_of_the_ball_is_kept() -> None:
    with arb.precision(60):
        ball = arb.to_ball(flint.arb(1, 0.25))
    assert holds(ball, Fraction(5, 4))
    assert holds(ball, Fraction(3, 4))
    # Arb's radii have 30 bits and are rounded up.
    assert float(ball.radius) <= 0.25 * (1 + 2**-28)


def test_values_far_above_the_largest_float_are_infinite() -> None:
    ball = arb.to_ball([flint.arb(2) ** 5000, -(flint.arb(3) ** 10**9), flint.arb(1e308, 1e308)])
    assert ball.mid.tolist() == [math.inf, -math.inf, 1e308]
    assert ball.radius[:2].tolist() == [0.0, 0.0]
    assert float(ball.radius[2]) >= 1e308


def test_a_wide_ball_beyond_the_largest_float_has_an_infinite_radius() -> None:
    assert float(arb.to_ball(flint.arb(0, flint.arb(2) ** 2000)).radius) == math.inf


def test_shapes_of_balls() -> None:
    one = flint.arb(1)
    assert arb.to_ball(one).mid.shape == ()
    assert arb.to_ball([[one, one, one], [one, one, one]]).mid.shape == (2, 3)
    with pytest.raises(ValueError, match="nested like an array"):
        arb.to_ball([[one, one], [one]])
    with pytest.raises(TypeError, match=r"must hold flint\.arb balls, got float"):
        arb.to_ball([1.0])


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf"])
def test_balls_without_a_finite_value_are_undecided(bad: str) -> None:
    with pytest.raises(Undecided):
        arb.to_ball(flint.arb(bad))


# Enclosures


def test_an_enclosure_agrees_with_sympy() -> None:
    ball = arb.enclose(lambda: arb.exact(Fraction(1, 3)).exp() - flint.arb.pi())
    other = symbolic.value(sympy.exp(sympy.Rational(1, 3)) - sympy.pi)
    assert abs(ball.mid - other.mid) <= ball.radius + other.radius


def test_precision_rises_until_a_cancellation_is_resolved() -> None:
    tried = []

    def compute() -> flint.arb:
        tried.append(flint.ctx.prec)
        tiny = flint.arb(2) ** -300
        return (1 + tiny).log()

    ball = arb.enclose(compute)
    assert tried == [128, 256, 512]
    # log(1 + t) = t - t^2/2 + ..., so t within t^2.
    assert abs(Fraction(float(ball.mid)) - Fraction(1, 2**300)) <= Fraction(float(ball.radius)) + Fraction(1, 2**600)


def test_zero_is_found() -> None:
    ball = arb.enclose(lambda: flint.arb(2).sqrt() ** 2 - 2)
    assert float(ball.mid) == 0.0
    assert float(ball.radius) == SMALLEST


def test_an_enclosure_that_is_not_reached_is_undecided() -> None:
    with pytest.raises(Undecided, match="512 bits"):
        arb.enclose(lambda: flint.arb(1, 0.1), max_bits=1000)
    with pytest.raises(Undecided):
        arb.enclose(lambda: [flint.arb(1), flint.arb(-1).log()])


def test_an_undecided_step_is_tried_again_with_more_bits() -> None:
    def compute() -> flint.arb:
        gap = flint.arb(1) + flint.arb(2) ** -200 * flint.arb(3).sqrt()
        return arb.cholesky([[gap, flint.arb(1)], [flint.arb(1), flint.arb(1)]])[1][1]

    exact = symbolic.value(sympy.sqrt(1 - 1 / (1 + sympy.sqrt(3) / 2**200)))
    ball = arb.enclose(compute)
    assert abs(ball.mid - exact.mid) <= ball.radius + exact.radius


def test_enclose_refuses_bad_settings() -> None:
    with pytest.raises(ValueError, match="rel_bits must be at least 1"):
        arb.enclose(lambda: flint.arb(1), rel_bits=0)
    with pytest.raises(ValueError, match="max_bits at least 128, got 70 and 100"):
        arb.enclose(lambda: flint.arb(1), max_bits=100)
    with pytest.raises(TypeError, match="got int"):
        arb.enclose(lambda: 1)


# Gradients and triangular systems


POINT = [Fraction(2, 3), Fraction(-5, 7), Fraction(3, 2)]
SYMBOLS = sympy.symbols("u v w", real=True)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda u, v, w: u * v / w - v**3 + 2 / (u - v), lambda u, v, w: u * v / w - v**3 + 2 / (u - v)),
        (
            lambda u, v, w: arb.exp(u * v) + arb.log(u) * w - arb.sqrt(w),
            lambda u, v, w: sympy.exp(u * v) + sympy.log(u) * w - sympy.sqrt(w),
        ),
        (
            lambda u, v, w: arb.expm1(u) * arb.log1p(v) + arb.tanh(v * w),
            lambda u, v, w: (sympy.exp(u) - 1) * sympy.log(1 + v) + sympy.tanh(v * w),
        ),
        (
            lambda u, v, w: arb.lgamma(u) + arb.erfc(v) - abs(v) + 2**w + u**v,
            lambda u, v, w: sympy.loggamma(u) + sympy.erfc(v) + v + 2**w + u**v,
        ),
        (
            lambda u, v, w: u.sin() * v.cos() + w.sinh() - v.cosh() + w.erf() + 1 - w**0 + u**2.5,
            lambda u, v, w: sympy.sin(u) * sympy.cos(v) + sympy.sinh(w) - sympy.cosh(v) + sympy.erf(w) + u**2.5,
        ),
    ],
)
def test_gradients_agree_with_sympy(ours: arb.Scalar, theirs: arb.Scalar) -> None:
    found = arb.enclose(lambda: arb.gradient(lambda xs: ours(*xs), POINT))
    formula = sympy.nsimplify(theirs(*SYMBOLS))
    for k, symbol in enumerate(SYMBOLS):
        slope = formula.diff(symbol)
        used = {s.name: p for s, p in zip(SYMBOLS, POINT, strict=True) if s in slope.free_symbols}
        expected = symbolic.value(slope, **used)
        assert abs(found.mid[k] - expected.mid) <= found.radius[k] + expected.radius


def test_gradients_where_there_is_none_are_nan() -> None:
    for f, point in [
        (lambda xs: arb.sqrt(xs[0]) * 0, -1.0),
        (lambda xs: xs[0] * xs[0] / xs[0], 0.0),
        (lambda xs: abs(xs[0]), 0.0),
        (lambda xs: arb.sqrt(xs[0]), 0.0),
    ]:
        assert arb.gradient(f, [point])[0].is_nan()
    assert arb.gradient(lambda xs: 3, [1.0]) == [flint.arb(0)]


def test_a_gradient_over_a_ball_holds_the_gradients_at_its_points() -> None:
    with arb.precision(60):
        (slope,) = arb.gradient(lambda xs: xs[0] ** 2, [flint.arb(1, 0.5)])
    assert slope.contains(1)
    assert slope.contains(3)
    assert not slope.contains(4)


def test_gradients_refuse_bad_input() -> None:
    with pytest.raises(ValueError, match="xs must hold at least one"):
        arb.gradient(lambda xs: 0, [])
    with pytest.raises(AttributeError, match="derivative of 'bessel_j'"):
        arb.gradient(lambda xs: xs[0].bessel_j(0), [1.0])


MATRIX = sympy.Matrix([[4, 2, -1], [2, 3, sympy.Rational(1, 2)], [-1, sympy.Rational(1, 2), 5]])
VECTOR = sympy.Matrix([1, -2, sympy.Rational(1, 3)])


def rational(entry: sympy.Rational) -> Fraction:
    return Fraction(int(entry.p), int(entry.q))


def test_cholesky_and_solve_agree_with_sympy() -> None:
    lower = MATRIX.cholesky()
    solution = lower.inv() * VECTOR
    rows = [[rational(e) for e in MATRIX.row(i)] for i in range(3)]

    factor = arb.enclose(lambda: arb.cholesky(rows))
    solved = arb.enclose(lambda: arb.solve_lower(arb.cholesky(rows), [rational(e) for e in VECTOR]))
    for i in range(3):
        expected = symbolic.value(solution[i])
        assert abs(solved.mid[i] - expected.mid) <= solved.radius[i] + expected.radius
        for j in range(3):
            expected = symbolic.value(lower[i, j])
            assert abs(factor.mid[i, j] - expected.mid) <= factor.radius[i, j] + expected.radius


def test_the_gradient_of_a_log_determinant_is_the_inverse_matrix() -> None:
    def log_det(xs: list[arb.Scalar]) -> arb.Scalar:
        factor = arb.cholesky([xs[0:3], xs[3:6], xs[6:9]])
        return 2 * (arb.log(factor[0][0]) + arb.log(factor[1][1]) + arb.log(factor[2][2]))

    found = arb.enclose(lambda: arb.gradient(log_det, [rational(e) for e in MATRIX])).mid.reshape(3, 3)
    inverse = MATRIX.inv()
    # Only the lower triangle is read, so an entry below the diagonal stands for two.
    for i in range(3):
        for j in range(i + 1):
            expected = symbolic.value(inverse[i, j] * (1 if i == j else 2))
            assert abs(float(found[i, j]) - float(expected.mid)) <= math.ulp(float(expected.mid))


def test_matrices_that_are_not_positive_definite() -> None:
    for entries in ([[1, 2], [2, 4]], [[1, 2], [2, 1]], [[0]], [[-1]]):
        with pytest.raises(ValueError, match="positive definite"):
            arb.cholesky(entries)
    with pytest.raises(Undecided):
        arb.cholesky([[flint.arb(0, 1)]])
    with pytest.raises(Undecided):
        arb.cholesky([[flint.arb("nan")]])
    with pytest.raises(ValueError, match="symmetric"):
        arb.cholesky([[1, 2], [0, 5]])
    with pytest.raises(ValueError, match="square"):
        arb.cholesky([[1, 2]])
    with pytest.raises(ValueError, match="factor must be 2 x 2"):
        arb.solve_lower([[1.0]], [1.0, 2.0])
