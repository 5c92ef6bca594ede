"""Subjects that misbehave, judged by whole kinds: a clear report, never an escape, and what was found is kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor

from mathcheck import Bijection, Refuted, Settings, Status, check_bijection, check_divergence
from mathcheck.engine.evidence import Evidence

QUICK = Settings(examples=5, timeout=0.1)


def _mutates(x: Tensor) -> Tensor:
    return x.add_(1)


MISBEHAVIOUR: dict[str, tuple[Callable[[Tensor], Any], str | None]] = {
    "raises": (lambda x: 1 / 0, "raised ZeroDivisionError: division by zero"),
    "exits": (lambda x: exit(3), "raised SystemExit: 3"),
    "hangs": (lambda x: time.sleep(60), "did not return within 1 s by the clock"),
    "mutates its input": (_mutates, "changed its input"),
    "returns None": (lambda x: None, "returned None, expected a tensor"),
    "returns an array": (lambda x: x.detach().numpy(), "`from_arrays` takes functions of arrays"),
    "returns another device": (lambda x: x.to("meta"), "returned a tensor on meta, expected cpu"),
    "returns complex numbers": (lambda x: x + 1j, "expected real numbers"),
    "returns a sparse tensor": (lambda x: x.to_sparse(), "expected a dense one"),
    "returns NaN": (lambda x: x * math.nan, None),
    "returns integers": (lambda x: x.long(), None),
    "returns another shape": (lambda x: x.sum(), None),
}


def _found(run: Callable[[], object]) -> list[Evidence]:
    with pytest.raises(Refuted) as error:
        run()
    return [e for e in error.value.evidence if e.status in (Status.REFUTED, Status.ERROR)]


@pytest.mark.parametrize("name", MISBEHAVIOUR)
def test_a_bijection_that_misbehaves(name: str) -> None:
    function, said = MISBEHAVIOUR[name]
    flow = Bijection(function, lambda y: y, lambda x: x.new_zeros(x.shape[0]), (2,), volume_preserving=True)
    found = _found(lambda: check_bijection(flow, settings=QUICK))
    if said is None:
        assert any(e.status is Status.REFUTED and e.counterexample is not None for e in found)
    else:
        assert any(said in (e.reason or "") for e in found)


@pytest.mark.parametrize("name", MISBEHAVIOUR)
def test_a_divergence_that_misbehaves(name: str) -> None:
    function, said = MISBEHAVIOUR[name]
    if name == "mutates its input":
        wrong: Callable[..., Any] = lambda a, b, c, d: function(a).sum(-1)  # noqa: E731
    else:
        wrong = lambda a, b, c, d: function((a - c).square().sum(-1))  # noqa: E731
    found = _found(lambda: check_divergence(wrong, settings=QUICK))
    if said is None:
        assert any(e.status is Status.REFUTED and e.counterexample is not None for e in found)
    else:
        assert any(said in (e.reason or "") for e in found)


def test_a_hang_is_waited_for_once_in_each_law() -> None:
    def hangs(x: Tensor) -> Tensor:
        calls.append(time.monotonic())
        time.sleep(60)
        return x

    calls: list[float] = []
    flow = Bijection(hangs, None, None, (2,))
    found = _found(lambda: check_bijection(flow, settings=QUICK))
    assert len(calls) == len(found)


def test_a_subject_that_works_is_judged_beside_one_function_that_does_not() -> None:
    flow = Bijection(lambda x: 2 * x, lambda y: y / 0, lambda x: x.new_full(x.shape[:1], 2 * math.log(2)), (2,))
    with pytest.raises(Refuted) as error:
        check_bijection(flow, settings=QUICK)
    held = {e.claim.rsplit(".", 1)[-1] for e in error.value.evidence if e.status is Status.HOLDS}
    assert "log_det_is_that_of_the_jacobian" in held
