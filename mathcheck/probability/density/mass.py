r"""The mass that a log-density gives to an interval, a square or a cube, whatever its dtype, with a radius.

Substituting $x = a + e^{\frac\pi2\sinh t}$ on a half-line, or $x = a + (b-a)/(1 + e^{-\pi\sinh t})$ on an interval, makes
an integrand that is smooth inside fall doubly exponentially in t, where equidistant nodes converge exponentially fast.

The line is cut where the density peaks (see `peaks`), so that a narrow peak far from zero is resolved. In the plane and in
space the integrand is shared out among its peaks, $p = \sum_k p\,q_k/\sum_j q_j$ with a heavy-tailed $q_k$ of the shape of
peak k, and each share is integrated with $x = m_k + L_k z$, $z_i = \sinh(\frac\pi2\sinh t_i)$, in coordinates in which that
peak is round.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mathcheck.engine.residual import Ball, Kind, Undecided
from mathcheck.probability.density import peaks
from mathcheck.probability.density.cells import Axes, adaptive
from mathcheck.probability.density.peaks import Peak

# A mass that is not known better than this says nothing about a normalising constant.
COARSEST = 1e-2
# A rule that knows the mass so well needs no second one, or no third.
_FINE, _GOOD = 1e-6, 1e-3
MOST_COORDINATES = 3
# Half the range of t where several axes multiply: at its end smooth densities are below the smallest float.
_RANGE = 4.25
# A first sum that settles the question.
_HUGE = 1e6
# Terms of a sum whose own rounding is not looked at.
_NEGLIGIBLE = 1e-12
# Next to 0 the powers of a number underflow, and what is made of them may be NaN; there is no mass to speak of.
_NEAR = 1e-24
# Nodes of one rule, and of one call.
_MOST_NODES, _AT_ONCE = 350_000, 65_536
# The radius of what is not known at all.
_UNKNOWN = 1e300
_SOURCE = "integral, double-exponential rule"

LogDensity = Callable[[Tensor], Tensor]


def _half(like: Tensor) -> float:
    """Half the range of t on a line, at whose end the square of a distance does not overflow in the dtype."""
    farthest = 1e-3 * math.sqrt(torch.finfo(like.dtype).max)
    return math.asinh(math.log(farthest) * 2 / math.pi)


def _axis(low: float, high: float, step: float, half: float) -> tuple[Tensor, Tensor, Tensor]:
    """Nodes on one interval with at least one finite end, their weights, and how far they are from the nearer end."""
    t = torch.arange(-round(half / step), round(half / step) + 1, dtype=torch.float64) * step
    if math.isfinite(low) and math.isfinite(high):
        left, right = torch.sigmoid(math.pi * t.sinh()), torch.sigmoid(-math.pi * t.sinh())
        # Measured from the nearer end, so that a node close to it keeps its digits.
        x = torch.where(t < 0, low + (high - low) * left, high - (high - low) * right)
        weight = step * (high - low) * math.pi * t.cosh() * left * right
        return x, weight, (high - low) * torch.minimum(left, right)
    distance = torch.exp(math.pi / 2 * t.sinh())
    x = low + distance if math.isfinite(low) else high - distance
    return x, step * math.pi / 2 * t.cosh() * distance, distance


class _Nodes(NamedTuple):
    """Nodes `(k,)` in the dtype, their weights in float64, the cut or end that each is measured from, and their distance."""

    x: Tensor
    weight: Tensor
    cut: Tensor
    distance: Tensor


def _line(like: Tensor, low: float, high: float, cuts: Sequence[float], step: float, half: float) -> _Nodes:
    """A rule for each piece between the cuts; no node lies on one, where a density may jump or be infinite."""
    parts = []
    for a, b in itertools.pairwise([low, *cuts, high]):
        x, weight, distance = _axis(a, b, step, half)
        exact, x = x, x.to(like.dtype).cpu()
        for end, inwards in ((a, math.inf), (b, -math.inf)):
            if math.isfinite(end):
                inside = torch.nextafter(torch.tensor(end, dtype=x.dtype), torch.tensor(inwards, dtype=x.dtype))
                x = x.clamp(min=float(inside)) if inwards > 0 else x.clamp(max=float(inside))
        nearer = torch.full_like(exact, a if math.isfinite(a) else b)
        if math.isfinite(a) and math.isfinite(b):
            nearer = nearer.masked_fill(exact - a > b - exact, b)
        parts.append(_Nodes(x, weight, nearer, distance))
    x, *rest = (torch.cat(column) for column in zip(*parts, strict=True))
    return _Nodes(x.to(like.device), *rest)


class _Density(NamedTuple):
    """The log-density, and what a rule must know to call it."""

    log_prob: LogDensity
    like: Tensor
    middle: float
    reach: float
    factor: LogDensity | None = None

    def log_p(self, x: Tensor) -> Tensor:
        """Values in float64 on the CPU; beyond the reach, and next to 0, NaN counts as a density of 0."""
        far = ((x.abs() > self.reach) | (x.abs() < _NEAR)).reshape(len(x), -1).any(-1).cpu()
        found = torch.cat([self.log_prob(part).detach().double().cpu() for part in torch.split(x, _AT_ONCE)])
        return torch.where(far & found.isnan(), -math.inf, found)

    def terms(self, x: Tensor, log_weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The terms of a rule's sum, the rounding of each, and $\\log p$, or of p times the factor's size."""
        log_p = self.log_p(x)
        p = (log_p + log_weight).exp()
        counts = p > _NEGLIGIBLE * p.sum()
        spread = 4 * torch.finfo(x.dtype).eps * (1 + log_p.abs())
        moved = x[counts.to(x.device)]
        moved = torch.nextafter(moved, torch.full_like(moved, self.middle))
        if len(moved):
            spread[counts] += (log_p[counts] - self.log_p(moved)).abs()
        rounding = torch.where(p == 0, 0.0, p * spread)
        if self.factor is None:
            return p, rounding, log_p
        size = torch.where(p == 0, 0.0, self.factor(x).double().cpu())
        rounding = rounding * size.abs()
        if len(moved):
            rounding[counts] += p[counts] * (size[counts] - self.factor(moved).double().cpu()).abs()
        return p * size, rounding, log_p + size.abs().log()

    def sum(self, x: Tensor, log_weight: Tensor) -> tuple[float, float, Tensor]:
        """A rule's sum, its rounding, and $\\log p$ at the nodes."""
        p, rounding, log_p = self.terms(x, log_weight)
        return float(p.sum()), float(rounding.sum()), log_p


