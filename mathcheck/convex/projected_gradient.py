r"""Projected gradient ascent $x^+ = P_C(x + \alpha\nabla f(x))$: it maximises f over a closed convex set C.

With the plus sign it goes *up*: $f(x^+) \ge f(x) + (\tfrac1\alpha - \tfrac L2)\lVert x^+ - x\rVert^2$ where the gradient has the
Lipschitz constant L, so it never decreases for $\alpha \le 1/L$. It stands still exactly at the constrained stationary
points, $\langle\nabla f(x),\, z - x\rangle \le 0$ for all z in C; where f is concave those are the maximisers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.convex import segment
from mathcheck.convex.projection import Projection
from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Kind, Residual, at_most, close, exactly

Function = Callable[[Tensor], Tensor]
Ascend = Callable[[Function, Tensor, float, int], Tensor]


def projected_gradient_ascent(
    f: Function, x: Tensor, project: Function, step_size: float, steps: int = 1, *, trace: bool = False
) -> Tensor:
    r"""$x_{k+1} = P_C(x_k + \alpha\nabla f(x_k))$ for k = 0, ..., steps-1, from the starting point x.

    Every row of a batch climbs by itself. To fill in missing pixels, let f be the log-likelihood and `project` keep the
    observed ones, e.g. `segment.project_on_segment`.

    Args:
        f: `(*batch, n)` -> `(*batch,)`, differentiable, each value a function of its own row.
        x: `(*batch, n)`, floating; need not lie in C.
        project: $P_C$, `(*batch, n)` -> `(*batch, n)`.
        step_size: $\alpha$, positive; at most 1/L for an ascent that never goes down.
        steps: how many, at least 0.
        trace: whether to return all the points.

    Returns:
        $x_{\mathrm{steps}}$ of the shape of x, without gradient; with `trace` all of $x_0, x_1, \dots$, `(steps + 1, *batch, n)`.

    Raises:
        TypeError: if `x` is no floating tensor, or an argument is of another type.
        ValueError: if `step_size` is not positive and finite, `steps` is negative, or f or `project` returns another
            shape.

    References:
        Bertsekas, Nonlinear Programming, section 2.3: gradient projection methods.
    """
    arguments.functions(f=f, project=project)
    arguments.floating(x=x)
    if x.ndim < 1:
        raise ValueError("x must have shape (*batch, n), got a tensor without dimensions")
    arguments.positive(step_size=step_size)
    arguments.at_least(0, steps=steps)
    arguments.instances(bool, trace=trace)
    path = [x.detach().clone()]
    for _ in range(steps):
        point = path[-1] + step_size * gradient(f, path[-1])
        with torch.no_grad():
            point = project(point)
        if point.shape != x.shape:
            raise ValueError(f"project must return the shape of x, {tuple(x.shape)}, got {tuple(point.shape)}")
        path = [*path, point] if trace else [point]
    return torch.stack(path) if trace else path[0]


def gradient(f: Function, x: Tensor) -> Tensor:
    r"""$\nabla f(x)$ row by row, `(*batch, n)`, afresh: no call adds to what an earlier one found.

    Args:
        f: `(*batch, n)` -> `(*batch,)`, differentiable.
        x: `(*batch, n)`.

    Raises:
        TypeError: if f is no function or x no floating tensor.
        ValueError: if f returns another shape.
    """
    arguments.functions(f=f)
    arguments.floating(x=x)
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        value = f(leaf)
        if value.shape != x.shape[:-1]:
            raise ValueError(f"f must return one value a row, {tuple(x.shape[:-1])}, got {tuple(value.shape)}")
        return torch.autograd.grad(value.sum(), leaf)[0]


@dataclass(frozen=True)
class Ascent:
    r"""A projected gradient method, as somebody computes it.

    Args:
        ascend: called as `ascend(f, x, step_size, steps)`; f maps `(*batch, n)` to `(*batch,)`, x is `(*batch, n)`.
        projection: the projection that it uses, onto a box with finite ends.
    """

    ascend: Ascend
    projection: Projection


reference = Ascent(
    lambda f, x, step_size, steps: projected_gradient_ascent(f, x, segment.reference.project, step_size, steps),
    segment.reference,
)


@dataclass(frozen=True)
class Quadratic:
    r"""$f(x) = b^\top x - \tfrac12 x^\top H x$ with entries that are small integers: exact in rational arithmetic.

    `fraction` is the step size in units of $1/L$, where $L = \max(1, \max_i \sum_j \lvert H_{ij}\rvert)$ bounds the
    spectral norm of H.
    """

    b: tuple[int, ...]
    h: tuple[tuple[int, ...], ...]
    fraction: float

    def __call__(self, x: Tensor) -> Tensor:
        """The value at every row of `(*batch, n)`."""
        matrix, vector = x.new_tensor(self.h), x.new_tensor(self.b)
        return (x * vector).sum(-1) - (x * (x @ matrix)).sum(-1) / 2

    @property
    def lipschitz(self) -> int:
        """L."""
        return max(1, *(sum(abs(v) for v in row) for row in self.h))

    @property
    def step_size(self) -> float:
        """The fraction of 1/L, rounded to a float."""
        return self.fraction / self.lipschitz

    def value(self, x: list[Fraction]) -> Fraction:
        """The value at a rational point."""
        return sum((x[i] * (self.b[i] + g) / 2 for i, g in enumerate(self.slope(x))), Fraction(0))

    def slope(self, x: list[Fraction]) -> list[Fraction]:
        r"""$\nabla f(x) = b - Hx$ at a rational point."""
        return [
            b - sum((Fraction(h) * v for h, v in zip(row, x, strict=True)), Fraction(0))
            for b, row in zip(self.b, self.h, strict=True)
        ]


Slip = Callable[[Ascent], Ascent]


def _stepwise(step: Callable[[Ascent, Tensor, Tensor, float], Tensor]) -> Slip:
    """The slip that moves by `step(ascent, x, gradient, step_size)`."""

    def slip(a: Ascent) -> Ascent:
        def ascend(f: Function, x: Tensor, step_size: float, steps: int) -> Tensor:
            for _ in range(steps):
                x = step(a, x, gradient(f, x), step_size)
            return x

        return replace(a, ascend=ascend)

    return slip


def _accumulating(a: Ascent) -> Ascent:
    def ascend(f: Function, x: Tensor, step_size: float, steps: int) -> Tensor:
        total = torch.zeros_like(x)
        for _ in range(steps):
            total = total + gradient(f, x)
            x = a.projection.project(x + step_size * total)
        return x

    return replace(a, ascend=ascend)


def _rescaled(factor: float) -> Slip:
    return lambda a: replace(a, ascend=lambda f, x, step_size, steps: a.ascend(f, x, factor * step_size, steps))


_SIGN: dict[str, Slip] = {
    "the gradient is subtracted (a descent for an ascent)": lambda a: replace(
        a, ascend=lambda f, x, step_size, steps: a.ascend(lambda y: -f(y), x, step_size, steps)
    ),
}
_CLAMPED: dict[str, Slip] = {
    "the clamped gradient of -f is written in place of the point": _stepwise(
        lambda a, x, g, step_size: a.projection.project(-g)
    ),
    "the step is clamped in place of the point": _stepwise(
        lambda a, x, g, step_size: a.projection.project(step_size * g)
    ),
}
_UNPROJECTED: dict[str, Slip] = {"the projection is left out": _stepwise(lambda a, x, g, step_size: x + step_size * g)}
_ORDER: dict[str, Slip] = {
    "it projects before the step and not after": _stepwise(
        lambda a, x, g, step_size: a.projection.project(x) + step_size * g
    ),
}
_REPAIRS: dict[str, Slip] = {
    **_SIGN,
    "the result is projected": lambda a: replace(a, ascend=lambda *args: a.projection.project(a.ascend(*args))),
    "the step size is divided by 4": _rescaled(0.25),
}
law = functools.partial(claim, reference=reference, repairs=_REPAIRS)


def _ends(a: Ascent, dtype: torch.dtype) -> list[list[Fraction]]:
    far = torch.full((a.projection.onto.dimension,), torch.finfo(dtype).max, dtype=dtype)
    return [_rational(a.projection.onto.member(end)) for end in (-far, far)]


def _rational(x: Tensor) -> list[Fraction]:
    return [Fraction(v) for v in x.tolist()]


def _quadratics(n: int, concave: bool) -> st.SearchStrategy[Quadratic]:
    b = st.lists(st.integers(-3, 3), min_size=n, max_size=n).map(tuple)
    fractions = st.one_of(st.sampled_from([1.0, 0.5]), st.floats(0.0625, 1.0))
    if concave:
        diagonals = st.lists(st.integers(1, 4), min_size=n, max_size=n)
        matrices = diagonals.map(lambda d: tuple(tuple(d[i] * (i == j) for j in range(n)) for i in range(n)))
    else:
        entries = st.lists(st.integers(-3, 3), min_size=n * n, max_size=n * n)
        matrices = entries.map(lambda e: tuple(tuple(e[n * min(i, j) + max(i, j)] for j in range(n)) for i in range(n)))
    return st.builds(Quadratic, b, matrices, fractions)


def _starts(a: Ascent, dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
    """Points of the set."""
    n = a.projection.onto.dimension
    return strategies.tensors((n,), dtype, strategies.Interval(reach=2.0)).map(a.projection.onto.member)


def _problems(a: Ascent, dtype: torch.dtype, concave: bool = False) -> st.SearchStrategy[tuple[Quadratic, Tensor]]:
    return st.tuples(_quadratics(a.projection.onto.dimension, concave), _starts(a, dtype))


@law(
    given=_problems,
    mutants=_SIGN
    | _CLAMPED
    | {
        "the step is 4 times too long (the step size exceeds 2/L)": _rescaled(4.0),
        "it goes half as far again after the projection": _stepwise(
            lambda a, x, g, step_size: 3 * a.projection.project(x + step_size * g) - 2 * x
        ),
    },
)
def never_goes_down(a: Ascent, f: Quadratic, x: Tensor) -> Iterator[Residual]:
    r"""A step of size at most 1/L never goes down: $f(x^+) \ge f(x)$.

    More exactly $f(x^+) \ge f(x) + (\tfrac1\alpha - \tfrac L2)\lVert x^+ - x\rVert^2$ for $x \in C$ and any f whose
    gradient has the Lipschitz constant L, concave or not.

    Error bound: both values in rational arithmetic. The point before the projection carries an error of n + 4 roundings of
    $s_i = \lvert x_i\rvert + \alpha(\lvert b_i\rvert + \sum_j \lvert H_{ij}x_j\rvert)$, which changes the right side by at most
    $\tfrac1\alpha\sum_i s_i\lvert x^+_i - x_i\rvert$ times that; a clip adds none.
    """
    step = f.step_size
    new = a.ascend(f, x, step, 1)
    if new.shape != x.shape or not bool(new.isfinite().all()):
        yield exactly(tuple(new.shape), tuple(x.shape), kind=Kind.NUMERICAL, what="the shape of x+")
        yield at_most(new, torch.finfo(x.dtype).max, what="x+ is finite")
        return
    before, after, alpha = _rational(x), _rational(new), Fraction(step)
    move = [v - u for u, v in zip(before, after, strict=True)]
    gain = (1 / alpha - Fraction(f.lipschitz, 2)) * sum((d * d for d in move), Fraction(0))
    sizes = [
        abs(u) + alpha * (abs(b) + sum((abs(h * v) for h, v in zip(row, before, strict=True)), Fraction(0)))
        for u, b, row in zip(before, f.b, f.h, strict=True)
    ]
    scale = sum((s * abs(d) for s, d in zip(sizes, move, strict=True)), Fraction(0)) / alpha
    slack = (len(move) + 4) * Fraction(torch.finfo(x.dtype).eps) * scale
    loss = f.value(before) + gain - f.value(after)
    yield Residual(
        max(float(loss), 0.0),
        float(slack),
        Kind.EXACT,
        "f(x) + (1/a - L/2) |x+ - x|^2 - f(x+)",
        float(loss),
        0.0,
        source="rational arithmetic",
    )


def _slopes(a: Ascent, dtype: torch.dtype) -> st.SearchStrategy[tuple[tuple[float, ...], Tensor, float]]:
    n = a.projection.onto.dimension
    slopes = st.lists(st.sampled_from([0.0, 1.0, -1.0, 0.5, -2.0]), min_size=n, max_size=n).map(tuple)
    points = st.lists(st.sampled_from([0.0, 1.0, 0.5, 0.25]), min_size=n, max_size=n)
    starts = points.map(lambda v: a.projection.onto.member(torch.tensor(v, dtype=dtype)))
    return st.tuples(slopes, starts, st.sampled_from([1.0, 0.5, 0.125]))


@law(given=_slopes, mutants=_SIGN | _CLAMPED | _UNPROJECTED | _ORDER)
def stands_still_exactly_at_stationary_points(
    a: Ascent, slope: tuple[float, ...], x: Tensor, step_size: float
) -> Iterator[Residual]:
    r"""It stands still exactly at the constrained stationary points.

    For $x \in C$ and any $\alpha > 0$: $P(x + \alpha\nabla f(x)) = x$ if and only if
    $\langle\nabla f(x),\, z - x\rangle \le 0$ for all $z \in C$.

    Error bound: 0; the points, slopes and steps drawn are dyadic numbers of few digits, so no operation rounds. On a box
    the largest inner product is attained coordinate by coordinate, at an end of its interval.
    """
    low, high = _ends(a, x.dtype)
    moved = not torch.equal(a.ascend(lambda y: (y * y.new_tensor(slope)).sum(-1), x, step_size, 1), x)
    at = zip(map(Fraction, slope), _rational(x), low, high, strict=True)
    climb = sum((max(g * (lo - v), g * (hi - v)) for g, v, lo, hi in at), Fraction(0))
    yield exactly(moved, climb > 0, what=f"x moves; the largest <grad f(x), z - x> is {climb}")


@law(
    given=lambda a, dtype: st.tuples(_problems(a, dtype, True), st.integers(1, 12)).map(lambda d: (*d[0], d[1])),
    mutants=_SIGN | _CLAMPED | _UNPROJECTED | {"the gradient of earlier steps is added": _accumulating},
)
def reaches_the_constrained_maximiser(a: Ascent, f: Quadratic, x: Tensor, steps: int) -> Iterator[Residual]:
    r"""It comes nearer the constrained maximiser at a known rate.

    For f with $-LI \preceq \nabla^2 f \preceq -\mu I$, $\mu > 0$, and $\alpha \le 1/L$:
    $\lVert x_k - x^*\rVert \le (1 - \alpha\mu)^k\,\lVert x_0 - x^*\rVert$ with $x^* = \arg\max_{z \in C} f(z)$.

    Error bound: each step adds the rounding of $x + \alpha\nabla f(x)$, at most n + 4 roundings of $\lVert s\rVert$
    where $s_i$ is the largest $\lvert x_i\rvert + \alpha(\lvert b_i\rvert + \lvert h_i x_i\rvert)$ on C, and later steps do not
    enlarge it; and 4 roundings of $x^*$ and the norms. For a diagonal Hessian $x^*_i$ is $b_i/h_i$ clipped, in rational
    arithmetic.
    """
    low, high = _ends(a, x.dtype)
    diagonal = [row[i] for i, row in enumerate(f.h)]
    best = [min(max(Fraction(b, h), lo), hi) for b, h, lo, hi in zip(f.b, diagonal, low, high, strict=True)]
    alpha, far = Fraction(f.step_size), [max(abs(lo), abs(hi)) for lo, hi in zip(low, high, strict=True)]
    sizes = [float(r + alpha * (abs(b) + h * r)) for r, b, h in zip(far, f.b, diagonal, strict=True)]
    size = torch.tensor(sizes, dtype=torch.float64).norm()
    new = a.ascend(f, x, f.step_size, steps)
    if new.shape != x.shape:
        yield exactly(tuple(new.shape), tuple(x.shape), kind=Kind.NUMERICAL, what="the shape of x_k")
        return
    target = torch.tensor([float(v) for v in best], dtype=torch.float64)
    start, end = ((point.double().cpu() - target).norm() for point in (x, new))
    rate = float(1 - alpha * min(diagonal)) ** steps
    slack = (steps * (len(best) + 4) + 4) * torch.finfo(x.dtype).eps
    yield at_most(end, rate * start + slack * size, what="|x_k - x*| <= (1 - a mu)^k |x_0 - x*|")


@law(
    given=lambda a, dtype: st.tuples(
        _quadratics(a.projection.onto.dimension, True),
        strategies.tensors((3, a.projection.onto.dimension), dtype, strategies.Interval(reach=2.0)),
    ),
    mutants={
        "the gradient is averaged over the batch": lambda a: replace(
            a,
            ascend=lambda f, x, step_size, steps: a.ascend(
                lambda y: f(y).mean().expand(y.shape[:-1]) / y.shape[0] if y.ndim > 1 else f(y), x, step_size, steps
            ),
        ),
        "all rows follow the first": lambda a: replace(
            a,
            ascend=lambda f, x, step_size, steps: a.ascend(f, x[:1] if x.ndim > 1 else x, step_size, steps).expand(
                x.shape
            ),
        ),
    },
    examples=40,
)
def rows_climb_by_themselves(a: Ascent, f: Quadratic, x: Tensor) -> Iterator[Residual]:
    r"""Every row of a batch climbs by itself: $x^+_b = P(x_b + \alpha\nabla f(x_b))$.

    Error bound: n + 4 roundings of $\lvert x_i\rvert + \alpha(\lvert b_i\rvert + \sum_j\lvert H_{ij}x_j\rvert)$ in either of
    the two; a product with a matrix may add in another order for a batch.
    """
    step = f.step_size
    batch, rows = a.ascend(f, x, step, 1), torch.stack([a.ascend(f, row, step, 1) for row in x])
    wide = x.double().cpu().abs()
    size = wide + step * (wide.new_tensor(f.b).abs() + wide @ wide.new_tensor(f.h).abs())
    yield close(batch, rows, ulps=2 * (x.shape[-1] + 4), scale=size, what="a step of the batch")
