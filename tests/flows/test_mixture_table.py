"""Many points at once are inverted from a table: as exact as the search, in the tails and in gaps too."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mathcheck.engine.residual import Ball, Kind, close
from mathcheck.flows.bijection import Bijection
from mathcheck.flows.mixture_cdf import mixture_cdf, one_wide_one_narrow, table, three_peaks


def mixture(*rows: tuple[float, float, float]) -> Bijection:
    weights, means, scales = torch.tensor(rows, dtype=torch.float64).T
    return mixture_cdf(weights.log(), means, scales.log())


FLOWS = {
    "three peaks": three_peaks,
    "one wide, one narrow": one_wide_one_narrow,
    "a gap": mixture((0.5, -20.0, 0.5), (0.5, 20.0, 0.5)),
    "scales of a million": mixture((0.5, 0.0, 1e-3), (0.5, 1.0, 1e3)),
    "one": mixture((1.0, 0.0, 1.0)),
}


def points(dtype: torch.dtype) -> Tensor:
    """Normal ones, a lattice into both tails, zero, the tiniest, and where distribution functions underflow."""
    g = torch.Generator().manual_seed(0)
    special = torch.tensor([0.0, 1e-300, -1e-300, 1e-9, 0.5, 1.0, -1.0, 36.0, -36.0, 45.0, -45.0, 200.0, -200.0])
    lattice = torch.linspace(-12, 12, 1000)
    return torch.cat([torch.randn(table.NODES, generator=g), lattice, special]).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_the_table_and_the_search_agree(flow: Bijection, dtype: torch.dtype) -> None:
    z = points(dtype)
    assert flow.inverse is not None
    assert flow.log_abs_det_jacobian is not None
    with torch.no_grad():
        many = flow.inverse(z)
        few = torch.cat([flow.inverse(part) for part in z.split(table.NODES - 1)])
        slope = torch.exp(-flow.log_abs_det_jacobian(few).double())
    # Each stays within the bound of the law of the round trip.
    eps = torch.finfo(dtype).eps
    radius = 64 * eps * (few.double().abs() + z.double().abs().clamp(min=1) * slope)
    residual = close(many, Ball(few, radius, kind=Kind.NUMERICAL), ulps=64, scale=radius / (64 * eps), what="x")
    assert residual.ratio <= 1, residual


def test_nearly_all_points_are_done_by_the_table() -> None:
    z = torch.randn(20 * table.NODES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights, means, scales = torch.tensor([[0.3, 0.7], [-1.0, 1.5], [0.25, 2.0]], dtype=torch.float64)
    flow = mixture((0.3, -1.0, 0.25), (0.7, 1.5, 2.0))
    assert flow.forward_and_log_det is not None
    x, done = table.roots(flow.forward_and_log_det, z, weights, means, scales)
    assert done.float().mean() > 0.99
    # A table of another mixture gives starts that one step does not mend, and none is called done.
    other = mixture((0.3, -1.5, 0.25), (0.7, 2.5, 2.0))
    assert other.forward_and_log_det is not None
    wrong, done = table.roots(other.forward_and_log_det, z, weights, means, scales)
    off = (wrong - x).abs() > 64 * torch.finfo(z.dtype).eps * (1 + x.abs()) * 16
    assert off.float().mean() > 0.9
    assert not bool((off & done).any())


def test_what_is_no_number_stays_none() -> None:
    z = torch.zeros(table.NODES, dtype=torch.float64)
    z[5] = math.nan
    assert three_peaks.inverse is not None
    x = three_peaks.inverse(z)
    assert bool(x[5].isnan())
    assert int(x.isnan().sum()) == 1


def test_gradients_pass_through_many_points() -> None:
    z = torch.randn(table.NODES, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    assert three_peaks.inverse_and_log_det is not None
    x, log_det = three_peaks.inverse_and_log_det(z)
    (slope,) = torch.autograd.grad(x.sum(), z)
    residual = close(
        slope, log_det.detach().exp(), ulps=64, scale=slope.abs() * (1 + z.detach().square()), what="dx/dz"
    )
    assert residual.ratio <= 1, residual
