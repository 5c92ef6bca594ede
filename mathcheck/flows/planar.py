r"""The planar flow $f(z) = z + \hat u\tanh(w^\top z + b)$, which moves every point along one direction.

Its Jacobian is the identity plus a matrix of rank one, so $\det J = 1 + \hat u^\top w\,\mathrm{sech}^2(w^\top z + b)$. With
$\hat u^\top w = c$ the flow is injective exactly when $c \ge -1$, and a diffeomorphism exactly when $c > -1$.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

import flint
import sympy
import torch
import z3
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Ball, Kind, Residual, Undecided, at_most, close, exactly
from mathcheck.engine.strategies import BATCH_SHAPES, Interval
from mathcheck.flows.bijection import Bijection
from mathcheck.oracles import arb, smt

# Newton's method is quadratic but near a slope of zero, where a step shrinks the error by a third at least.
_NEWTON_STEPS = 200


def _softplus(x: Tensor) -> Tensor:
    # torch's own takes x for softplus(x) from 20 on, 9 digits too early for doubles.
    return torch.logaddexp(x, torch.zeros_like(x))


def _parameters(w: Tensor, u: Tensor, *shift: Tensor) -> None:
    arguments.finite_floating(**dict(zip("wub", (w, u, *shift), strict=False)))
    if w.ndim != 1 or w.shape[0] < 1 or u.shape != w.shape:
        raise ValueError(f"w and u must have one shape (n,) with n >= 1, got {tuple(w.shape)} and {tuple(u.shape)}")
    if shift and shift[0].ndim:
        raise ValueError(f"b must be a single number, got shape {tuple(shift[0].shape)}")
    if not bool((w.detach() != 0).any()):
        raise ValueError("w must not be zero: then the map is a shift and the constraint has no direction")


def constrained(w: Tensor, u: Tensor) -> Tensor:
    r"""$\hat u = u + (\mathrm{softplus}(-w^\top u) - 1)\,w / \lVert w\rVert^2$, for which $w^\top\hat u > -1$.

    Since $\mathrm{softplus}(x) - x = \mathrm{softplus}(-x)$, this is the vector nearest to u with $w^\top\hat u =
    \mathrm{softplus}(w^\top u) - 1$. Nothing overflows; below $w^\top u \approx -745$ (-103 in float32) it is -1 in floats.

    Args:
        w: `(n,)`, not zero.
        u: `(n,)`, any vector.

    Returns:
        `(n,)`, differentiable.

    Raises:
        TypeError, ValueError: for `w` zero, or other than finite floating vectors of one shape, dtype and device.
    """
    _parameters(w, u)
    return _constrained(w, u)


def _constrained(w: Tensor, u: Tensor) -> Tensor:
    size = w.detach().abs().amax()
    direction = w / size
    return u + (_softplus(-(w @ u)) - 1) / size * direction / (direction @ direction)


def _log_det(a: Tensor, x: Tensor) -> Tensor:
    r"""$\log(1 + c\,\mathrm{sech}^2 a)$ with $c = \mathrm{softplus}(x) - 1$, to full relative accuracy for any a."""
    slope, tanh = _softplus(x), a.tanh()
    decay = torch.exp(-2 * a.abs())
    # 1 - tanh^2 cancels when the flow is saturated, and cosh^2 overflows.
    sech2 = torch.where(a.abs() < 1, 1 - tanh * tanh, 4 * decay / (1 + decay).square())
    change = (slope - 1) * sech2
    mild = change > -0.5
    # 1 + c sech^2 = tanh^2 + (1 + c) sech^2, where 1 + c is softplus(x): a sum of positive terms.
    direct = torch.where(mild, torch.ones_like(a), tanh * tanh + slope * sech2).log()
    return torch.where(mild, torch.log1p(torch.where(mild, change, torch.zeros_like(a))), direct)


def _solve(target: Tensor, slope: Tensor) -> Tensor:
    r"""The a with $a + c\tanh a = t$, $c$ = `slope` - 1 > -1, by Newton's method from the side where it is monotone."""
    t, c = target.abs(), slope - 1
    # On a >= 0 the function is convex for c < 0 and concave for c > 0; so started above or below, steps never overshoot.
    convex = bool(c < 0)
    a, sign = (torch.fmin(t - c, t / slope), -1.0) if convex else ((t - c).clamp(min=0), 1.0)
    for _ in range(_NEWTON_STEPS):
        tanh = a.tanh()
        derivative = tanh * tanh + slope * (1 - tanh * tanh)
        step = torch.where(derivative > 0, (t - a - c * tanh) / derivative, 0.0)
        moving = step * sign > torch.finfo(a.dtype).eps * a
        a = torch.where(moving, a + step, a)
        if not bool(moving.any()):
            break
    return torch.where(target < 0, -a, a)


