"""A mass in the plane or in space by cells that are halved where their sum changes by it: for curved ridges."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mathcheck.probability.density.peaks import Peak

# Nodes of a cell in each coordinate, for two and three coordinates, and cells along an axis at the start.
_ORDER, _START = {2: 5, 3: 4}, {2: 16, 3: 8}
# The mass of a cell that is not worth halving it for, and the nodes that may be spent.
_SMALL, _MOST_NODES = 1e-6, 1_000_000
# The radius of what is not known at all.
_UNKNOWN = 1e300
# What is farther than e^9 / 2 times the size of the peak is left out.
_REACH = 9.0


class _Cells(NamedTuple):
    """Cubes: centre `(k, n)`, size `(k,)`, sum, rounding, error, and whether a ridge may hide between the nodes."""

    centre: Tensor
    size: Tensor
    value: Tensor
    rounding: Tensor
    error: Tensor
    hidden: Tensor


@dataclass(frozen=True)
class Axes:
    r"""Coordinates s in which cells are cut: $x = m + L\sinh s$ in the whole space, $a \pm e^s$ or s itself from an end on."""

    low: float
    high: float
    peak: Peak

    def span(self) -> tuple[float, float]:
        """From where to where s goes in each coordinate."""
        if math.isfinite(self.low) and math.isfinite(self.high):
            return self.low, self.high
        return (-_REACH, _REACH) if self.low == -self.high else (-2 * _REACH, 2 * _REACH)

    def point(self, s: Tensor) -> tuple[Tensor, Tensor]:
        r"""The point x, and $\log\lvert\det\partial x/\partial s\rvert$."""
        if math.isfinite(self.low) and math.isfinite(self.high):
            return s, torch.zeros(s.shape[:-1], dtype=s.dtype)
        if math.isinf(self.low) and math.isinf(self.high):
            return self.peak.place + s.sinh() @ self.peak.root.T, s.cosh().log().sum(-1) + self.peak.log_volume
        return (self.low + s.exp() if math.isfinite(self.low) else self.high - s.exp()), s.sum(-1)

    def coordinates(self, x: Tensor) -> Tensor:
        """The coordinates s of a point x."""
        if math.isfinite(self.low) and math.isfinite(self.high):
            return x
        if math.isinf(self.low) and math.isinf(self.high):
            s: Tensor = torch.linalg.solve(self.peak.root, x - self.peak.place)
            return s.asinh()
        return (x - self.low if math.isfinite(self.low) else self.high - x).log()


def adaptive(
    terms: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]], axes: Axes, found: Sequence[Peak]
) -> tuple[float, float]:
    """The mass and its radius, from cells that are halved in every coordinate until their sums stay as they are.

    A cell is halved, too, if it holds a peak and is larger, or if its values rise so steeply towards one of its nodes that
    between the nodes they may rise to what counts: coarse nodes on both sides of a ridge see nothing of it, twice.

    Args:
        terms: points `(k, n)` and the logarithms of their weights `(k,)` -> $e^{\\log p}$ times the weights, the rounding of
            each, and $\\log p$.
        axes: the coordinates.
        found: peaks.
    """
    n = len(axes.peak.place)
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(_ORDER[n]))
    unit = torch.cartesian_prod(*[nodes] * n) / 2
    log_weight = torch.cartesian_prod(*[weights] * n).prod(-1).log() - n * math.log(2)
    halves = torch.tensor(list(itertools.product((-0.25, 0.25), repeat=n)), dtype=torch.float64)
    marked = torch.stack([axes.coordinates(peak.place) for peak in found])

    def sums(centre: Tensor, size: Tensor) -> _Cells:
        x, log_slope = axes.point(centre[:, None] + size[:, None, None] * unit)
        volume = log_slope + n * size[:, None].log()
        parts = terms(x.reshape(-1, n), (volume + log_weight).flatten())
        value, rounding, log_p = (part.reshape(len(centre), -1) for part in parts)
        held = log_p + volume
        top = held.amax(1)
        rise = top - held.clamp(min=-1e30).median(1).values
        holds = ((centre[:, None] - marked).abs() <= size[:, None, None] / 2).all(-1).any(1) & (size > 0.5)
        hidden = ((top + rise > math.log(_SMALL)) & (rise > 1)) | holds
        return _Cells(centre, size, value.sum(1), rounding.sum(1), torch.full_like(top, math.inf), hidden)

    low, high = axes.span()
    width = (high - low) / _START[n]
    line = low + width * (torch.arange(_START[n], dtype=torch.float64) + 0.5)
    cells = sums(torch.cartesian_prod(*[line] * n), torch.full((_START[n] ** n,), width, dtype=torch.float64))
    spent, settled, doubt, revealed = len(cells.value) * len(unit), 0.0, 0.0, _UNKNOWN
    if math.isinf(axes.low) or math.isinf(axes.high):
        # Beyond the outermost cells lies about as much as in them, if p falls like a power.
        outermost = (cells.centre.abs() + width > max(abs(low), abs(high))).any(1)
        doubt += float(cells.value[outermost].nan_to_num(_UNKNOWN).sum())
    while True:
        if not bool(cells.value.isfinite().all()):
            return float(cells.value.sum()), 0.0
        # Where the values rise by less than e over a cell, its own sum can be trusted to tell its error.
        unfinished = (cells.error > _SMALL) | (cells.hidden & ~(cells.value > 1e3))
        done = _Cells(*(part[~unfinished] for part in cells))
        cells = _Cells(*(part[unfinished] for part in cells))
        settled += float(done.value.sum())
        doubt += float((done.error + done.rounding).sum())
        if not len(cells.value):
            return settled, doubt
        if spent + len(cells.value) * 2**n * len(unit) > _MOST_NODES:
            # What is still hidden is less than ten times what the last halving brought to light.
            left = float((cells.error + cells.rounding).sum()) + 10 * revealed
            return settled + float(cells.value.sum()), min(doubt + left, _UNKNOWN)
        children = sums(
            (cells.centre[:, None] + cells.size[:, None, None] * halves).reshape(-1, n),
            (cells.size / 2).repeat_interleave(2**n),
        )
        spent += len(children.value) * len(unit)
        change = (children.value.reshape(-1, 2**n).sum(1) - cells.value).abs()
        revealed = float(change[cells.error <= _SMALL].sum())
        cells = children._replace(error=(change / 2**n).repeat_interleave(2**n))
