"""What a verdict costs: one verification of every claim of the three kinds, mutants included."""

from __future__ import annotations

import pytest

from mathcheck.engine.evidence import Status
from mathcheck.runner import catalogue

ENTRIES = [
    e for e in catalogue.entries() if e.derivation in ("divergence.gaussian_kl", "convex.smooth_max", "flows.coupling")
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_verdict(benchmark, entry: catalogue.Entry) -> None:
    benchmark.group = "verdicts"
    evidence = benchmark.pedantic(entry.verify, rounds=1)
    assert evidence.status in (Status.HOLDS, Status.SKIPPED)