def planar(w: Tensor, u: Tensor, b: Tensor) -> Bijection:
    r"""$f(z) = z + \hat u\tanh(w^\top z + b)$ with $\hat u$ = `constrained`(w, u), a diffeomorphism for every w, u and b.

    $\log\det J = \log(1 + c\,\mathrm{sech}^2(w^\top z + b))$ with $c = \mathrm{softplus}(w^\top u) - 1$. Where that is close to
    $\log 0$ it is computed as $\log(\tanh^2 + (1 + c)\,\mathrm{sech}^2)$, where nothing cancels, and otherwise by
    `log1p`, which keeps the digits of a saturated flow. There is no closed inverse: $a = w^\top z + b$ solves the
    increasing equation $a + c\tanh a = w^\top y + b$, by a Newton iteration that is monotone; then $z = y - \hat u\tanh a$.

    Args:
        w, u: `(n,)`, as in `constrained`.
        b: a number, `()`.

    Returns:
        The bijection of `(*batch, n)`. It works in the dtype and on the device of the point, and is differentiable in
        the point and in w, u, b, the inverse once.

    Raises:
        TypeError, ValueError: as `constrained`, or later for points of another shape or dtype.

    References:
        Rezende, Mohamed, Variational inference with normalizing flows (2015), equations (10) to (12) and appendix A.1.
    """
    _parameters(w, u, b)
    n = w.shape[0]

    def parts(x: Tensor, name: str) -> tuple[Tensor, Tensor, Tensor]:
        """The vector u-hat, the place w.x + b, and w.u."""
        arguments.events((n,), **{name: x})
        weights, shift = w.to(x), u.to(x)
        return _constrained(weights, shift), x @ weights + b.to(x), weights @ shift

    def forward_and_log_det(z: Tensor) -> tuple[Tensor, Tensor]:
        direction, a, x = parts(z, "z")
        return torch.addcmul(z, a.tanh().unsqueeze(-1), direction), _log_det(a, x)

    def inverse(y: Tensor) -> Tensor:
        direction, target, x = parts(y, "y")
        slope = _softplus(x)
        with torch.no_grad():
            a = _solve(target, slope)
            tanh2 = a.tanh().square()
            derivative = (tanh2 + slope * (1 - tanh2)).clamp(min=torch.finfo(y.dtype).tiny)
        # a + c tanh a = t defines a(t, c): its gradient is that of the residual over the derivative.
        residual = target - (slope - 1) * a.tanh()
        a = a + (residual - residual.detach()) / derivative
        return y - direction * a.tanh().unsqueeze(-1)

    return Bijection(
        lambda z: forward_and_log_det(z)[0],
        inverse,
        lambda z: _log_det(*parts(z, "z")[1:]),
        (n,),
        lambda y: -_log_det(*parts(inverse(y), "y")[1:]),
        batch_shapes=BATCH_SHAPES,
        forward_and_log_det=forward_and_log_det,
    )


Lemma = Callable[[list[Fraction], list[Fraction]], Fraction]


def rank_one_determinant(u: list[Fraction], v: list[Fraction]) -> Fraction:
    r"""$\det(I + u v^\top) = 1 + v^\top u$, the matrix determinant lemma, for vectors of one length.

    Raises:
        TypeError, ValueError: for other than fractions, or vectors of two lengths.
    """
    arguments.sequences(Fraction, u=u, v=v)
    arguments.same_length(u=u, v=v)
    return 1 + sum((a * b for a, b in zip(u, v, strict=True)), Fraction(0))


_NUMBERS = st.fractions(-5, 5, max_denominator=7)