def _left_out(nodes: _Nodes, log_p: Tensor, ends: Sequence[float]) -> float:
    """The mass that the nodes of a line do not speak for, as far as the nearest ones tell.

    Next to a cut, and beyond the last node of a half-line, p goes like a power of the distance from the cut. Where a node
    had to be rounded to a place at another distance from the cut, nothing is known of its piece.
    """
    placed = (nodes.x.double().cpu() - nodes.cut).abs()
    misplaced = (placed - nodes.distance).abs() > 0.1 * nodes.distance
    total = float((log_p + nodes.weight.log())[misplaced].exp().sum())
    fine = ~misplaced & log_p.isfinite()
    for cut in sorted(set(nodes.cut.tolist())):
        for above in (False, True):
            side = fine & (nodes.cut == cut) & ((nodes.x.cpu() > cut) == above)
            distance, value = nodes.distance[side].log(), log_p[side]
            order = distance.argsort()
            total += _power(distance[order[:16]], value[order[:16]], 1)
            if (math.inf if above else -math.inf) in ends and not bool(
                (nodes.cut > cut if above else nodes.cut < cut).any()
            ):
                total += _power(distance[order[-16:].flip(0)], value[order[-16:].flip(0)], -1)
    return total


def _power(log_distance: Tensor, log_p: Tensor, sign: int) -> float:
    r"""$\\int p$ between the first node and distance 0 (`sign` 1) or infinity (-1), p being a power of the distance."""
    if len(log_p) < 2:
        return 0.0
    last = float(log_p[0] + log_distance[0])
    if last < -50:
        return 0.0
    rate = sign * (float((log_p[0] - log_p[-1]) / (log_distance[0] - log_distance[-1])) + 1)
    return math.exp(min(last, 700.0)) / rate if rate > 0 else math.inf


def _on_the_line(d: _Density, ends: tuple[float, float], points: Sequence[float]) -> Ball:
    low, high = ends
    inner = sorted({p for p in points if low < p < high}) or ([0.0] if low == -math.inf and high == math.inf else [])
    half = _half(d.like)
    for _ in range(2):  # what is close together is told apart once a cut is near
        start = _line(d.like, low, high, inner, 1 / 64, half).x.sort().values
        found = peaks.on_a_line(d.log_prob, start)
        inner = _apart([*inner, *(p for p in found if low < p < high)], d.like)
    former, total, radius = math.nan, math.nan, math.inf
    for halvings in range(3, 9):
        nodes = _line(d.like, low, high, inner, 2.0**-halvings, half)
        total, rounding, log_p = d.sum(nodes.x, nodes.weight.log())
        if not math.isfinite(total):
            return Ball(total, 0.0, kind=Kind.NUMERICAL, source=_SOURCE)
        radius = abs(total - former) + rounding
        if abs(total - former) <= rounding:
            break
        former = total
    if d.factor is not None or not total - radius > 2:
        radius = 2 * radius
        radius += min(_left_out(nodes, log_p, ends), _UNKNOWN)
    return Ball(total, radius, kind=Kind.NUMERICAL, source=_SOURCE)


