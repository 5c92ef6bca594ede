"""Right code raises no alarm: every subject of `right_code`, in both precisions and with five seeds."""

from __future__ import annotations

import warnings

import pytest
import torch
from right_code.catalogue import SUBJECTS
from right_code.subject import SEEDS

from mathcheck import InaccurateWarning
from mathcheck.engine.evidence import Status

CASES = [
    pytest.param(right, dtype, id=f"{name}-{str(dtype).removeprefix('torch.')}")
    for subjects in SUBJECTS.values()
    for name, right in subjects.items()
    for dtype in right.dtypes
]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("right", "dtype"), CASES)
def test_no_verdict_on_right_code_is_a_failure(right: object, dtype: torch.dtype, seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InaccurateWarning)
        found = right.judge(dtype, seed)  # type: ignore[attr-defined]
    assert {e.status for e in found} <= {Status.HOLDS, Status.INACCURATE, Status.SKIPPED}
    assert any(e.status is not Status.SKIPPED for e in found)


def test_names_are_told_once() -> None:
    names = [name for subjects in SUBJECTS.values() for name in subjects]
    assert len(names) == len(set(names))