@claim(
    given=lambda lemma, dtype: strategies.of_each(
        st.integers(1, 5), lambda n: st.tuples(*[st.lists(_NUMBERS, min_size=n, max_size=n)] * 2)
    ),
    reference=rank_one_determinant,
    mutants={
        "the 1 is left out": lambda lemma: lambda u, v: lemma(u, v) - 1,
        "the 1 is counted once for every dimension": lambda lemma: lambda u, v: lemma(u, v) + len(u) - 1,
        "only the diagonal is multiplied": lambda lemma: (
            lambda u, v: math.prod(1 + a * b for a, b in zip(u, v, strict=True))
        ),
    },
)
def determinant_of_a_rank_one_change(lemma: Lemma, u: list[Fraction], v: list[Fraction]) -> Iterator[Residual]:
    r"""A change of rank one has a determinant without elimination: $\det(I + u v^\top) = 1 + v^\top u$.

    Error bound: 0, in rational arithmetic; SymPy finds the determinant.
    """
    columns = [sympy.Matrix([sympy.Rational(x.numerator, x.denominator) for x in t]) for t in (u, v)]
    true = (sympy.eye(len(u)) + columns[0] * columns[1].T).det()
    yield exactly(lemma(u, v), Fraction(int(true.p), int(true.q)), what="det(I + u v^T)")


Classify = Callable[[Fraction], tuple[bool, bool]]


def classify(c: Fraction) -> tuple[bool, bool]:
    r"""Whether a planar flow with $w^\top u = c$ is injective ($c \ge -1$), and a diffeomorphism ($c > -1$).

    Args:
        c: exact.

    Raises:
        TypeError: if it is no fraction.
    """
    arguments.fractions(c=c)
    return c >= -1, c > -1


@claim(
    given=lambda classify, dtype: st.tuples(
        st.one_of(
            st.sampled_from([Fraction(-1) + s * Fraction(1, 2**k) for k in (0, 1, 5, 20) for s in (-1, 0, 1)]),
            st.fractions(-9, 9, max_denominator=50),
        )
    ),
    reference=classify,
    mutants={
        "a flow with w.u = -1 is called a diffeomorphism": lambda classify: lambda c: (classify(c)[0], c >= -1),
        "a flow with w.u = -1 is called not injective": lambda classify: lambda c: (c > -1, classify(c)[1]),
        "w.u >= -2 is taken for the constraint": lambda classify: lambda c: (c >= -2, c > -2),
        "every flow is called injective": lambda classify: lambda c: (True, classify(c)[1]),
    },
    examples=60,
)
def invertible_within_the_constraint(classify: Classify, c: Fraction) -> Iterator[Residual]:
    r"""A planar flow is invertible exactly within its constraint: $w^\top u \ge -1$, and $> -1$ for a diffeomorphism.

    Along w it is $g(y) = y + c\tanh y$ with $g' = 1 + c\,\mathrm{sech}^2 y$, where $\mathrm{sech}^2$ takes all values in
    $(0, 1)$ for $y \ne 0$, and 1 at 0.

    Error bound: 0. For all reals t SMT decides $1 + ct > 0$ on (0, 1), which makes g strictly increasing, and on
    (0, 1], which makes g' positive. For $c < -1$ ball arithmetic finds $g < 0 < g$ at two positive places, so that g
    has a root between them, and another at 0.
    """
    injective, diffeomorphism = classify(c)
    t = z3.Real("t")
    positive = 1 + z3.Q(c.numerator, c.denominator) * t > 0
    increasing = smt.for_all(positive, given=[t > 0, t < 1]).error == 0
    regular = smt.for_all(positive, given=[t > 0, t <= 1]).error == 0
    yield exactly(regular, diffeomorphism, what="g' > 0 everywhere")
    if increasing:
        yield exactly(injective, True, what="injective, since g is strictly increasing")
        return
    places = [min(-1 - c, Fraction(1)) / 2, -c]
    values = [arb.enclose(lambda y=y: arb.exact(y) + arb.exact(c) * arb.tanh(arb.exact(y))) for y in places]  # type: ignore[misc]
    crosses = float(values[0].upper) < 0 < float(values[1].lower)
    yield exactly(injective, not crosses, what="injective, though g has two roots")


Constrain = Callable[[Tensor, Tensor], Tensor]
Weights = tuple[Tensor, Tensor]


