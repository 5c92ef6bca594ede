"""The log-likelihood of binary vectors in blocks: derivatives of any order, stray outcomes, no outcomes at all."""

from __future__ import annotations

import math

import pytest
import torch

from mathcheck.probability.bernoulli import bernoulli_log_prob_from_logits
from mathcheck.probability.kernels import binary


def test_blocks_have_the_derivatives_of_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "_BLOCK", 14)
    generator = torch.Generator().manual_seed(0)
    outcomes = (torch.rand(3, 5, 7, generator=generator) < 0.5).double()
    logits = torch.randn(3, 5, 7, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: bernoulli_log_prob_from_logits(outcomes, a), logits)
    assert torch.autograd.gradgradcheck(lambda a: bernoulli_log_prob_from_logits(outcomes, a), logits)


@pytest.mark.parametrize("stray", [0.5, 1e-30, -1.0, 2.0, 1 + 2.0**-52, math.nan])
def test_a_stray_outcome_is_found_in_the_last_block(stray: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "_BLOCK", 4)
    outcomes = torch.ones(5, 2, dtype=torch.float64)
    outcomes[4, 1] = stray
    with pytest.raises(ValueError, match="outcomes must be 0 or 1"):
        bernoulli_log_prob_from_logits(outcomes, torch.zeros(5, 2, dtype=torch.float64))


def test_an_empty_batch_has_no_values() -> None:
    logits = torch.zeros(0, 2, requires_grad=True)
    value = bernoulli_log_prob_from_logits(torch.zeros(0, 2), logits)
    assert value.shape == (0,)
    assert torch.autograd.grad(value.sum(), logits)[0].shape == (0, 2)
