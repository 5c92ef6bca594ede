"""Both estimates follow the gradient on average, at every point that they visit."""

from __future__ import annotations

import pytest
import torch

from mathcheck.bench.kernels.estimator_race import _residuals
from mathcheck.experiments.estimator_race import SAMPLE_PATH, SCORE_FUNCTION, Estimate, descend

STEPS = 4000


def worst(estimate: Estimate) -> float:
    visited = descend(estimate, STEPS, torch.Generator().manual_seed(2))
    return max(r.ratio for r in _residuals((torch.zeros(()), STEPS), visited))


@pytest.mark.parametrize("estimate", [SCORE_FUNCTION, SAMPLE_PATH], ids=["score function", "sample path"])
def test_steps_follow_the_gradient(estimate: Estimate) -> None:
    assert worst(estimate) <= 1
    first, second = estimate.factors(1.0)
    assert worst(estimate._replace(factors=lambda sigma: (first, 1.1 * second))) > 1
    assert worst(estimate._replace(factors=lambda sigma: (1.0, 1.0))) > 1


def test_a_path_begins_at_its_start_and_goes_on_beyond_the_bulk() -> None:
    visited = descend(SAMPLE_PATH, 1001, torch.Generator().manual_seed(2))
    assert visited.shape == (1002, 2)
    assert visited[0].tolist() == [0.0, 1.0]
    assert bool(visited.isfinite().all())
    assert bool((visited.diff(dim=0) != 0).all())
