"""The scalars that a formula written once runs on: balls, dual numbers, and points of an integration path."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Self

import flint
from torch import Tensor

# A ball, a `Dual` or a `PathPoint`.
Scalar = Any

# Analytic wherever they are finite: Arb answers NaN at a pole.
_MEROMORPHIC = frozenset(
    {
        "exp",
        "expm1",
        "sin",
        "cos",
        "tan",
        "cot",
        "sinh",
        "cosh",
        "tanh",
        "coth",
        "sech",
        "csch",
        "sin_pi",
        "cos_pi",
        "erf",
        "erfc",
        "erfi",
        "gamma",
        "rgamma",
        "digamma",
    }
)
# The branch cut of each is the half-line of real numbers at most minus the shift.
_CUT = {"sqrt": 0, "rsqrt": 0, "log": 0, "lgamma": 0, "log1p": 1}
_KINKED = {"max": "real_max", "min": "real_min"}
_SLOPES: dict[str, Callable[[flint.arb], flint.arb]] = {
    "exp": lambda x: x.exp(),
    "expm1": lambda x: x.exp(),
    "log": lambda x: 1 / x,
    "log1p": lambda x: 1 / (1 + x),
    "sqrt": lambda x: x.rsqrt() / 2,
    "sin": lambda x: x.cos(),
    "cos": lambda x: -x.sin(),
    "sinh": lambda x: x.cosh(),
    "cosh": lambda x: x.sinh(),
    "tanh": lambda x: x.sech() ** 2,
    "erf": lambda x: 2 * (-x * x).exp() / flint.arb.const_sqrt_pi(),
    "erfc": lambda x: -2 * (-x * x).exp() / flint.arb.const_sqrt_pi(),
    "lgamma": lambda x: x.digamma(),
}


def exact(x: float | Fraction | Tensor | flint.arb) -> flint.arb:
    """The number `x` without rounding; a fraction that is no dyadic rational is a ball at the current precision.

    Args:
        x: finite; a tensor must have no dimension. A ball is returned as it is.

    Raises:
        TypeError: if `x` is not a real number.
        ValueError: if `x` is infinite or NaN, or a tensor with dimensions.
    """
    if isinstance(x, Tensor):
        if x.ndim:
            raise ValueError(f"x must be a number, got a tensor of shape {tuple(x.shape)}; use exact_list")
        x = x.item()
    if isinstance(x, flint.arb):
        return x
    if isinstance(x, Fraction):
        return flint.arb(flint.fmpq(x.numerator, x.denominator))
    if not isinstance(x, (int, float)):
        raise TypeError(f"x must be a real number, got {type(x).__name__}")
    if isinstance(x, float) and not math.isfinite(x):
        raise ValueError(f"x must be finite, got {x}")
    return flint.arb(x)


class _Arithmetic(ABC):
    """The operators that follow from `+`, `*`, `-x` and `1/x`, of a value that may not be branched on."""

    @abstractmethod
    def __add__(self, other: Scalar) -> Self: ...

    @abstractmethod
    def __mul__(self, other: Scalar) -> Self: ...

    @abstractmethod
    def __neg__(self) -> Self: ...

    @abstractmethod
    def _reciprocal(self) -> Self: ...

    @abstractmethod
    def _lift(self, other: Scalar) -> Self: ...

    def __radd__(self, other: Scalar) -> Self:
        return self._lift(other) + self

    def __rmul__(self, other: Scalar) -> Self:
        return self._lift(other) * self

    def __sub__(self, other: Scalar) -> Self:
        return self + (-self._lift(other))

    def __rsub__(self, other: Scalar) -> Self:
        return self._lift(other) + (-self)

    def __truediv__(self, other: Scalar) -> Self:
        return self * self._lift(other)._reciprocal()

    def __rtruediv__(self, other: Scalar) -> Self:
        return self._lift(other) * self._reciprocal()

    def __bool__(self) -> bool:
        raise TypeError("a formula may not branch on its argument; use abs, max or min")

    def __eq__(self, other: object) -> bool:
        raise TypeError("a formula may not compare its argument; use abs, max or min")

    __hash__ = None  # type: ignore[assignment]


class PathPoint(_Arithmetic):
    """A ball around points of an integration path, on which a real integrand is evaluated with proof of analyticity.

    Supports `+ - * / **`, `abs`, and the methods named in the tables above. Where the integrator asks whether the
    integrand is analytic, a function whose branch cut or kink the ball touches answers NaN, and so the enclosure is
    right by construction. Any other function is refused, since its branch cut would go unseen.
    """

    def __init__(self, value: flint.acb, analytic: bool):
        self._value, self._analytic = value, analytic

    def __getattr__(self, name: str) -> Callable[..., PathPoint]:
        if name in _MEROMORPHIC:
            return lambda: PathPoint(getattr(self._value, name)(), self._analytic)
        if name in _CUT:
            return lambda: self._off_cut(self._value + _CUT[name], lambda: getattr(self._value, name)())
        if name in _KINKED:
            method = getattr(self._value, _KINKED[name])
            return lambda other: PathPoint(method(as_complex(other), analytic=self._analytic), self._analytic)
        raise AttributeError(
            f"an integrand may not use {name!r}: it is unknown, or has a branch cut that would go unseen; known are "
            f"{', '.join(sorted({*_MEROMORPHIC, *_CUT, *_KINKED}))}"
        )

    def _off_cut(self, argument: flint.acb, compute: Callable[[], flint.acb]) -> PathPoint:
        touches = argument.imag.contains(0) and not argument.real > 0
        negative = argument.imag.is_zero() and argument.real < 0
        outside = touches if self._analytic else negative
        return PathPoint(flint.acb("nan") if outside else compute(), self._analytic)

    def _lift(self, other: Scalar) -> PathPoint:
        return PathPoint(as_complex(other), self._analytic)

    def __add__(self, other: Scalar) -> PathPoint:
        return PathPoint(self._value + as_complex(other), self._analytic)

    def __mul__(self, other: Scalar) -> PathPoint:
        return PathPoint(self._value * as_complex(other), self._analytic)

    def __neg__(self) -> PathPoint:
        return PathPoint(-self._value, self._analytic)

    def _reciprocal(self) -> PathPoint:
        return PathPoint(1 / self._value, self._analytic)

    def __pow__(self, exponent: Scalar) -> PathPoint:
        power = as_complex(exponent)
        if power.imag.is_zero() and power.real.is_integer():
            return PathPoint(self._value.pow(power), self._analytic)
        return self._off_cut(self._value, lambda: self._value.pow(power))

    def __rpow__(self, base: Scalar) -> PathPoint:
        return self._lift(base) ** self

    def __abs__(self) -> PathPoint:
        return PathPoint(self._value.real_abs(analytic=self._analytic), self._analytic)


def as_complex(value: Scalar) -> flint.acb:
    """The complex ball behind a path point, or that of a number."""
    return value._value if isinstance(value, PathPoint) else flint.acb(exact(value))


class Dual(_Arithmetic):
    r"""A value and its derivatives in some variables, in balls.

    It is $v + \sum_k d_k\varepsilon_k$ with $\varepsilon_j\varepsilon_k = 0$; a variable that is not among `slopes` is one it
    does not depend on. Unlike a truncated power series of Arb, it forgets no term in a division and keeps a NaN that is
    multiplied by 0.
    """

    def __init__(self, value: flint.arb, slopes: Mapping[int, flint.arb]):
        self.value, self.slopes = value, slopes

    def __getattr__(self, name: str) -> Callable[[], Dual]:
        if name not in _SLOPES:
            raise AttributeError(f"the derivative of {name!r} is unknown; known are {', '.join(sorted(_SLOPES))}")
        return lambda: self._chain(getattr(self.value, name)(), _SLOPES[name](self.value))

    def _chain(self, value: flint.arb, slope: flint.arb) -> Dual:
        """The value of a function here, whose own derivative is `slope`."""
        return Dual(value, {k: slope * mine for k, mine in self.slopes.items()})

    def _lift(self, other: Scalar) -> Dual:
        return as_dual(other)

    def __add__(self, other: Scalar) -> Dual:
        if not isinstance(other, Dual):
            return Dual(self.value + exact(other), self.slopes)
        return Dual(self.value + other.value, _sum(self.slopes, other.slopes))

    def __mul__(self, other: Scalar) -> Dual:
        if not isinstance(other, Dual):
            factor = exact(other)
            return self._chain(self.value * factor, factor)
        ours, theirs = (
            {k: factor.value * slope for k, slope in dual.slopes.items()}
            for dual, factor in ((self, other), (other, self))
        )
        return Dual(self.value * other.value, _sum(ours, theirs))

    def __truediv__(self, other: Scalar) -> Dual:
        if not isinstance(other, Dual):
            divisor = exact(other)
            return Dual(self.value / divisor, {k: slope / divisor for k, slope in self.slopes.items()})
        return self * other._reciprocal()

    def __neg__(self) -> Dual:
        return Dual(-self.value, {k: -slope for k, slope in self.slopes.items()})

    def _reciprocal(self) -> Dual:
        return self._chain(1 / self.value, -1 / self.value**2)

    def __pow__(self, exponent: Scalar) -> Dual:
        if isinstance(exponent, Dual):
            result: Dual = (exponent * self.log()).exp()
            return result
        power = exact(exponent)
        if power.is_zero():
            return self._chain(self.value**0, flint.arb(0))
        return self._chain(self.value**power, power * self.value ** (power - 1))

    def __rpow__(self, base: Scalar) -> Dual:
        return as_dual(base) ** self

    def __abs__(self) -> Dual:
        sign = flint.arb(1) if self.value > 0 else flint.arb(-1) if self.value < 0 else flint.arb("nan")
        return self._chain(abs(self.value), sign)


def _sum(ours: Mapping[int, flint.arb], theirs: Mapping[int, flint.arb]) -> dict[int, flint.arb]:
    total = dict(ours)
    for k, slope in theirs.items():
        total[k] = total[k] + slope if k in total else slope
    return total


def as_dual(value: Scalar) -> Dual:
    """`value` as a dual number; a number or ball is a constant, of derivative 0."""
    return value if isinstance(value, Dual) else Dual(exact(value), {})


def exp(x: Scalar) -> Scalar:
    """$e^x$ of a number, ball, dual number or path point."""
    return _apply("exp", x)


def log(x: Scalar) -> Scalar:
    r"""$\log x$ of a number, ball, dual number or path point; NaN where $x$ may be negative or zero."""
    return _apply("log", x)


def sqrt(x: Scalar) -> Scalar:
    r"""$\sqrt{x}$ of a number, ball, dual number or path point; NaN where $x$ may be negative."""
    return _apply("sqrt", x)


def expm1(x: Scalar) -> Scalar:
    """$e^x - 1$ of a number, ball, dual number or path point, sharp near 0."""
    return _apply("expm1", x)


def log1p(x: Scalar) -> Scalar:
    r"""$\log(1 + x)$ of a number, ball, dual number or path point, sharp near 0."""
    return _apply("log1p", x)


def tanh(x: Scalar) -> Scalar:
    r"""$\tanh x$ of a number, ball, dual number or path point."""
    return _apply("tanh", x)


def erfc(x: Scalar) -> Scalar:
    r"""$2\pi^{-1/2} \int_x^\infty e^{-t^2}\,dt$ of a number, ball, dual number or path point."""
    return _apply("erfc", x)


def lgamma(x: Scalar) -> Scalar:
    r"""$\log \Gamma(x)$ for positive $x$, of a number, ball, dual number or path point."""
    return _apply("lgamma", x)


def _apply(name: str, x: Scalar) -> Scalar:
    return getattr(x if isinstance(x, (PathPoint, Dual)) else exact(x), name)()