def _weights(subject: object, dtype: torch.dtype) -> st.SearchStrategy[Weights]:
    """w, not tiny, and u in one to three dimensions, some along w so that w.u is far from 0 or beyond where exp ends."""
    products = st.sampled_from([0.5, -5.0, -30.0, 90.0, 800.0, 5000.0])

    def of(w: Tensor) -> st.SearchStrategy[Weights]:
        along = products.map(lambda product: product * w / (w @ w))
        return st.tuples(st.just(w), st.one_of(strategies.tensors(tuple(w.shape), dtype, Interval(reach=10.0)), along))

    vectors = strategies.of_each(st.integers(1, 3), lambda n: strategies.tensors((n,), dtype, Interval(reach=10.0)))
    return vectors.filter(lambda w: bool(w.abs().amax() >= 1e-3)).flatmap(of)


def _exact_dot(v: list[arb.Scalar], w: list[arb.Scalar]) -> arb.Scalar:
    return sum((a * b for a, b in zip(v, w, strict=True)), arb.exact(0))


@claim(
    given=_weights,
    reference=constrained,
    mutants={
        "softplus is written as log(1 + exp(x)), which overflows": lambda f: (
            lambda w, u: u + (torch.log(1 + torch.exp(w @ u)) - 1 - w @ u) * w / (w @ w)
        ),
        "1 is not subtracted": lambda f: lambda w, u: f(w, u) + w / (w @ w),
        "w is divided by its length, not its square": lambda f: lambda w, u: u + (f(w, u) - u) * (w @ w).sqrt(),
        "u is taken as it is": lambda f: lambda w, u: u,
    },
)
def constraint_is_met(constrain: Constrain, w: Tensor, u: Tensor) -> Iterator[Residual]:
    r"""The constrained vector has a product with w above -1: $w^\top\hat u = \mathrm{softplus}(w^\top u) - 1 > -1$.

    Error bound: $8 + n$ roundings of $\sum_i\lvert w_i\rvert(\lvert u_i\rvert + \lvert\hat u_i - u_i\rvert) + 1$, the
    magnitudes that are added; both sides are enclosed. u is taken as drawn, and with 1000 added to $w^\top u$.
    """
    for far in (0.0, 1000.0):
        yield from _constraint(constrain, w, u + far * w / (w @ w))


def _constraint(constrain: Constrain, w: Tensor, u: Tensor) -> Iterator[Residual]:
    ours = constrain(w, u)
    yield exactly(ours.isfinite(), torch.ones_like(u, dtype=torch.bool), what="u-hat is finite")
    exact_w, exact_u, exact_ours = (arb.exact_list(t) for t in (w, u, ours))
    both = arb.enclose(
        lambda: [_exact_dot(exact_w, exact_ours), arb.log1p(arb.exp(_exact_dot(exact_w, exact_u))) - 1], rel_bits=40
    )
    scale = float((w.double().abs() * (u.double().abs() + (ours.double() - u.double()).abs())).sum()) + 1
    bound = (8 + w.shape[0]) * torch.finfo(w.dtype).eps * scale
    got, true = (Ball(both.mid[i], both.radius[i] + bound * i, kind=Kind.ENCLOSED) for i in (0, 1))
    yield at_most(got, true, what="w.u-hat <= softplus(w.u) - 1")
    yield at_most(true, got, what="softplus(w.u) - 1 <= w.u-hat")


Build = Callable[[Tensor, Tensor, Tensor], Bijection]
Planar = tuple[Tensor, Tensor, Tensor, Tensor]


def _flows(build: Build, dtype: torch.dtype) -> st.SearchStrategy[Planar]:
    """Parameters and a point, near zero and far into saturation."""

    def of(wu: Weights) -> st.SearchStrategy[Planar]:
        points = strategies.tensors(tuple(wu[0].shape), dtype, Interval(reach=10.0))
        scaled = st.builds(torch.mul, points, st.sampled_from([1.0, 2.0**-10, 128.0]))
        shift = st.sampled_from([0.0, 0.5, -3.0, 15.0, -30.0]).map(lambda b: torch.tensor(b, dtype=dtype))
        return st.tuples(st.just(wu[0]), st.just(wu[1]), shift, scaled)

    return _weights(build, dtype).flatmap(of)


