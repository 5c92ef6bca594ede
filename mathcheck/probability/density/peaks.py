"""Where a log-density is largest, found from its values alone: its logarithm slopes towards a peak from far away."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LogDensity = Callable[[Tensor], Tensor]
# Peaks that are followed, and how much lower than the highest one may be: narrow beside wide is e^27 for a ratio of 1e12.
_MOST, _LOWEST = 16, 60.0
# How much lower a log-density may be next to the place that is given for its peak: a kink is found more closely so.
_CLOSE = 1e-9
# Coordinates at which a search in the plane or in space begins.
_STARTS = (0.1, 12.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 70.0, 100.0, 1e3, 1e4, 1e6)


def _values(f: LogDensity, x: Tensor) -> Tensor:
    value = f(x).detach().double().cpu()
    return torch.where(value.isnan(), -math.inf, value)


def on_a_line(f: LogDensity, start: Tensor) -> list[float]:
    """The places of the highest local maxima, as close as f tells them.

    Args:
        f: $\\log p$, `(k,)` -> `(k,)`.
        start: where to look first, in order, `(k,)`.
    """
    value = _values(f, start)
    rises = torch.diff(value) > 0
    inner = torch.nonzero(rises[:-1] & ~rises[1:]).flatten() + 1
    inner = inner[value[inner].isfinite()]
    inner = inner[value[inner].argsort(descending=True)[:_MOST]]
    if not len(inner):
        return []
    place = inner.to(start.device)
    left, centre, right = start[place - 1], start[place], start[place + 1]
    parts = torch.linspace(0, 1, 5, dtype=torch.float64)[:-1].to(start)
    high = value[inner]
    for _ in range(80):
        x = torch.cat(
            [
                left[:, None] + (centre - left)[:, None] * parts,
                centre[:, None] + (right - centre)[:, None] * parts,
                right[:, None],
            ],
            1,
        )
        value = _values(f, x.flatten()).reshape(x.shape)
        best = value[:, 1:-1].argmax(1) + 1
        rows = torch.arange(len(x))
        high = value[rows, best]
        at = best.to(x.device)
        each = rows.to(x.device)
        left, centre, right = x[each, at - 1], x[each, at], x[each, at + 1]
        drop = high - torch.minimum(value[rows, best - 1], value[rows, best + 1])
        tight = ((right - left) <= 8 * torch.finfo(x.dtype).eps * centre.abs()).cpu()
        if bool(((drop < _CLOSE) | tight).all()):
            break
    kept = high > high.max() - _LOWEST if bool(high.isfinite().all()) else high.isinf()
    return [float(c) for c in centre.cpu()[kept]]


@dataclass(frozen=True, eq=False)
class Peak:
    r"""A maximum at `place`, and `root` L with $-LL^\top$ about the inverse of the second derivatives there.

    Attributes:
        place: `(n,)`, float64.
        root: `(n, n)`, float64.
        height: $\log p$ there.
    """

    place: Tensor
    root: Tensor
    height: float

    @property
    def log_volume(self) -> float:
        r"""$\log\lvert\det L\rvert$."""
        return float(torch.linalg.slogdet(self.root).logabsdet)

    def distance(self, x: Tensor) -> Tensor:
        r"""$\lvert L^{-1}(x - m)\rvert^2$ for points `(k, n)`."""
        z: Tensor = torch.linalg.solve(self.root, (x - self.place).T)
        return z.square().sum(0)

    def log_bell(self, x: Tensor) -> Tensor:
        """The logarithm of a bell with heavy tails that is as high and wide as the peak, `(k, n)` -> `(k,)`."""
        return self.height - 4 * torch.log1p(self.distance(x) / 4)


def in_space(f: LogDensity, like: Tensor, low: float, high: float, points: Sequence[float]) -> list[Peak]:
    """The highest peaks on a cube, by Newton steps on differences of values from many starts at once.

    Args:
        f: $\\log p$, `(k, n)` -> `(k,)`.
        like: of shape `(n,)`, gives dtype and device.
        low, high: ends of every coordinate.
        points: coordinates at which to begin, too.
    """
    n = like.numel()
    usual = [k / 2 for k in range(21)] if n < 3 else [float(k) for k in range(11)]
    line = sorted({p for c in (*usual, *_STARTS) for p in (c, -c) if low < p < high} | set(points))
    if math.isfinite(low) and math.isfinite(high):
        line = sorted({low + (high - low) * k / 10 for k in range(1, 10)} | set(points))
    grid = torch.cartesian_prod(*[torch.tensor(line, dtype=torch.float64)] * n).reshape(-1, n)

    def at(x: Tensor) -> Tensor:
        shape = x.shape[:-1]
        flat = x.reshape(-1, n)
        inside = ((flat > low) & (flat < high)).all(-1)
        safe = torch.where(inside[:, None], flat, grid[0])
        value = _values(f, safe.to(like))
        return torch.where(inside, value, -math.inf).reshape(shape)

    value = at(grid)
    chosen = _local_maxima(value.reshape([len(line)] * n)).flatten() & value.isfinite()
    order = torch.where(chosen, value, -math.inf).argsort(descending=True)[: min(_MOST, int(chosen.sum()))]
    place = grid[order]
    if not len(place):
        return []
    size = place.abs().amax(-1).clamp(min=0.4) / 4
    root = torch.diag_embed(size[:, None].expand(-1, n)).clone()
    return _kept(*_climbed(at, place, root, n))


def _local_maxima(value: Tensor) -> Tensor:
    """Entries of a grid that none of the neighbours along an axis exceeds."""
    found = torch.ones_like(value, dtype=torch.bool)
    for axis in range(value.ndim):
        ahead = value.narrow(axis, 1, value.shape[axis] - 1)
        behind = value.narrow(axis, 0, value.shape[axis] - 1)
        pad = torch.ones_like(value.narrow(axis, 0, 1), dtype=torch.bool)
        found &= torch.cat([behind >= ahead, pad], axis) & torch.cat([pad, ahead > behind], axis)
    return found


def _climbed(at: Callable[[Tensor], Tensor], place: Tensor, root: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Places, roots and heights after Newton steps in the coordinates of each root, with the step that climbs most."""
    eye = torch.eye(n, dtype=torch.float64)
    pairs = list(itertools.combinations(range(n), 2))
    stencil = torch.cat(
        [eye, -eye, *[(a * eye[i] + b * eye[j])[None] for i, j in pairs for a in (1, -1) for b in (1, -1)]]
    )
    lengths = torch.tensor([8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.1, 0.03, 0.01], dtype=torch.float64)
    height = at(place)
    for _ in range(60):
        around = at(place[:, None] + torch.einsum("kij,sj->ksi", root, stencil))
        up, down, rest = around[:, :n], around[:, n : 2 * n], around[:, 2 * n :].reshape(len(place), len(pairs), 4)
        blind = ~around.isfinite().all(-1)
        slope = (up - down) / 2
        bend = torch.diag_embed(up + down - 2 * height[:, None])
        for p, (i, j) in enumerate(pairs):
            mixed = (rest[:, p, 0] - rest[:, p, 1] - rest[:, p, 2] + rest[:, p, 3]) / 4
            bend[:, i, j] = bend[:, j, i] = mixed
        bend = torch.where(blind[:, None, None], -eye, bend)
        slope = torch.where(blind[:, None], 0.0, slope)
        values, vectors = torch.linalg.eigh(bend)
        curve = values.abs().clamp(min=1e-2, max=1e12)
        step = torch.einsum("kij,kj,klj,kl->ki", vectors, 1 / curve, vectors, slope)
        tried = place[:, None] + torch.einsum("kij,ksj->ksi", root, lengths[:, None] * step[:, None])
        # A point of the stencil may be higher than where the slope leads.
        tried = torch.cat([tried, place[:, None] + torch.einsum("kij,sj->ksi", root, stencil)], 1)
        reached = at(tried)
        best = reached.argmax(1)
        rows = torch.arange(len(place))
        gain = reached[rows, best] - height
        better = gain > 0
        place = torch.where(better[:, None], tried[rows, best], place)
        height = torch.where(better, reached[rows, best], height)
        # The new root has the curvature 1; it changes by a factor of 8 at most, as differences see no farther.
        widths = curve.rsqrt().clamp(1 / 8, 8.0)
        root = root @ (vectors * torch.where(blind[:, None], 0.25, widths)[:, None, :])
        settled = ~blind & (gain < 1e-2) & ((widths - 1).abs().amax(-1) < 0.2)
        if bool(settled.all()):
            break
    return place, root, height


def _kept(place: Tensor, root: Tensor, height: Tensor) -> list[Peak]:
    """The peaks that may hold mass, the heaviest first, each once."""
    found = [Peak(p, r, float(h)) for p, r, h in zip(place, root, height, strict=True) if math.isfinite(float(h))]
    found = [peak for peak in found if bool(peak.root.isfinite().all()) and math.isfinite(peak.log_volume)]
    found.sort(key=lambda peak: -(peak.height + peak.log_volume))
    kept: list[Peak] = []
    for peak in found:
        weight = peak.height + peak.log_volume
        if kept and weight < kept[0].height + kept[0].log_volume - 40:
            break
        if all(float(other.distance(peak.place[None])) > 1 for other in kept):
            kept.append(peak)
    return kept[:8]
