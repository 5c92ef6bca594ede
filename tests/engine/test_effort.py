"""How many draws are affordable is counted, and the same on every machine."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from mathcheck.engine import effort
from mathcheck.engine.claim import Settings, claim, verify
from mathcheck.engine.residual import exactly
from mathcheck.engine.strategies import seeds


def whole(n: int) -> None:
    """Twenty operations on all draws."""
    x = torch.ones(n, dtype=torch.float64)
    for _ in range(20):
        x = x + 1


def each(n: int) -> None:
    """Twenty operations on each draw."""
    for x in torch.ones(n, dtype=torch.float64):
        for _ in range(20):
            x = x + 1


def until_through(n: int) -> None:
    """A few operations until every draw is through."""
    generator = torch.Generator().manual_seed(0)
    waiting = torch.ones(n, dtype=torch.bool)
    while bool(waiting.any()):
        waiting = waiting & (torch.rand(n, generator=generator) < 0.5)


def elsewhere(n: int) -> None:
    """Work of NumPy's, of which torch sees nothing."""
    for _ in range(n):
        np.linalg.eigvalsh(np.eye(12))


@pytest.mark.parametrize("run", [whole, each, until_through])
def test_a_machine_that_is_three_times_slower_draws_as_much(run: object, monkeypatch: pytest.MonkeyPatch) -> None:
    found = effort.affordable(run, 0.2)  # type: ignore[arg-type]
    clock = time.thread_time
    monkeypatch.setattr(time, "thread_time", lambda: 3 * clock())
    assert effort.affordable(run, 0.2) == found  # type: ignore[arg-type]


def test_what_is_done_one_by_one_is_dear() -> None:
    assert effort.affordable(each, 0.5) == 5000
    assert effort.affordable(whole, 0.5) == effort.RUNGS[-1]
    assert effort.affordable(until_through, 0.5) > 300_000
    assert effort.affordable(elsewhere, 0.5) < 100_000


def test_a_larger_budget_draws_more() -> None:
    found = [effort.affordable(whole, seconds) for seconds in (1e-6, 1e-2, 1e-1)]
    assert found == sorted(set(found))
    assert found[0] == effort.RUNGS[0]


def test_a_run_that_fails_gets_the_fewest() -> None:
    def fails(n: int) -> None:
        raise NotImplementedError

    assert effort.affordable(fails, 1e3) == effort.RUNGS[0]


def test_counting_leaves_the_random_stream_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    effort.affordable(lambda n: torch.rand(n), 0.1)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_law_that_draws_begins_at_the_seed_and_is_told_how_much() -> None:
    seen: list[tuple[int, int]] = []

    @claim(given=lambda subject, dtype: seeds().map(lambda seed: (seed,)), draws=True, examples=1)
    def drawing(subject: object, seed: int, n: int) -> object:
        seen.append((seed, n))
        whole(n)
        yield exactly(1, 1)

    for seed, budget in ((0, 1e-2), (5, 1e-2), (5, 1e-1)):
        seen.clear()
        verify(drawing, object(), settings=Settings(examples=40, seed=seed, budget=budget))
        assert seen[-1] == (seed, effort.affordable(whole, budget))
        assert len([n for _, n in seen if n >= effort.RUNGS[0]]) == 1