def _true_log_det(w: Tensor, u: Tensor, b: Tensor, z: Tensor) -> tuple[Ball, Ball]:
    """Enclosures of the log-determinant and of its derivative in w.z + b, whatever the rounding of w.z + b and w.u."""
    eps, n = torch.finfo(w.dtype).eps, w.shape[0]
    magnitudes = [float((w.double() * t.double()).abs().sum()) for t in (z, u)]
    with arb.precision(256):
        exact_w, exact_u, exact_z = (arb.exact_list(t) for t in (w, u, z))
        noise = flint.arb(0, 1) * (n + 1) * eps
        a = _exact_dot(exact_w, exact_z) + arb.exact(b) + noise * (magnitudes[0] + abs(float(b)))
        slope = arb.log1p(arb.exp(_exact_dot(exact_w, exact_u) + noise * magnitudes[1])) * (1 + 4 * noise)
        t = arb.tanh(a)
        decay = arb.exp(-2 * abs(a))
        sech2 = 4 * decay / (1 + decay) ** 2
        near, far = t * t + slope * sech2, (slope - 1) * sech2
        logs = [v for v in (arb.log(near), arb.log1p(far)) if v.is_finite()]
        values = [1 / v for v in (near, 1 + far) if v.is_finite() and not v.contains(0)]
        if not logs or not values:
            raise Undecided("the determinant may be zero within rounding")
        value, inverse = (min(c, key=lambda v: v.rad()) for c in (logs, values))
        return arb.to_ball(value), arb.to_ball(-2 * (slope - 1) * sech2 * t * inverse)


def _with_log_det(change: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[Build], Build]:
    """The slip whose log-determinant is `change(w.z + b, w.u-hat, value)`."""

    def slip(build: Build) -> Build:
        def built(w: Tensor, u: Tensor, b: Tensor) -> Bijection:
            flow = build(w, u, b)
            value = flow.log_abs_det_jacobian or torch.zeros_like
            return replace(flow, log_abs_det_jacobian=lambda z: change(z @ w + b, _softplus(w @ u) - 1, value(z)))

        return built

    return slip


@claim(
    given=_flows,
    reference=planar,
    mutants={
        "sech^2 is written as 1 / cosh^2, which overflows": _with_log_det(
            lambda a, c, value: torch.log(torch.abs(1 + c / a.cosh() ** 2))
        ),
        "sech^2 is written as 1 - tanh^2, which cancels": _with_log_det(
            lambda a, c, value: torch.log1p(c * (1 - a.tanh() ** 2))
        ),
        "the slope of tanh is left out": _with_log_det(lambda a, c, value: torch.log1p(c + 0 * a)),
        "u is not constrained": lambda build: lambda w, u, b: build(w, u + 0.1 * w / (w @ w), b),
    },
    uses=(determinant_of_a_rank_one_change, constraint_is_met),
)
def log_det_is_safe(build: Build, w: Tensor, u: Tensor, b: Tensor, z: Tensor) -> Iterator[Residual]:
    r"""The log-determinant and its gradient are right where the flow is saturated or almost folds.

    $\log\det J = \log(1 + c\,\mathrm{sech}^2 a)$ with $a = w^\top z + b$ and $c = \mathrm{softplus}(w^\top u) - 1$.

    Error bound: 16 roundings of the value, or of $1 + \lvert w\rvert^\top\lvert u\rvert$ times the smallest normal number,
    where $\mathrm{sech}^2$ underflows; and whatever $n + 1$ roundings of the terms of a and $w^\top u$ do to it, which
    ball arithmetic encloses. The same for the gradient $w\,\partial_a\log\det J$.
    """
    true, derivative = _true_log_det(w, u, b, z)
    point, log_det = z.detach().clone().requires_grad_(), build(w, u, b).log_abs_det_jacobian
    if log_det is None:
        raise NotImplementedError("the flow has no log_abs_det_jacobian")
    value = log_det(point)
    wide = w.double().cpu()
    floor = torch.finfo(w.dtype).tiny * (1 + (wide * u.double().cpu()).abs().sum())
    yield close(value.detach(), true, ulps=16, scale=true.mid.abs() + floor, what="log|det J|")
    gradient = torch.autograd.grad(value, point)[0]
    along = Ball(wide * derivative.mid, wide.abs() * derivative.radius, kind=Kind.ENCLOSED, source=derivative.source)
    yield close(gradient, along, ulps=16, scale=along.mid.abs() + floor * wide.abs(), what="the gradient of log|det J|")


def _example(product: float) -> Bijection:
    w, u = (torch.tensor(t, dtype=torch.float64) for t in ([0.75, -0.5, 0.25], [0.5, 1.0, -0.5]))
    return planar(w, u + (product - w @ u) * w / (w @ w), torch.tensor(0.25, dtype=torch.float64))


stretching, almost_folding = _example(3.0), _example(-3.0)