def _apart(places: Sequence[float], like: Tensor) -> list[float]:
    """The places in order, without those that are a few roundings from the one before."""
    eps = torch.finfo(like.dtype).eps
    kept: list[float] = []
    for place in sorted(places):
        if not kept or place - kept[-1] > 64 * eps * max(abs(place), abs(kept[-1])):
            kept.append(place)
    return kept


def _box(d: _Density, ends: tuple[float, float], points: Sequence[float]) -> Ball:
    """The product of rules on the line, cut at `points` in each coordinate."""
    n, (low, high) = d.like.numel(), ends
    inner = sorted({p for p in points if low < p < high}) or ([0.0] if low == -math.inf and high == math.inf else [])
    former, total, radius = math.nan, math.nan, _UNKNOWN
    for halvings in range(3 if n < 3 else 1, 5):
        line, weight, _, _ = _line(d.like, low, high, inner, 2.0**-halvings, _RANGE)
        if len(line) ** n > _MOST_NODES:
            break
        x = torch.cartesian_prod(*[line] * n).reshape(-1, n)
        log_weight = torch.cartesian_prod(*[weight.log()] * n).reshape(-1, n).sum(-1)
        total, rounding, _ = d.sum(x, log_weight)
        if not math.isfinite(total):
            return Ball(total, 0.0, kind=Kind.NUMERICAL, source=_SOURCE)
        if not math.isnan(former):
            radius = abs(total - former) + rounding
            if abs(total - former) <= rounding:
                break
        former = total
    return Ball(total, radius, kind=Kind.NUMERICAL, source=_SOURCE)


def _shared(d: _Density, found: Sequence[Peak]) -> Ball:
    """The whole space, shared out among the peaks."""
    parts = [_share(d, found, k) for k in range(len(found))]
    total, radius = (math.fsum(part[i] for part in parts) for i in (0, 1))
    source = f"integral, double-exponential rule around {len(found)} peak{'s' if len(found) > 1 else ''}"
    if not math.isfinite(total):
        return Ball(total, 0.0, kind=Kind.NUMERICAL, source=source)
    return Ball(total, min(radius, _UNKNOWN), kind=Kind.NUMERICAL, source=source)


def _share(d: _Density, found: Sequence[Peak], k: int) -> tuple[float, float]:
    """The integral of one share, and its radius."""
    n, peak = d.like.numel(), found[k]

    def rule(lines: Sequence[Tensor], step: float) -> tuple[Tensor, Tensor, Tensor]:
        grid = torch.cartesian_prod(*lines).reshape(-1, n)
        inner = math.pi / 2 * grid.sinh()
        x = (peak.place + inner.sinh() @ peak.root.T).to(d.like)
        log_cosh = inner.abs() + torch.log1p((-2 * inner.abs()).exp()) - math.log(2)
        slope = (step * math.pi / 2 * grid.cosh()).log() + log_cosh
        bells = torch.stack([one.log_bell(x.double().cpu()) for one in found])
        return x, slope.sum(-1) + peak.log_volume + bells[k] - bells.logsumexp(0), grid

    def line(low: float, high: float, step: float) -> Tensor:
        return torch.arange(math.floor(low / step), math.ceil(high / step) + 1, dtype=torch.float64) * step

    step = 1 / 4
    x, log_weight, grid = rule([line(-_RANGE, _RANGE, step)] * n, step)
    former, rounding, log_p = d.sum(x, log_weight)
    if not math.isfinite(former) or former > _HUGE:
        return former, rounding
    share = (log_p + log_weight).exp()
    # At the end of the range lies about as much as beyond it, if p falls like a power.
    missing = float(share[grid.abs().amax(-1) > _RANGE - step].sum()) / step
    spans = [_extent(grid[:, i], share) for i in range(n)]
    total, radius = former, _UNKNOWN
    while radius > rounding:
        step /= 2
        lines = [line(*span, step) for span in spans]
        if math.prod(map(len, lines)) * len(found) > _MOST_NODES:
            break
        x, log_weight, _ = rule(lines, step)
        total, rounding, _ = d.sum(x, log_weight)
        if not math.isfinite(total):
            return total, 0.0
        slow, radius, former = abs(total - former) > radius / 2, abs(total - former), total
        if slow:  # what converges at all does so much faster
            break
    return total, radius + rounding + missing


def _extent(t: Tensor, share: Tensor) -> tuple[float, float]:
    """From where to where along an axis there is more than rounding."""
    kept = t[share > 1e-17 * share.sum()]
    if not kept.numel():
        return -1.0, 1.0
    return max(float(kept.min()) - 0.5, -_RANGE), min(float(kept.max()) + 0.5, _RANGE)


