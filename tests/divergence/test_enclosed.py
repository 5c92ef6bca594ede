"""The true value of an f-divergence is infinite only where that is certain."""

from __future__ import annotations

import math

import flint
import pytest
import torch
from torch import Tensor

from mathcheck import FDivergence, Settings, check_f_divergence
from mathcheck.divergence.f_divergence import Inf, enclosed, kl, neyman, pearson
from mathcheck.engine.evidence import Status
from mathcheck.engine.residual import Undecided
from mathcheck.oracles import arb


def squared(p: Tensor, q: Tensor) -> Tensor:
    return (p - q).square().div(torch.where(q > 0, q, 1)).sum(-1) + torch.where((q == 0) & (p > 0), math.inf, 0).sum(-1)


# The square of a logarithm: zero at 1, and there a power of a ball that holds 0.
SQUARED_LOG = FDivergence(squared, lambda t: arb.log(t) ** 2, lambda: (Inf, flint.arb(0)))

SQUARED_HELLINGER = FDivergence(squared, lambda t: (arb.sqrt(t) - 1) ** 2, lambda: (flint.arb(1), flint.arb(1)))


@pytest.mark.parametrize("f", [pearson, neyman, SQUARED_LOG], ids=["pearson", "neyman", "squared logarithm"])
@pytest.mark.parametrize("power", [20, 50, 52, 53])
def test_nearly_equal_laws_are_finite(f: FDivergence, power: int) -> None:
    step = 2.0**-power
    p, q = (torch.tensor([0.5 + s, 0.5 - s], dtype=torch.float64) for s in (step, 0.0))
    true = enclosed(f, p, q)
    assert float(true.mid) == pytest.approx(4 * step**2, rel=1e-3)


@pytest.mark.parametrize("f", [pearson, SQUARED_HELLINGER], ids=["pearson", "squared Hellinger"])
def test_a_ratio_that_few_digits_do_not_tell_from_one(f: FDivergence) -> None:
    least = 2.0**-53
    p, q = torch.tensor([1.0, 0.0], dtype=torch.float64), torch.tensor([1 - least, least], dtype=torch.float64)
    assert float(enclosed(f, p, q).mid) == pytest.approx(least, rel=1e-3)


def test_infinite_ones_are_infinite() -> None:
    p, q = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])
    assert float(enclosed(kl, p, q).mid) == float(enclosed(pearson, p, q).mid) == math.inf
    assert float(enclosed(neyman, q, p).mid) == float(enclosed(SQUARED_LOG, q, p).mid) == math.inf


def test_what_is_never_a_number_is_undecided() -> None:
    nowhere = FDivergence(squared, lambda t: arb.log(-t), lambda: (flint.arb(0), flint.arb(0)))
    with pytest.raises(Undecided):
        enclosed(nowhere, torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75]))


def test_a_right_divergence_with_a_squared_generator_holds() -> None:
    subject = FDivergence(squared, lambda t: (t - 1) ** 2, lambda: (flint.arb(1), Inf))
    found = check_f_divergence(subject, settings=Settings(examples=20))
    assert {e.status for e in found} <= {Status.HOLDS, Status.INACCURATE}
