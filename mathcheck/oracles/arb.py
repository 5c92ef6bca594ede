r"""Ball arithmetic (Arb, through python-flint): values, integrals and gradients that are certain to the stated radius.

A float is a dyadic rational, so the inputs of the code under test enter without any error; every operation then
returns a ball that holds the true result. Write a formula once, with the functions `exp`, `log`, `sqrt`, ... of this
module: it runs on balls (`enclose`), on points of an integration path (`integral`) and on dual numbers (`gradient`).
The working precision is that of `flint.ctx`, which every function here leaves as it found it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import flint
import torch
from torch import Tensor

from mathcheck.engine.residual import Ball, Kind, Undecided
from mathcheck.oracles.formula import (
    Dual,
    PathPoint,
    Scalar,
    as_complex,
    as_dual,
    erfc,
    exact,
    exp,
    expm1,
    lgamma,
    log,
    log1p,
    sqrt,
    tanh,
)

__all__ = [
    "Dual",
    "PathPoint",
    "Scalar",
    "cholesky",
    "enclose",
    "erfc",
    "exact",
    "exact_list",
    "exp",
    "expm1",
    "gradient",
    "integral",
    "lgamma",
    "log",
    "log1p",
    "normal_expectation",
    "precision",
    "solve_lower",
    "sqrt",
    "tanh",
    "to_ball",
]

# A ball, or lists of lists of balls.
Nested = Any

_LARGEST = sys.float_info.max


@contextmanager
def precision(bits: int) -> Iterator[None]:
    """Works at `bits` bits of precision, and restores the former precision afterwards.

    Args:
        bits: at least 2.

    Raises:
        ValueError: if `bits` is less than 2.
    """
    if bits < 2:
        raise ValueError(f"bits must be at least 2, got {bits}")
    former = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        yield
    finally:
        flint.ctx.prec = former


def exact_list(tensor: Tensor) -> Nested:
    """The entries of `tensor` without rounding.

    Args:
        tensor: `(*shape)`, real and finite.

    Returns:
        Balls of radius 0 in lists nested like `tensor.tolist()`; one ball where `tensor` has no dimension.

    Raises:
        TypeError: if `tensor` is not a tensor of real numbers.
        ValueError: if an entry is infinite or NaN.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"tensor must be a torch.Tensor, got {type(tensor).__name__}")
    if tensor.is_complex():
        raise TypeError(f"tensor must be real, got dtype {tensor.dtype}")
    return _map(exact, tensor.detach().cpu().tolist())


def _map(function: Callable[[Any], Any], nested: Nested) -> Nested:
    return [_map(function, entry) for entry in nested] if isinstance(nested, (list, tuple)) else function(nested)


def _entries(nested: Nested) -> Iterator[flint.arb]:
    if isinstance(nested, (list, tuple)):
        for entry in nested:
            yield from _entries(entry)
    elif isinstance(nested, flint.arb):
        yield nested
    else:
        raise TypeError(f"value must hold flint.arb balls, got {type(nested).__name__}")


def _float_ball(x: flint.arb) -> tuple[float, float]:
    if not x.is_finite():
        raise Undecided(f"ball arithmetic found no finite value: {x}")
    mid = float(x.mid())
    if math.isinf(mid):
        if x.abs_lower() > flint.arb(2) ** 1024 * (1 + flint.arb(2) ** -20):
            return mid, 0.0
        mid = math.copysign(_LARGEST, mid)
    with precision(64):
        distance = (x - flint.arb(mid)).abs_upper()
        radius = float(distance)
        while math.isfinite(radius) and not flint.arb(radius) >= distance:
            radius = math.nextafter(radius, math.inf)
    return mid, radius


