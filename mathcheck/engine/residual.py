"""Numbers with a radius, and the one thing that a check yields: an error beside the bound it must respect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction

import torch
from torch import Tensor

Real = float | int | Fraction | Tensor


class Kind(StrEnum):
    """How a comparison was made, strongest first. Only `EXACT` and `ENCLOSED` may be called proved.

    `EXACT`: symbolic identity, SMT for all reals, rational enumeration. `ENCLOSED`: ball arithmetic. `NUMERICAL`: a
    float against a better float, scaled by the condition number. `STATISTICAL`: valid at finite n, with alpha and the
    smallest error it would have caught. `ASYMPTOTIC`: valid as n grows.
    """

    EXACT = "exact"
    ENCLOSED = "enclosed"
    NUMERICAL = "numerical"
    STATISTICAL = "statistical"
    ASYMPTOTIC = "asymptotic"

    @property
    def strength(self) -> int:
        """0 for the strongest kind, 4 for the weakest."""
        return list(Kind).index(self)


class Undecided(Exception):
    """Raised in a check when an oracle could not find out, e.g. a solver ran out of time: the example is skipped."""


def as_float64(value: Real | list[float] | tuple[float, ...]) -> Tensor:
    """`value` as a float64 tensor on the CPU, without gradient."""
    if isinstance(value, Tensor):
        return value.detach().to(device="cpu", dtype=torch.float64)
    if isinstance(value, (list, tuple)):
        return torch.tensor([float(v) for v in value], dtype=torch.float64)
    return torch.tensor(float(value), dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Ball:
    """What an oracle answers: the true value lies in `mid` +- `radius`, elementwise.

    Args:
        mid: centre, any shape; stored in float64.
        radius: at least 0, of the shape of `mid` or a number; it includes the rounding of `mid` to float64.
        kind: how the value was found.
        source: the oracle in words, for reports, e.g. "certified integral".

    Raises:
        ValueError: if a radius is negative or NaN, or its shape does not fit.
    """

    mid: Tensor
    radius: Tensor
    kind: Kind
    source: str

    def __init__(self, mid: Real | list[float], radius: Real | list[float] = 0.0, *, kind: Kind, source: str = ""):
        centre, spread = as_float64(mid), as_float64(radius)
        if spread.ndim and spread.shape != centre.shape:
            raise ValueError(f"radius has shape {tuple(spread.shape)}, expected {tuple(centre.shape)} as mid")
        if not bool((spread >= 0).all()):
            raise ValueError(f"radius must be at least 0, got {spread.tolist()}")
        object.__setattr__(self, "mid", centre)
        object.__setattr__(self, "radius", spread.expand(centre.shape))
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "source", source)

    @classmethod
    def stack(cls, balls: Sequence[Ball], shape: Sequence[int]) -> Ball:
        """Balls of one shape, kind and source as one ball of `shape`: the rows of a batch that were found one by one."""
        mid, radius = torch.stack([b.mid for b in balls]), torch.stack([b.radius for b in balls])
        size = tuple(shape)
        return cls(mid.reshape(size), radius.reshape(size), kind=balls[0].kind, source=balls[0].source)

    @property
    def lower(self) -> Tensor:
        """The smallest value that the ball holds."""
        return self.mid - self.radius

    @property
    def upper(self) -> Tensor:
        """The largest value that the ball holds."""
        return self.mid + self.radius

    def __contains__(self, value: Real) -> bool:
        point = as_float64(value)
        return bool(((self.lower <= point) & (point <= self.upper)).all())


def fraction_ball(value: Fraction, source: str = "exact rational arithmetic") -> Ball:
    """The ball around a rational number whose radius is the rounding of the number to float64."""
    mid = float(value)
    return Ball(
        mid,
        math.nextafter(abs(float(Fraction(mid) - value)), math.inf) if Fraction(mid) != value else 0.0,
        kind=Kind.EXACT,
        source=source,
    )


@dataclass(frozen=True, eq=False)
class Entries:
    """All numbers of a comparison, flattened, in float64; its residual shows the worst of them.

    Attributes:
        error, bound: of each.
        difference: what was found less what was expected.
        size: of what was expected.
    """

    error: Tensor
    bound: Tensor
    difference: Tensor
    size: Tensor


@dataclass(frozen=True)
class Residual:
    """An error and its bound: the comparison holds where `error <= bound`.

    `what` names the two things compared; `actual`, `expected` and `radius` are those of the worst element; `alpha` and
    `detectable` (the smallest error that would have been caught) belong to statistical comparisons; `entries` are all
    numbers of the comparison, where there are any.
    """

    error: float
    bound: float
    kind: Kind
    what: str = ""
    actual: float | str | None = None
    expected: float | str | None = None
    radius: float = 0.0
    source: str = ""
    alpha: float | None = None
    detectable: float | None = None
    entries: Entries | None = field(default=None, repr=False, compare=False)

    @property
    def ratio(self) -> float:
        """`error / bound`; infinite where either is NaN, or the bound is 0 and the error is not."""
        if math.isnan(self.error) or math.isnan(self.bound):
            return math.inf
        if self.error <= 0:
            return 0.0
        return self.error / self.bound if self.bound > 0 else math.inf

    @property
    def informative(self) -> bool:
        """False where the bound is infinite: such a comparison could not have failed, so it compared nothing."""
        return self.bound != math.inf


def promised(residual: Residual) -> Residual:
    """The same comparison, held to its bound even where lost digits are forgiven: the subject promised that accuracy."""
    return replace(residual, entries=None)


def _eps(*values: object) -> tuple[float, float, float]:
    """(eps, smallest normal, largest) of the coarsest floating dtype among the tensors in `values`."""
    dtypes = [v.dtype for v in values if isinstance(v, Tensor) and v.dtype.is_floating_point]
    info = torch.finfo(max(dtypes, key=lambda d: torch.finfo(d).eps, default=torch.float64))
    return info.eps, info.tiny, info.max


def _shape_residual(what: str, actual: Tensor, expected: torch.Size, kind: Kind) -> Residual:
    return Residual(
        math.inf, 0.0, kind, f"the shape of {what or 'the result'}", str(tuple(actual.shape)), str(tuple(expected))
    )


def _worst(error: Tensor, bound: Tensor, actual: Tensor, expected: Ball, what: str) -> Residual:
    """The residual of the element with the largest ratio; elements with an infinite bound count as not compared."""
    error, bound, kind, source = error.flatten(), bound.flatten(), expected.kind, expected.source
    informative = bound != math.inf
    if not bool(informative.any()):
        return Residual(0.0, math.inf, kind, what, source=source)
    ratio = torch.where(error <= 0, torch.zeros_like(error), error / bound)
    ratio = torch.where(error.isnan() | bound.isnan(), math.inf, ratio)
    worst = int(torch.where(informative, ratio, -1.0).argmax())
    pick = [float(t.flatten()[worst]) for t in (error, bound, actual, expected.mid, expected.radius)]
    where = f"{what} [{worst}]" if error.numel() > 1 and what else what
    entries = Entries(error, bound, actual.flatten() - expected.mid.flatten(), expected.mid.abs().flatten())
    return Residual(pick[0], pick[1], kind, where, pick[2], pick[3], pick[4], source, entries=entries)


def close(
    actual: Tensor | float,
    expected: Ball | Tensor | float,
    *,
    ulps: float = 8.0,
    cond: Tensor | float = 1.0,
    scale: Tensor | float | None = None,
    what: str = "",
) -> Residual:
    r"""$\lvert a - e\rvert \le \mathrm{ulps}\cdot\epsilon\cdot\mathrm{cond}\cdot\mathrm{scale} + \mathrm{radius}$.

    $\epsilon$ is that of the coarser dtype among `actual` and `expected`; products below the smallest normal number
    are raised to it, since rounding is absolute there. Infinities must agree; a true value above the dtype's largest
    number may come back as that infinity. Elements whose bound is infinite count as not compared.

    Args:
        actual: what the subject said, `(*shape)`.
        expected: the oracle's ball, `(*shape)`; a tensor or number counts as a float with radius 0. Another shape is
            an error of infinite size: nothing is ever broadcast.
        ulps: how many roundings the derivation of the bound counts.
        cond: condition number, elementwise or a number.
        scale: magnitude that the roundings are relative to; default `abs(expected)`.
        what: names the two things compared.

    Returns:
        The residual of the worst element.
    """
    ball = expected if isinstance(expected, Ball) else Ball(expected, kind=Kind.NUMERICAL)
    eps, tiny, largest = _eps(actual, expected)
    got = as_float64(actual)
    if got.shape != ball.mid.shape:
        return _shape_residual(what, got, ball.mid.shape, ball.kind)
    size = ball.mid.abs() if scale is None else as_float64(scale)
    finite = ball.mid.isfinite()
    bound = ulps * eps * (as_float64(cond) * size).clamp(min=tiny).expand(ball.mid.shape) + ball.radius
    bound = torch.where(finite, bound, 0.0)
    error = (got - ball.mid).abs()
    same = got == ball.mid
    overflow = finite & (ball.upper.abs().maximum(ball.lower.abs()) > largest * (1 - eps)) & got.isinf()
    error = torch.where(same | (overflow & (got.sign() == ball.mid.sign())), 0.0, error)
    return _worst(error, bound, got, ball, what)


def at_most(
    lower: Ball | Tensor | float,
    upper: Ball | Tensor | float,
    *,
    ulps: float = 0.0,
    scale: Tensor | float = 0.0,
    what: str = "",
) -> Residual:
    r"""$l \le u$ up to $\mathrm{ulps}\cdot\epsilon\cdot\mathrm{scale}$ plus both radii; by default to the last bit.

    Args:
        lower: `(*shape)`, a ball, tensor or number.
        upper: `(*shape)` or a number.
        ulps: how many roundings the derivation of the bound counts.
        scale: magnitude that the roundings are relative to.
        what: names the two things compared.

    Returns:
        The residual of the worst element; its error is $\max(l - u, 0)$.
    """
    balls = [b for b in (lower, upper) if isinstance(b, Ball)]
    kind = max((b.kind for b in balls), key=lambda k: k.strength, default=Kind.NUMERICAL)
    low = lower if isinstance(lower, Ball) else Ball(lower, kind=kind)
    high = upper if isinstance(upper, Ball) else Ball(upper, kind=kind)
    if high.mid.ndim and low.mid.shape != high.mid.shape:
        return _shape_residual(what, low.mid, high.mid.shape, kind)
    bound = (ulps * _eps(lower, upper)[0] * as_float64(scale) + low.radius + high.radius).expand(low.mid.shape)
    error = torch.where(low.mid <= high.mid, 0.0, low.mid - high.mid)
    ball = Ball(high.mid.expand(low.mid.shape), kind=kind, source=high.source or low.source)
    return _worst(error, bound, low.mid, ball, what)


def exactly(actual: object, expected: object, *, kind: Kind | None = None, what: str = "") -> Residual:
    """`actual` equals `expected` to the last bit: the error is the number of places where they differ, the bound 0.

    Tensors must agree in shape and dtype too, and two NaN at the same place are equal; they are floats, so the kind is
    `NUMERICAL` unless given. Other objects (fractions, integers, symbols, shapes) count as `EXACT`.
    """
    kind = kind or (Kind.NUMERICAL if isinstance(actual, Tensor) else Kind.EXACT)
    if isinstance(actual, Tensor) and isinstance(expected, Tensor):
        if actual.shape != expected.shape:
            return _shape_residual(what, actual, expected.shape, kind)
        if actual.dtype != expected.dtype:
            return Residual(
                math.inf, 0.0, kind, f"the dtype of {what or 'the result'}", str(actual.dtype), str(expected.dtype)
            )
        left, right = actual.detach().cpu(), expected.detach().cpu()
        differs = (left != right) & ~((left != left) & (right != right))
        if not bool(differs.any()):
            return Residual(0.0, 0.0, kind, what)
        first = int(differs.flatten().to(torch.uint8).argmax())
        gap = torch.where(differs, as_float64(left) - as_float64(right), 0.0).flatten()
        entries = Entries(gap.abs(), torch.zeros_like(gap), gap, as_float64(right).abs().flatten())
        pair = float(left.flatten()[first]), float(right.flatten()[first])
        return Residual(float(differs.sum()), 0.0, kind, what, *pair, entries=entries)
    same = bool(actual == expected)
    return Residual(0.0 if same else 1.0, 0.0, kind, what, str(actual), str(expected))
