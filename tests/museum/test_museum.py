"""The museum: every known slip is refuted by a comparison and named, and its correct twin raises no alarm."""

from __future__ import annotations

import pytest
import torch

from mathcheck import Refuted
from mathcheck.engine.evidence import Status
from museum import convexity, divergences, flows, gans, inference, linearity, markov, probability
from museum.exhibit import Exhibit

ROOMS = (linearity, convexity, probability, divergences, gans, flows, inference, markov)
EXHIBITS = {exhibit.title: exhibit for room in ROOMS for exhibit in room.EXHIBITS}
# Several slips may share a twin.
TWINS = {id(exhibit.right): exhibit for exhibit in EXHIBITS.values()}


@pytest.mark.parametrize("exhibit", EXHIBITS.values(), ids=EXHIBITS)
def test_the_slip_is_refuted_and_named(exhibit: Exhibit) -> None:
    with pytest.raises(Refuted) as error:
        exhibit.judge(exhibit.wrong, torch.float64)
    refuted = [e for e in error.value.evidence if e.status is Status.REFUTED]
    assert any(e.counterexample is not None and e.counterexample.residual is not None for e in refuted)
    found = {e.diagnosis for e in refuted if e.diagnosis is not None}
    true = [name for name in (exhibit.named, *exhibit.also) if name is not None]
    assert all(any(name in diagnosis for name in true) for diagnosis in found), found
    if exhibit.named is not None:
        assert any(exhibit.named in diagnosis for diagnosis in found), f"not named: {refuted}"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("exhibit", TWINS.values(), ids=lambda exhibit: exhibit.title)
def test_its_twin_passes(exhibit: Exhibit, dtype: torch.dtype) -> None:
    evidence = exhibit.judge(exhibit.right, dtype)
    assert {e.status for e in evidence} <= {Status.HOLDS, Status.SKIPPED}


def test_at_most_a_fifth_has_no_name_and_each_of_those_says_why() -> None:
    nameless = [exhibit for exhibit in EXHIBITS.values() if exhibit.named is None]
    assert len(nameless) <= len(EXHIBITS) / 5
    assert all(exhibit.why for exhibit in nameless)
    assert len(EXHIBITS) == sum(len(room.EXHIBITS) for room in ROOMS)