def to_ball(value: Nested, source: str = "ball arithmetic") -> Ball:
    """The float64 ball that certainly holds `value`: its radius covers that of `value` and the rounding to float64.

    A value more than a millionth above the largest float becomes `inf` with radius 0 (below it, `-inf`), which reads
    "must overflow"; between the two the ball is centred at the largest float. Values below the smallest float are 0 or
    subnormal with a positive radius.

    Args:
        value: a ball, or lists of balls nested like an array `(*shape)`.
        source: the oracle in words.

    Returns:
        The ball, of shape `(*shape)` and kind `ENCLOSED`.

    Raises:
        TypeError: if an entry is not a ball.
        ValueError: if the lists do not form an array.
        Undecided: if an entry is NaN or of infinite radius.
    """
    pairs = [_float_ball(entry) for entry in _entries(value)]
    shape = _shape(value)
    # Adding 0 turns -0.0 into 0.0.
    mid, radius = (torch.tensor([p[k] + 0.0 for p in pairs], dtype=torch.float64).reshape(shape) for k in (0, 1))
    return Ball(mid, radius, kind=Kind.ENCLOSED, source=source)


def _shape(nested: Nested) -> tuple[int, ...]:
    if not isinstance(nested, (list, tuple)):
        return ()
    shapes = {_shape(entry) for entry in nested}
    if len(shapes) > 1:
        raise ValueError(f"value must be nested like an array, got rows of shapes {sorted(shapes)}")
    return (len(nested), *next(iter(shapes), ()))


def enclose(
    compute: Callable[[], Nested], *, rel_bits: int = 70, max_bits: int = 4000, source: str = "ball arithmetic"
) -> Ball:
    r"""The value of `compute()`, at a precision high enough for a relative radius of $2^{-\mathrm{rel\_bits}}$.

    Precision doubles from 128 bits until every entry is that sharp, or has an absolute radius of at most $2^{-1080}$
    (so that a result that is zero is found too). Whatever `compute` rounds must be rounded inside it, at the precision
    of the moment: exact floats may come from outside, `arb.pi()` or one third may not.

    Args:
        compute: takes nothing; returns a ball or nested lists of balls.
        rel_bits: at least 1; the default is below the rounding of float64, which `Ball.radius` then dominates.
        max_bits: at least 128; the largest precision tried is the largest of 128, 256, 512, ... below it.
        source: the oracle in words.

    Raises:
        TypeError, ValueError: if an argument or a result of `compute` does not fit.
        Undecided: if no precision was enough.
    """
    if rel_bits < 1 or max_bits < 128:
        raise ValueError(f"rel_bits must be at least 1 and max_bits at least 128, got {rel_bits} and {max_bits}")
    tiny, bits, reason = flint.arb(2) ** -1080, 128, ""
    while bits <= max_bits:
        with precision(bits):
            try:
                value = compute()
                loose = [
                    x
                    for x in _entries(value)
                    if not (x.is_finite() and (x.rel_accuracy_bits() >= rel_bits or x.rad() <= tiny))
                ]
                if not loose:
                    return to_ball(value, source)
                reason = f"an entry is {loose[0]}"
            except Undecided as error:
                reason = str(error)
        bits *= 2
    raise Undecided(f"{source} did not reach {rel_bits} bits with a precision of {bits // 2} bits: {reason}")


def enclose_rows(
    compute: Callable[[list[Any]], Nested], x: Tensor, *, rel_bits: int = 60, source: str = "ball arithmetic"
) -> Ball:
    """The enclosed `compute(row)` of every row of `x`, stacked.

    Args:
        compute: takes the entries of a row as balls of radius 0.
        x: `(*batch, n)`, finite.
        rel_bits, source: as in `enclose`.

    Returns:
        `(*batch,)` followed by the shape of what `compute` returns.
    """
    rows = x.detach().reshape(-1, x.shape[-1])
    balls = [enclose(lambda r=row: compute(exact_list(r)), rel_bits=rel_bits, source=source) for row in rows]  # type: ignore[misc]
    return Ball.stack(balls, (*x.shape[:-1], *balls[0].mid.shape))