def mass(
    log_prob: LogDensity,
    like: Tensor,
    low: float,
    high: float,
    *,
    points: Sequence[float] = (),
    middle: float = 0.0,
    event_shape: tuple[int, ...] = (),
    reach: float = math.inf,
) -> Ball:
    r"""$\int e^{\log p(x)}\,\mathrm dx$ over $[\mathrm{low}, \mathrm{high}]^n$, the step halved until two results agree.

    The radius is the distance of the last two results (on a line twice that), and at every node 4 roundings of
    $1 + \lvert\log p\rvert$ and what $\log p$ changes over one rounding of the node. On a line it holds what the nodes leave
    out, too: beyond the last one and next to a cut p goes like a power of the distance, and a node that was rounded to
    another distance from its cut says nothing.

    Args:
        log_prob: $\log p$, `(k, *event_shape)` -> `(k,)`.
        like: gives dtype and device of the nodes.
        low: smallest coordinate, may be -inf.
        high: largest coordinate, may be inf.
        points: places where the density has a kink, jump, singularity or narrow peak, in each coordinate. A peak is found
            without, unless it is so narrow that no slope of $\log p$ leads there.
        middle: a coordinate inside the support, towards which nodes are moved by their rounding.
        event_shape: `()` or `(n,)` with n at most 3.
        reach: beyond, and closer to 0 than 1e-24, a log-density that is NaN counts as a density of 0.

    Returns:
        A ball without dimensions; its centre is infinite or NaN, with radius 0, where the sum is.

    Raises:
        Undecided: if the radius is not below 0.01, and the mass not above 2 whatever it is.
        ValueError: if an event has more than three coordinates, or `low < high` fails.
    """
    n, ends = math.prod(event_shape), (low, high)
    if n > MOST_COORDINATES:
        raise ValueError(f"event_shape must be (), (1,), (2,) or (3,), got {event_shape}")
    if not low < high:
        raise ValueError(f"low must be below high, got {low} and {high}")
    if n == 1:
        number = (lambda x: log_prob(x.unsqueeze(-1))) if event_shape else log_prob
        ball = _on_the_line(_Density(number, like.flatten()[0], middle, reach), ends, points)
    else:
        ball = _in_space(_Density(log_prob, like.expand(event_shape), middle, reach), ends, points)
    total, radius = float(ball.mid), float(ball.radius)
    # Far above 1 no digit is needed to see that the mass is wrong.
    if math.isfinite(total) and not radius <= COARSEST and not total - radius > 2:
        raise Undecided(f"the mass is {total:.6g} +- {radius:.2g}: name the kinks and narrow peaks in `points`")
    return ball


def mean(
    factor: LogDensity,
    log_prob: LogDensity,
    like: Tensor,
    low: float,
    high: float,
    *,
    points: Sequence[float] = (),
    middle: float = 0.0,
    reach: float = math.inf,
) -> Ball:
    r"""$\int g(x)\,e^{\log p(x)}\,\mathrm dx$ on a line, as `mass` is found; its radius is infinite where nothing is known.

    Args:
        factor: g, `(k,)` -> `(k,)`.
        log_prob, like, low, high, points, middle, reach: as of `mass`.
    """
    ball = _on_the_line(_Density(log_prob, like.flatten()[0], middle, reach, factor), (low, high), points)
    return Ball(
        ball.mid, torch.where(ball.radius < _UNKNOWN, ball.radius, math.inf), kind=ball.kind, source=ball.source
    )


def _in_space(d: _Density, ends: tuple[float, float], points: Sequence[float]) -> Ball:
    """The best of three rules: around the peaks, along the axes, and in cells, each if those before left more doubt."""
    found = peaks.in_space(d.log_prob, d.like, *ends, points)

    def rules() -> Iterator[Ball]:
        if found and ends == (-math.inf, math.inf):
            yield _shared(d, found)
        yield _box(d, ends, points)
        if found:
            yield _in_cells(d, ends, found)

    balls: list[Ball] = []
    for ball, enough in zip(rules(), (_FINE, _GOOD, _GOOD), strict=False):
        balls.append(ball)
        if not bool(ball.mid.isfinite()) or ball.radius <= enough or ball.lower > 2:
            break
    # A rule that misses a peak finds too little, and agrees with itself.
    most = max(balls, key=lambda ball: float(ball.lower.nan_to_num(math.inf)))
    agreeing = [ball for ball in balls if bool(ball.upper >= most.lower)]
    return min(agreeing or [most], key=lambda ball: float(ball.radius))


def _in_cells(d: _Density, ends: tuple[float, float], found: Sequence[Peak]) -> Ball:
    def terms(x: Tensor, log_weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return d.terms(x.to(d.like), log_weight)

    value, radius = adaptive(terms, Axes(*ends, found[0]), found)
    return Ball(value, radius, kind=Kind.NUMERICAL, source="integral, halved cells")
