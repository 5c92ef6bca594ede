"""Derivatives by four methods that fail differently, each with a radius, and log-determinants that inherit it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import mpmath
import torch
from torch import Tensor

from mathcheck.engine.guard import SubjectFault
from mathcheck.engine.residual import Ball, Kind, Undecided

# By hand, since the error that `scipy.differentiate` (1.17.1) states is no bound: in 6 of 27 trials the true one was larger
# (|x| at 0: 0 ± 0; tanh at 20; float32; a coupling), in none with the radius here. Its `jacobian` took 1.6 times the time
# and stated no error for some entry in 10 trials, this one in 4.

# Steps of the differences: h, h/4, ..., h/4^6, with h at most max(|x|, 1)/8.
_LEVELS = 7


def _check_point(x: Tensor) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a tensor, got {type(x).__name__}")
    if not x.dtype.is_floating_point:
        raise TypeError(f"x must have a real floating dtype, got {x.dtype}")
    if x.numel() == 0:
        raise ValueError(f"x must not be empty, got shape {tuple(x.shape)}")


def _ball(mid: Tensor, radius: Tensor, source: str) -> Ball:
    """The ball whose entries that are not finite are 0 with an infinite radius: nothing is known of them."""
    mid, radius = mid.detach().double().cpu(), radius.detach().double().cpu()
    known = mid.isfinite() & radius.isfinite()
    return Ball(torch.where(known, mid, 0.0), torch.where(known, radius, math.inf), kind=Kind.NUMERICAL, source=source)


def _sensitivity(derivative: Callable[[Tensor], Tensor], x: Tensor, at_x: Tensor) -> Tensor:
    """How far the derivative moves when the coordinates move by 1, 2 or 3 ulp towards zero, and zeros to either side."""
    info = torch.finfo(x.dtype)
    ulps = 1 + torch.arange(x.numel(), device=x.device) % 3
    nearby = x * (1 - info.eps * ulps.to(x.dtype).reshape(x.shape))
    # At a zero there may be a kink, where autograd gives the slope of one side.
    sides = [
        torch.where(x == 0, side, nearby) for side in ((info.tiny, -info.tiny) if bool((x == 0).any()) else (0.0,))
    ]
    try:
        return torch.stack([(derivative(side) - at_x).abs() for side in sides]).amax(0)
    except Exception:  # x is within 3 ulp of where f ends, so the derivative may be anything
        return torch.full_like(at_x, math.inf)


def _rows_at_once(f: Callable[[Tensor], Tensor], x: Tensor) -> Any:
    """The Jacobian with one backward pass for all rows, or one for each where a backward pass cannot be batched."""
    whole: Any = torch.autograd.functional.jacobian
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says which operations it has to take one by one
            return whole(f, x, vectorize=True)
    except (Undecided, NotImplementedError, SubjectFault):
        raise
    except Exception:
        return whole(f, x)


def jacobian(f: Callable[[Tensor], Tensor], x: Tensor) -> Ball:
    r"""The Jacobian $J_{ij} = \partial f_i / \partial x_j$ by reverse-mode autograd.

    The radius is $\epsilon\,(4 n \max_k \lvert J_{ik}\rvert + 4 \lvert f_i\rvert) + 4\lvert J_{ij}(x') -
    J_{ij}(x)\rvert$, an estimate with three parts. Each entry is a sum over paths of products of local derivatives,
    rounded relatively; a local derivative that is made of a stored value, such as $1 - y^2$ of a tanh, carries an
    absolute error of a few $\epsilon\lvert y\rvert$; and rounded intermediate arguments act like a rounding of $x$,
    which a second Jacobian at $x'$, a few ulp away, measures. $\epsilon$ is that of the coarser dtype of x and f(x).

    Args:
        f: maps a tensor of the shape of `x` to a tensor of any shape.
        x: one point, any shape, without batch; n numbers.

    Returns:
        Ball of shape `(m, n)`, m the number of outputs; an entry that is not finite has an infinite radius.

    Raises:
        Undecided: if f(x) does not depend on x through autograd, so that differences are needed.
        ValueError: if `x` is empty.
        TypeError: if `x` is no tensor of a real floating dtype.
    """
    _check_point(x)
    values: list[Tensor] = []

    def differentiable(point: Tensor) -> Tensor:
        out = f(point)
        if not isinstance(out, Tensor) or not out.requires_grad:
            raise Undecided("the function's value does not depend on its argument through autograd")
        values.append(out.detach())
        return out

    def derivative(point: Tensor) -> Tensor:
        return torch.as_tensor(_rows_at_once(differentiable, point)).reshape(-1, x.numel())

    with torch.enable_grad():
        try:
            at_x = derivative(x.detach())
        except Undecided:
            raise
        except NotImplementedError as error:  # a backward pass that is not there
            raise Undecided(f"the function has no derivative by autograd: {error}") from error
        except Exception as error:
            if "requires grad" in str(error):  # e.g. it calls .numpy() on its argument
                raise Undecided(f"the function refuses arguments that require a gradient: {error}") from error
            raise
        value = values[0].reshape(-1, 1)
        sensitivity = _sensitivity(derivative, x.detach(), at_x)
    eps = max(torch.finfo(x.dtype).eps, torch.finfo(value.dtype).eps)
    row = at_x.abs().amax(dim=1, keepdim=True)
    radius = 4 * eps * (x.numel() * row + value.abs()) + 4 * sensitivity
    return _ball(at_x, radius, "Jacobian, autograd")


def difference_jacobian(
    f: Callable[[Tensor], Any],
    x: Tensor,
    lower: Tensor | float = -math.inf,
    upper: Tensor | float = math.inf,
    *,
    batched: bool = False,
) -> Ball:
    r"""The Jacobian by central differences $(f(x + h) - f(x - h))/2h$, extrapolated to $h = 0$ (Richardson, Ridders).

    Seven steps $h, h/4, \dots$ per coordinate start at $\max(\lvert x_j\rvert, 1)/8$, or halfway to the domain's end,
    and fill the table $T_{kl} = (16^l T_{k,l-1} - T_{k-1,l-1})/(16^l - 1)$. Each entry is taken from where the estimate
    of its error is smallest. That estimate, the radius, is the sum of

    - truncation: the larger distance to the two entries that it was made of;
    - rounding: $4\epsilon(\lvert f_i\rvert + \sum_j\lvert J_{ij}x_j\rvert)/h$, carried through the table; the bracket
      is the error of a backward stable f, whose argument is rounded too;
    - inconsistency: its distance to the slope at the smallest step, less that slope's own error;
    - a kink: the second difference $\lvert f(x+h) - 2f(x) + f(x-h)\rvert/h$ if it does not shrink with h, which is the
      jump of the slope.

    It is infinite where the slopes do not settle as h shrinks, e.g. where f has structure finer than the smallest step,
    $2^{-15}\max(\lvert x_j\rvert, 1)$. Nothing is needed of f but values.

    Args:
        f: maps a tensor of the shape of `x` to a tensor or array of any shape; with `batched`, `(k, *shape of x)` to
            `(k, ...)`.
        x: one point, any shape, strictly between `lower` and `upper`.
        lower: end of the domain, a number or of the shape of `x`; f is not called there or below.
        upper: the other end.
        batched: evaluate all points in one call.

    Returns:
        Ball of shape `(m, n)`; an entry for which no step fits has an infinite radius.

    Raises:
        ValueError: if `x` is empty or not inside the domain.
        TypeError: if `x` is no tensor of a real floating dtype.
    """
    _check_point(x)
    n, flat = x.numel(), x.detach().reshape(-1)
    low, high = (
        torch.as_tensor(end, dtype=x.dtype, device=x.device).expand(x.shape).reshape(-1) for end in (lower, upper)
    )
    if not bool(((low < flat) & (flat < high) & flat.isfinite()).all()):
        raise ValueError(f"x must lie strictly between lower={lower} and upper={upper}, got {x.tolist()}")
    room = torch.minimum(flat - low, high - flat) / 2
    exponent = torch.frexp(torch.minimum(flat.abs().clamp(min=1.0) / 8, room)).exponent - 1
    levels = torch.arange(_LEVELS, device=x.device).unsqueeze(1)
    # Powers of two, so that x + h and x - h are exact as long as h is not below an ulp of x.
    steps = torch.ldexp(torch.ones_like(flat).expand(_LEVELS, n), exponent - 2 * levels)
    up, down = flat + steps, flat - steps
    inside = (low < down) & (down < flat) & (flat < up) & (up < high)
    up, down = torch.where(inside, up, flat), torch.where(inside, down, flat)

    eye = torch.eye(n, dtype=torch.bool, device=x.device)
    shifted = torch.where(eye, torch.stack((up, down)).unsqueeze(-2), flat)  # (2, levels, n, n)
    points = torch.cat((flat.reshape(1, n), shifted.reshape(-1, n))).reshape(-1, *x.shape)
    rows = f(points) if batched else torch.stack([torch.as_tensor(f(point)).detach() for point in points])
    values = torch.as_tensor(rows).detach()
    if len(values) != len(points):
        raise ValueError(f"f must map {len(points)} points to as many values, got shape {tuple(values.shape)}")
    eps = max(torch.finfo(t.dtype).eps for t in (x, values) if t.dtype.is_floating_point)
    values = values.double().reshape(len(points), -1)
    centre, m = values[0], values.shape[1]
    above, below = values[1:].reshape(2, _LEVELS, n, m)

    width = (up.double() - down.double()).unsqueeze(-1)
    step = torch.where(inside.unsqueeze(-1), width / 2, math.nan)
    slope = (above - below) / (2 * step)
    # The values whose rounding the difference magnifies are those at x + h and x - h.
    size = torch.maximum(above.abs(), below.abs()) + (
        slope[-1].nan_to_num(0.0).abs() * flat.double().abs().unsqueeze(-1)
    ).sum(0)
    noise = 4 * eps * size / step  # (levels, n, m)
    best, error = _extrapolate(slope, noise)

    bend = (above - 2 * centre + below).abs() / step
    # The slopes' differences shrink by 16 a level once the steps resolve f.
    unsettled = (slope[-1] - slope[-2]).abs() > (slope[-2] - slope[-3]).abs() / 4 + 2 * noise[-1]
    error = torch.where(unsettled, math.inf, error)
    kinked = (bend[-1] > 0.5 * bend[-2]) & (bend[-1] > 4 * noise[-1])
    return _ball(best.T, (error + torch.where(kinked, bend[-1], 0.0)).T, "Jacobian, differences")


def _extrapolate(slope: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Ridders' table over the first dimension: the entry with the smallest estimate of its error, and that estimate."""
    best, error = slope[0], torch.full_like(slope[0], math.inf)
    last_error = (slope[-1] - slope[-2]).abs() + noise[-1]
    row, row_noise = [slope[0]], [noise[0]]
    for level in range(1, len(slope)):
        last, last_noise = row, row_noise
        row, row_noise = [slope[level]], [noise[level]]
        for order in range(1, level + 1):
            weight = 16.0**order
            entry = (weight * row[-1] - last[order - 1]) / (weight - 1)
            spread = torch.maximum((entry - row[-1]).abs(), (entry - last[order - 1]).abs())
            row_noise.append((weight * row_noise[-1] + last_noise[order - 1]) / (weight - 1))
            row.append(entry)
            inconsistency = ((entry - slope[-1]).abs() - last_error).clamp(min=0.0).nan_to_num(0.0)
            estimate = spread + row_noise[-1] + inconsistency
            better = estimate < error  # False for NaN
            best, error = torch.where(better, entry, best), torch.where(better, estimate, error)
    return best, error


def complex_step(f: Callable[[Tensor], Tensor], x: Tensor) -> Ball:
    r"""The Jacobian of an analytic function, $J_{ij} = \Im f_i(x + \mathrm{i} h e_j)/h$ with a tiny h.

    The truncation error is of order $h^2$ and nothing cancels, so the radius is rounding alone: $8\epsilon n \max_k
    \lvert J_{ik}\rvert$, plus four times the change of J when x moves by a few ulp, as in `jacobian`, and h becomes h/4
    (which changes nothing where f is analytic), plus the smallest normal number over h, below which imaginary parts
    underflow. h is 1e-30, or 1e-15 below double precision. It holds for functions analytic at x; one that takes `abs`,
    `real`, `conj` or a comparison of its argument is not.

    Args:
        f: maps a complex tensor of the shape of `x` to a complex tensor of any shape.
        x: one point, any shape, real; n numbers.

    Returns:
        Ball of shape `(m, n)`; an entry that is not finite has an infinite radius.

    Raises:
        Undecided: if f does not accept complex numbers, or returns real ones.
        ValueError: if `x` is empty.
        TypeError: if `x` is no tensor of a real floating dtype.
    """
    _check_point(x)
    info = torch.finfo(x.dtype)
    h = 1e-30 if x.dtype == torch.float64 else 1e-15

    def derivative(point: Tensor, h: float = h) -> Tensor:
        columns = []
        for j in range(point.numel()):
            imaginary = torch.zeros_like(point).reshape(-1)
            imaginary[j] = h
            out = f(torch.complex(point, imaginary.reshape(point.shape)))
            if not isinstance(out, Tensor) or not out.dtype.is_complex:
                raise Undecided("the function returns real values for complex arguments")
            columns.append(out.detach().imag.reshape(-1).double() / h)
        return torch.stack(columns, dim=1)

    try:
        at_x = derivative(x.detach())
    except Undecided:
        raise
    except Exception as error:
        raise Undecided(f"the function does not accept complex arguments: {error}") from error
    row = at_x.abs().amax(dim=1, keepdim=True)
    rounding = 8 * info.eps * x.numel() * row + info.tiny / h
    sensitivity = _sensitivity(lambda point: derivative(point, h / 4), x.detach(), at_x)
    return _ball(at_x, rounding + 4 * sensitivity, "Jacobian, complex step")


def mpmath_derivative(f: Callable[[Any], Any], x: float | int | mpmath.mpf, order: int = 1) -> Ball:
    r"""The derivative $f^{(k)}(x)$ of a scalar function written with mpmath, by differences at 50 digits.

    The radius is the distance between the central difference at 50 digits and a one-sided one at 70, which is large at
    a kink, plus the rounding of the result to float64.

    Args:
        f: maps an mpmath number to an mpmath number; defined on both sides of `x`.
        x: a real number.
        order: of the derivative, at least 1.

    Raises:
        ValueError: if `order < 1` or `x` is not finite.
        Undecided: if the derivative is not a finite float64.
    """
    if isinstance(order, bool) or not isinstance(order, int) or order < 1:
        raise ValueError(f"order must be an integer of at least 1, got {order!r}")
    if not mpmath.isfinite(x):
        raise ValueError(f"x must be finite, got {x}")
    with mpmath.workdps(50):
        central = mpmath.diff(f, mpmath.mpf(x), order)
    with mpmath.workdps(70):
        sided = mpmath.diff(f, mpmath.mpf(x), order, direction=1)
        mid = float(mpmath.re(central))
        if not math.isfinite(mid) or not mpmath.isfinite(sided):
            raise Undecided(f"the derivative at {x} is not a finite float64: {central}")
        spread = float(abs(central - sided) + abs(central - mid))
    return Ball(mid, math.nextafter(spread, math.inf), kind=Kind.NUMERICAL, source="derivative, mpmath at 50 digits")


def log_abs_det(jacobian: Ball) -> Ball:
    r"""$\log\lvert\det J\rvert$ of every matrix J in a ball of square matrices.

    With $B = \lvert J^{-1}\rvert R$, R the matrix of radii, the determinant's logarithm changes by at most $\sum_k
    \mathrm{tr}(B^k)/k \le \mathrm{tr}\,B + \beta^2/(2(1 - \beta))$ where $\beta = \lVert B\rVert_F < 1$; the first
    term is the perturbation to first order. Added to it: $32 n \epsilon\,\mathrm{cond}_2(J) + 16\epsilon\lvert\log
    \lvert\det J\rvert\rvert$ for the rounding of the elimination, the condition number taken after rows and columns
    are scaled by powers of two.

    Args:
        jacobian: ball of shape `(n, n)`.

    Returns:
        Ball without dimensions; the radius is infinite where the ball may hold a singular matrix.

    Raises:
        ValueError: if the matrices are not square, or empty.
    """
    shape = tuple(jacobian.mid.shape)
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise ValueError(f"jacobian must have shape (n, n) with n at least 1, got {shape}")
    n, eps = shape[0], torch.finfo(torch.float64).eps
    source = f"log-determinant of the {jacobian.source}" if jacobian.source else "log-determinant"
    unknown = Ball(0.0, math.inf, kind=Kind.NUMERICAL, source=source)
    matrix, spread, doublings = jacobian.mid, jacobian.radius, 0
    if not bool(matrix.isfinite().all() & spread.isfinite().all()):
        return unknown
    for dim in (1, 0):
        # Columns count by what is left of them once the rows are scaled.
        exponent = torch.frexp(matrix.abs().amax(dim=dim, keepdim=True)).exponent
        matrix, spread = torch.ldexp(matrix, -exponent), torch.ldexp(spread, -exponent)
        doublings += int(exponent.sum())
    singular_values = torch.linalg.svdvals(matrix)
    if not float(singular_values[-1]) > 32 * n * eps * float(singular_values[0]):
        return unknown
    condition = float(singular_values[0] / singular_values[-1])
    value = float(torch.linalg.slogdet(matrix).logabsdet) + doublings * math.log(2.0)
    change = torch.linalg.inv(matrix).abs() @ spread
    beta = float(torch.linalg.matrix_norm(change))
    if not beta < 1:
        return unknown
    # The scaled logarithm and the doublings may cancel, so both count as magnitudes that were rounded.
    magnitude = abs(value) + 2 * abs(doublings) * math.log(2.0)
    radius = float(change.trace()) + beta**2 / (2 * (1 - beta)) + 32 * n * eps * condition + 16 * eps * magnitude
    return Ball(value, radius, kind=Kind.NUMERICAL, source=source)