def integral(f: Callable[[Scalar], Scalar], a: float | flint.arb, b: float | flint.arb) -> flint.arb:
    r"""$\int_a^b f(z)\,dz$ of a real function, certified at the current precision.

    At a precision of $p$ bits it aims at an error of $2^{-p}$ times the larger of 1 and the integral; the radius of the
    result is what was reached. Roots and kinks are allowed inside the interval (each costs about $p^2/4$ evaluations);
    an integrand that is infinite somewhere, even integrably, is not found.

    Args:
        f: takes a `PathPoint`, and returns one or a number.
        a: finite; where the integral starts.
        b: finite; where it ends.

    Raises:
        TypeError: if `f` uses its argument in a way that cannot be certified.
        ValueError: if an end is not finite or the integral is certainly not real.
        Undecided: if the integral may diverge or was not found in 100 000 evaluations.

    References:
        F. Johansson, Numerical integration in arbitrary-precision ball arithmetic, ICMS 2018.
    """
    ends = [exact(end) for end in (a, b)]
    if not all(end.is_finite() for end in ends):
        raise ValueError(f"a and b must be finite, got {a} and {b}")
    failures: list[BaseException] = []

    def integrand(z: flint.acb, analytic: bool) -> flint.acb:
        # The integrator cannot pass an exception on, so it is kept, and zeros make the integrator stop.
        if not failures:
            try:
                return as_complex(f(PathPoint(z, analytic)))
            except BaseException as error:
                failures.append(error)
        return flint.acb(0)

    result = flint.acb.integral(integrand, ends[0], ends[1], eval_limit=100_000)
    if failures:
        raise failures[0]
    if not result.real.is_finite():
        raise Undecided(f"the integral from {a} to {b} was not found to be finite")
    if not result.imag.contains(0):
        raise ValueError(f"f must be real between a and b, but its integral is {result}")
    return result.real


def normal_expectation(g: Callable[[Scalar], Scalar], growth: tuple[float | flint.arb, float | flint.arb]) -> flint.arb:
    r"""$\mathbb{E}[g(Z)]$ for $Z \sim N(0, 1)$, certified if $\lvert g(t)\rvert \le c_0 + c_2 t^2$ for all real $t$.

    It is the integral of $g\varphi$ over $[-T, T]$; the radius includes the mass of the tails, at most
    $2 (c_0 Q(T) + c_2 (T \varphi(T) + Q(T)))$ with $Q = 1 - \Phi$. $T$ is such that $Q(T) < 2^{-p}$ at $p$ bits.

    Args:
        g: takes a `PathPoint`, and returns one or a number.
        growth: $c_0$ and $c_2$, both at least 0. The bound is the caller's promise: it is checked at $\pm T$ only.

    Raises:
        ValueError: if `growth` is negative or not finite, or if $g(\pm T)$ breaks it.
        Undecided: as `integral`.
    """
    c0, c2 = (exact(c) for c in growth)
    if not (c0.is_finite() and c2.is_finite()) or c0 < 0 or c2 < 0:
        raise ValueError(f"growth must be two finite numbers of at least 0, got {growth}")
    cut = flint.arb(math.isqrt(int(1.4 * (flint.ctx.prec + 32))) + 1)
    for end in (cut, -cut):
        size = as_complex(g(PathPoint(flint.acb(end), False))).abs_lower()
        if size > c0 + c2 * cut**2:
            raise ValueError(f"growth {growth} must bound g, but |g({end})| is at least {size}")
    scale = (2 * flint.arb.pi()).rsqrt()
    body = integral(lambda z: g(z) * (-z * z / 2).exp(), -cut, cut) * scale
    beyond = (cut / flint.arb(2).sqrt()).erfc() / 2
    tails = 2 * (c0 * beyond + c2 * (cut * (-cut * cut / 2).exp() * scale + beyond))
    return body + flint.arb(0, tails.upper())


