"""Identities and values in computer algebra (SymPy)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import sympy
from sympy.core.evalf import PrecisionExhausted

from mathcheck.engine.residual import Ball, Kind, Residual, Undecided

# SymPy's expressions and matrices have no types here.
Expression = Any

_POINTS = 5
_DIGITS = 50
# How to write a zero so that it is seen to be one; no step may use more than the symbols' assumptions (no `force`).
_REWRITES: tuple[Callable[[Expression], Expression], ...] = (
    lambda e: e,
    sympy.expand,
    lambda e: sympy.cancel(sympy.together(e)),
    lambda e: sympy.expand(sympy.expand_log(e)),
    lambda e: sympy.gammasimp(sympy.expand_func(e)),
    sympy.simplify,
    lambda e: sympy.simplify(sympy.expand_log(sympy.expand(sympy.simplify(e)))),
    lambda e: sympy.simplify(sympy.expand(e.rewrite(sympy.exp))),
    lambda e: sympy.radsimp(sympy.simplify(e.doit())),
)


def _exact(value: Expression, name: str) -> Expression:
    try:
        expression = sympy.sympify(value, strict=True)
    except sympy.SympifyError as error:
        raise TypeError(f"{name} must be a SymPy expression, matrix or number, got {value!r}") from error
    if not isinstance(expression, (sympy.Expr, sympy.MatrixBase)):
        raise TypeError(f"{name} must be a SymPy expression, matrix or number, got {type(expression).__name__}")
    if expression.has(sympy.Float):
        raise ValueError(f"{name} must be exact, got a float in {expression}; use sympy.Rational")
    return expression


def _entries(lhs: Expression, rhs: Expression) -> list[tuple[str, Expression, Expression]]:
    """Pairs of scalars to compare, with the index of each."""
    if rhs == 0 and getattr(lhs, "is_Matrix", False):
        rhs = sympy.zeros(*lhs.shape)
    explicit = [e.as_explicit() if isinstance(e, sympy.MatrixExpr) else e for e in (lhs, rhs)]
    shapes = [e.shape if isinstance(e, sympy.MatrixBase) else None for e in explicit]
    if shapes == [None, None]:
        return [("", *explicit)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"lhs and rhs must have the same shape, got {shapes[0]} and {shapes[1]} (None: a scalar)")
    rows, columns = explicit[0].shape
    return [(f" [{i}, {j}]", explicit[0][i, j], explicit[1][i, j]) for i in range(rows) for j in range(columns)]


def _samples(symbol: Expression, generator: random.Random) -> Iterator[Expression]:
    """Rational numbers, or complex ones with rational parts, that have all properties that the symbol assumes."""
    facts = symbol.assumptions0
    for _ in range(1000):
        size = sympy.Rational(generator.randint(1, 60), generator.choice([1, 7, 10, 13]))
        number = generator.choice([1, -1]) * size
        if symbol.is_extended_real is None:
            number += sympy.I * generator.choice([1, -1]) * sympy.Rational(generator.randint(1, 60), 11)
        if symbol.is_imaginary:
            number *= sympy.I
        if all(getattr(number, f"is_{fact}") is truth for fact, truth in facts.items()):
            yield number


def _difference_at(difference: Expression, point: dict[Expression, Expression]) -> float | None:
    """How far the difference is from 0 at a point: 0.0 if no digit shows that it is not, None if it has no value."""
    try:
        number = difference.subs(point, simultaneous=True)
        coarse, fine = (number.evalf(digits) for digits in (_DIGITS, 2 * _DIGITS))
        # SymPy marks a number without any certain digit by a precision of 1; noise changes with the working precision.
        certain = [bool(part) and getattr(part, "_prec", 0) != 1 for part in coarse.as_real_imag()]
        if not (coarse.is_number and all(part.is_Number and part.is_finite for part in coarse.as_real_imag())):
            return None
        if not any(certain) or abs(coarse - fine) > abs(fine) / 2:
            return 0.0
        return float(abs(fine)) or math.ulp(0.0)
    except OverflowError:
        return math.inf
    except (ArithmeticError, ValueError, TypeError, NotImplementedError, AttributeError):
        return None


def _refutation(lhs: Expression, rhs: Expression, what: str) -> Residual | None:
    difference = (lhs - rhs).replace(lambda e: isinstance(e, sympy.Derivative), lambda e: e.doit())
    symbols = sorted(difference.free_symbols, key=str)
    generator = random.Random(0)
    streams = [_samples(s, generator) for s in symbols]
    for _ in range(_POINTS):
        try:
            point = {symbol: next(stream) for symbol, stream in zip(symbols, streams, strict=True)}
        except StopIteration:
            return None
        error = _difference_at(difference, point)
        if error:
            where = ", ".join(f"{s} = {v}" for s, v in point.items()) or "every point"
            sides = [str(side.subs(point, simultaneous=True).evalf(17)) for side in (lhs, rhs)]
            return Residual(error, 0.0, Kind.EXACT, what, f"{sides[0]} at {where}", sides[1], source="SymPy")
        if not symbols:
            break
    return None


def _is_zero(difference: Expression) -> bool:
    for rewrite in _REWRITES:
        try:
            if rewrite(difference) == 0:
                return True
        except (ArithmeticError, ValueError, TypeError, NotImplementedError, AttributeError):
            continue
    return False


def identity(lhs: Expression, rhs: Expression = 0, *, what: str = "") -> Residual:
    r"""$\mathrm{lhs} = \mathrm{rhs}$ for all values that the symbols' assumptions allow.

    First the difference is evaluated to 50 and to 100 digits at five random rational points; a value other than 0, on
    which both agree, refutes. Only then is SymPy asked to rewrite the difference as 0, which proves the identity
    wherever both sides are defined; a simplification that is wrong is thus seen at the points. A symbol without
    assumptions is a complex number.

    Args:
        lhs: an expression, or a matrix, which is compared entry by entry.
        rhs: of the same shape; 0 stands for the zero matrix too.
        what: names the two things compared.

    Returns:
        Error 0 if proved; the absolute difference, with the point in `actual`, if refuted. The bound is 0, the kind
        `EXACT`.

    Raises:
        TypeError: if a side is not a SymPy expression, matrix or exact number.
        ValueError: if a side contains a float, or the shapes differ.
        Undecided: if no point refutes the identity and no rewriting proves it.
    """
    sides = _entries(_exact(lhs, "lhs"), _exact(rhs, "rhs"))
    what = what or (f"{lhs} = {rhs}" if len(sides) == 1 else "two matrices")
    for index, left, right in sides:
        refutation = _refutation(left, right, what + index)
        if refutation is not None:
            return refutation
    for index, left, right in sides:
        if not _is_zero(left - right):
            raise Undecided(f"SymPy could neither prove nor refute {what + index}: {left - right} = 0")
    return Residual(0.0, 0.0, Kind.EXACT, what, "proved", source="SymPy")


def value(expression: Expression, **substitutions: float | Fraction) -> Ball:
    """The value of `expression` to 50 digits, as a ball whose radius is the rounding to float64.

    Args:
        expression: real, and exact (no floats in it).
        **substitutions: the value of each free symbol, by name; a float stands for exactly the number that it is.

    Returns:
        A ball without dimensions, of kind `EXACT`.

    Raises:
        TypeError: if `expression` or a substitution is not an expression or a number.
        ValueError: if a symbol has no value, a value no symbol, or the result is not real and finite.
        Undecided: if 50 digits were not reached, or the result is beyond the range of float64.
    """
    formula = _exact(expression, "expression")
    names = {symbol.name for symbol in formula.free_symbols}
    if names != set(substitutions):
        raise ValueError(f"substitutions must name the symbols {sorted(names)}, got {sorted(substitutions)}")
    point = {}
    for symbol in formula.free_symbols:
        given = substitutions[symbol.name]
        if not isinstance(given, (int, float, Fraction)):
            raise TypeError(f"{symbol.name} must be a number, got {given!r} of type {type(given).__name__}")
        if not math.isfinite(given):
            raise ValueError(f"{symbol.name} must be finite, got {given}")
        point[symbol] = sympy.Rational(*Fraction(given).as_integer_ratio())
    number = formula.subs(point, simultaneous=True)
    if not number.is_Rational:
        try:
            coarse, number = (number.evalf(digits, maxn=2000, strict=True) for digits in (_DIGITS, _DIGITS + 20))
            if coarse.is_finite and abs(coarse - number) > abs(number) / 10 ** (_DIGITS - 1):
                raise Undecided(f"SymPy's {_DIGITS} digits of {formula} change with its working precision")
        except PrecisionExhausted:
            if not _is_zero(number):
                raise Undecided(f"SymPy did not reach {_DIGITS} digits of {formula}") from None
            number = sympy.Integer(0)
    if not (number.is_Number and number.is_finite):
        raise ValueError(f"expression must be real and finite, got {number}")
    exact = Fraction(int(sympy.Rational(number).p), int(sympy.Rational(number).q))
    try:
        mid = float(exact)
    except OverflowError:
        raise Undecided(f"{number} is beyond the range of float64") from None
    error = abs(Fraction(mid) - exact) + (0 if number.is_Rational else abs(exact) / 10 ** (_DIGITS - 1))
    radius = math.nextafter(float(error), math.inf) if error else 0.0
    return Ball(mid, radius, kind=Kind.EXACT, source=f"SymPy to {_DIGITS} digits")
