"""z3 as an oracle, against minima that SymPy finds and statements that are known to be false."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
import sympy
import z3

from mathcheck.engine.residual import Kind, Undecided
from mathcheck.oracles import smt

a, b, c = z3.Reals("a b c")
i, j, k = z3.Ints("i j k")


def rational(value: sympy.Rational) -> z3.RatNumRef:
    return z3.Q(int(value.p), int(value.q))


@pytest.mark.parametrize(
    ("statement", "given"),
    [
        (a * a + b * b >= 2 * a * b, []),
        (a + 1 / a >= 2, [a > 0]),
        ((a + b) * (a + b) <= 2 * (a * a + b * b), []),
        (z3.Implies(z3.And(a >= 0, b >= 0), a * b >= 0), []),
        (z3.If(b == 0, a, a / b * b) == a, []),
        (z3.Exists([c], c > a), []),
        (i * i >= i, []),
    ],
)
def test_true_statements_are_proved(statement: z3.BoolRef, given: list[z3.BoolRef]) -> None:
    residual = smt.for_all(statement, given=given, what="it")
    assert (residual.error, residual.bound, residual.kind, residual.what) == (0.0, 0.0, Kind.EXACT, "it")


@pytest.mark.parametrize(
    ("statement", "given", "point"),
    [
        (a * a + b * b > 2 * a * b, [], "a = "),
        (a + 1 / a >= 2, [a != 0], "a = -"),
        (a * a != 2, [], "a = "),
        (a / b < 100, [b != 0], "b = "),
        (z3.If(b == 0, a, a / b) < 100, [], "a = "),
        (i * i * i >= i, [], "i = -"),
        (i / j == i / j + 1, [], "j = "),
        (z3.BoolVal(False), [], "every point"),
    ],
)
def test_false_statements_are_refuted_with_a_counterexample(
    statement: z3.BoolRef, given: list[z3.BoolRef], point: str
) -> None:
    residual = smt.for_all(statement, given=given)
    assert residual.error == 1.0
    assert residual.bound == 0.0
    assert residual.kind is Kind.EXACT
    assert point in str(residual.actual)
    assert smt.for_all(statement, given=given) == residual


def test_the_bound_of_a_polynomial_is_sharp_where_sympy_finds_its_minimum() -> None:
    x = sympy.Symbol("x", real=True)
    quartic = x**4 - 3 * x**3 + x**2 + 1
    lowest = min(quartic.subs(x, root) for root in sympy.real_roots(quartic.diff(x)))
    below, above = (
        sympy.Rational(Fraction(float(lowest)) + step) for step in (Fraction(-1, 10**12), Fraction(1, 10**12))
    )
    polynomial = a**4 - 3 * a**3 + a**2 + 1
    assert smt.for_all(polynomial >= rational(below)).error == 0.0
    assert smt.for_all(polynomial >= rational(above)).error == 1.0


def test_contradictory_hypotheses_prove_nothing() -> None:
    with pytest.raises(ValueError, match="given is contradictory"):
        smt.for_all(a > 5, given=[a > 0, a < 0])
    with pytest.raises(ValueError, match="given is contradictory"):
        smt.for_all(a == a, given=[a * a < 0])


@pytest.mark.parametrize("statement", [b / b == 1, z3.Implies(b >= 0, 1 / b >= 0), z3.Implies(j >= 0, i % j < j)])
def test_a_counterexample_may_not_hang_on_a_division_by_zero(statement: z3.BoolRef) -> None:
    # Each is true where the denominator is not 0.
    assert smt.for_all(statement, given=[b != 0, j != 0]).error == 0.0
    with pytest.raises(ValueError, match="given must exclude denominators of zero"):
        smt.for_all(statement)


def test_a_solver_that_gives_up_is_undecided() -> None:
    cubes = z3.Implies(z3.And(i > 0, j > 0, k > 0), i**3 + j**3 != k**3)
    start = time.monotonic()
    with pytest.raises(Undecided, match=r"gave up on Implies.*0\.3 s"):
        smt.for_all(cubes, timeout=0.3)
    # z3 looks at its clock only now and then; one second over is ample.
    assert time.monotonic() - start < 1.3
    with pytest.raises(Undecided, match="gave up"):
        smt.for_all(a**b >= 0, timeout=0.3)


def test_hypotheses_that_may_be_contradictory_are_undecided() -> None:
    with pytest.raises(Undecided, match="whether given is contradictory"):
        smt.for_all(a == a, given=[i > 2, j > 2, k > 2, i**3 + j**3 == k**3], timeout=0.3)


def test_bad_input() -> None:
    with pytest.raises(TypeError, match="statement must be a z3 boolean, got True of type bool"):
        smt.for_all(True)
    with pytest.raises(TypeError, match="statement must be a z3 boolean"):
        smt.for_all(a)
    with pytest.raises(TypeError, match=r"given\[1\] must be a z3 boolean"):
        smt.for_all(a == a, given=[a > 0, 1])
    with pytest.raises(TypeError, match="given must be a sequence of z3 booleans, got BoolRef"):
        smt.for_all(a == a, given=a > 0)
    with pytest.raises(ValueError, match="timeout must be above 0"):
        smt.for_all(a == a, timeout=0)