def gradient(f: Callable[[list[Scalar]], Scalar], xs: Sequence[float | Fraction | flint.arb]) -> list[flint.arb]:
    r"""The partial derivatives of `f` at `xs`, by dual numbers.

    Args:
        f: takes the list of its arguments, `(n,)`, and uses `+ - * / **`, `abs` and the functions of this module.
        xs: `(n,)`, at least one; balls give enclosures of the derivatives over the ball.

    Returns:
        The derivatives, `(n,)`, in balls; NaN where `f` is not, or may not be, differentiable.

    Raises:
        ValueError: if `xs` is empty.
    """
    points = [exact(x) for x in xs]
    if not points:
        raise ValueError("xs must hold at least one number, got none")
    value = as_dual(f([Dual(x, {k: flint.arb(1)}) for k, x in enumerate(points)]))
    # Where f itself has no value, it has no derivative, even in a variable that dropped out of it.
    missing = flint.arb(0) if value.value.is_finite() else flint.arb("nan")
    return [value.slopes.get(k, missing) if value.value.is_finite() else missing for k in range(len(points))]


def cholesky(matrix: Sequence[Sequence[Scalar]]) -> list[list[Scalar]]:
    r"""The lower triangular $L$ with positive diagonal and $L L^\top = A$, column after column.

    Args:
        matrix: $A$, `(n, n)`, symmetric positive definite, of numbers, balls or dual numbers.

    Returns:
        $L$, `(n, n)`; the entries above the diagonal are 0.

    Raises:
        ValueError: if `matrix` is not square, or certainly not symmetric or not positive definite.
        Undecided: if a pivot may be zero.
    """
    n = len(matrix)
    if any(len(row) != n for row in matrix):
        raise ValueError(f"matrix must be square, got {n} rows of lengths {[len(row) for row in matrix]}")
    factor: list[list[Scalar]] = [[flint.arb(0)] * n for _ in range(n)]
    for j in range(n):
        for i in range(j, n):
            if not as_dual(matrix[i][j]).value.overlaps(as_dual(matrix[j][i]).value):
                raise ValueError(f"matrix must be symmetric, but entries ({i}, {j}) and ({j}, {i}) differ")
            rest = _scalar(matrix[i][j])
            for k in range(j):
                rest = rest - factor[i][k] * factor[j][k]
            if i > j:
                factor[i][j] = rest / factor[j][j]
                continue
            pivot = as_dual(rest).value
            if pivot <= 0:
                raise ValueError(f"matrix must be positive definite, but pivot {j} is {pivot}")
            if not pivot > 0:
                raise Undecided(f"pivot {j} of the Cholesky factor may be zero: {pivot}")
            factor[j][j] = rest.sqrt()
    return factor


def _scalar(x: Scalar) -> Scalar:
    return x if isinstance(x, (Dual, PathPoint)) else exact(x)


def solve_lower(factor: Sequence[Sequence[Scalar]], vector: Sequence[Scalar]) -> list[Scalar]:
    """The solution $x$ of $L x = b$ by forward substitution; NaN where a diagonal entry of $L$ may be zero.

    Args:
        factor: $L$, `(n, n)`, lower triangular; what is above the diagonal is not read.
        vector: $b$, `(n,)`.

    Returns:
        $x$, `(n,)`.

    Raises:
        ValueError: if the shapes do not fit.
    """
    n = len(vector)
    if [len(row) for row in factor] != [n] * n:
        raise ValueError(f"factor must be {n} x {n} as vector has {n} entries, got rows of {[len(r) for r in factor]}")
    solution: list[Scalar] = []
    for i in range(n):
        rest = _scalar(vector[i])
        for k in range(i):
            rest = rest - _scalar(factor[i][k]) * solution[k]
        solution.append(rest / _scalar(factor[i][i]))
    return solution
