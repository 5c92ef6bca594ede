"""The compiled chain on the banana: it keeps the posterior, refuses what it cannot do, and its draws are counted right."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import Tensor

from mathcheck.bench.kernels.hamiltonian import effective_size
from mathcheck.markov import compiled_chain
from mathcheck.markov.compiled_chain import compiled_hmc_chain
from mathcheck.models.banana import BananaPosterior
from mathcheck.oracles import statistics

numba = pytest.importorskip("numba")

POSTERIOR = BananaPosterior(count=20, mean=1.5, scatter=80.0)
OTHER = BananaPosterior(count=20, mean=1.8, scatter=80.0)


def far(states: Tensor) -> Tensor:
    """The share of a chain's states that are far out, one number a chain."""
    return (states[..., 1].abs() > 1.2).double().mean(0)


def ended(posterior: BananaPosterior) -> Tensor:
    """Chains that aim at a posterior, from exact draws of another one."""
    start = POSTERIOR.sample(4000, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(4)
    return compiled_hmc_chain(*posterior.by_coordinates, start, generator, 0.2, 6, draws=5).states


def test_the_posterior_is_kept() -> None:
    exact = POSTERIOR.sample(200_000, torch.Generator().manual_seed(5))
    # The mean of many exact draws stands for the truth: its own error is a seventh of the chains'.
    true = float(far(exact.unsqueeze(0)).mean())
    kept, moved = far(ended(POSTERIOR)), far(ended(OTHER))
    assert statistics.bounded_mean(kept, true, 0.0, 1.0).ratio <= 1
    assert statistics.bounded_mean(moved, true, 0.0, 1.0).ratio > 1


def test_a_chain_has_the_shape_and_dtype_of_its_start() -> None:
    start = torch.zeros(2, 3, 1)
    chain = compiled_hmc_chain(lambda x: -x * x / 2, lambda x: (-x,), start, torch.Generator(), 1.5, 2, draws=7)
    assert chain.states.shape == (7, 2, 3, 1)
    assert chain.states.dtype == start.dtype
    assert chain.acceptance_rate.shape == (2, 3)
    assert bool((start == 0).all())


def test_what_diverges_is_rejected() -> None:
    start = torch.ones(3, 1, dtype=torch.float64)
    chain = compiled_hmc_chain(lambda x: -(x**8), lambda x: (-8 * x**7,), start, torch.Generator(), 100.0, 9, draws=4)
    assert bool((chain.states == start).all())
    assert not chain.acceptance_rate.any()


def test_bad_starts_are_named() -> None:
    functions, generator = POSTERIOR.by_coordinates, torch.Generator()
    start = torch.zeros(100, 2)
    start[71, 1] = torch.inf
    with pytest.raises(ValueError, match=r"start must have finite log-densities.*inf\]"):
        compiled_hmc_chain(*functions, start, generator, 0.1, 2, draws=1)
    with pytest.raises(ValueError, match="start must hold at most 16 coordinates"):
        compiled_hmc_chain(*functions, torch.zeros(17), generator, 0.1, 2, draws=1)


def test_numba_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"mathcheck\[numba\]"):
        compiled_hmc_chain(lambda x: x, lambda x: (x,), torch.zeros(1), torch.Generator(), 0.1, 2, draws=1)
    with pytest.raises(NotImplementedError, match="numba is not installed"):
        list(compiled_chain.compiled_steps_are_those_of_the_tensors.check(compiled_hmc_chain, 0, (), 0.5, 1, False))


@pytest.mark.parametrize("memory", [0.0, 0.8, -0.5])
def test_effective_sizes_are_those_of_an_autoregression(memory: float) -> None:
    noise = torch.randn(20_000, 16, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    values = [noise[0] / (1 - memory**2) ** 0.5]
    for row in noise[1:]:
        values.append(memory * values[-1] + row)
    true = noise.numel() * (1 - memory) / (1 + memory)
    # 320,000 draws, cut after about ten of the memory's lengths: two per cent is five standard errors.
    assert abs(effective_size(torch.stack(values)) / true - 1) < 0.1
    assert abs(effective_size(torch.stack(values)) / noise.numel() - 1) > 0.1 or memory == 0
