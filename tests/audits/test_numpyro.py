"""NumPyro's goodness-of-fit helper as a subject: draws that are wrong, judged by it and by the laws of a sampler."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from audit import double
from torch.distributions import Normal

gof = pytest.importorskip("numpyro.distributions.gof")

from mathcheck.oracles import statistics  # noqa: E402

# Of the suites that use the helper, the strictest asserts that a p-value is above this.
STRICTEST = 1e-3
DRAWS = 10_000


def drawn(scale: float, seed: int) -> np.ndarray:
    return scale * np.random.default_rng(seed).standard_normal(DRAWS)


def p_value(x: np.ndarray) -> float:
    return float(gof.auto_goodness_of_fit(x, np.exp(-x * x / 2) / math.sqrt(2 * math.pi)))


def refuted(x: np.ndarray) -> bool:
    return statistics.dkw(torch.from_numpy(x), Normal(double(0.0), double(1.0)).cdf).ratio > 1


@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_a_wrong_scale_passes_there_and_is_refuted_here(scale: float) -> None:
    samples = [drawn(scale, seed) for seed in range(50)]
    assert sum(p_value(x) > STRICTEST for x in samples) == 50
    assert all(map(refuted, samples))


def test_the_right_scale_passes_both() -> None:
    samples = [drawn(1.0, seed) for seed in range(50)]
    assert all(p_value(x) > STRICTEST for x in samples)
    assert not any(map(refuted, samples))
