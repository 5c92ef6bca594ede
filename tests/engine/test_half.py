"""Subjects in bfloat16 are judged by what an oracle knows, and other half precisions are refused in one message."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mathcheck import (
    Bijection,
    EvidenceBound,
    Refuted,
    Settings,
    Status,
    bernoullis,
    check_bijection,
    check_evidence_bound,
    check_log_likelihood,
)
from mathcheck.engine.half import in_bfloat16, widened

QUICK = Settings(examples=20, shrink=False)


def by_softplus(t: Tensor, logits: Tensor) -> Tensor:
    assert t.dtype == logits.dtype == torch.bfloat16
    return (t * logits - functional.softplus(logits)).sum(-1)


def in_single_precision_inside(t: Tensor, logits: Tensor) -> Tensor:
    return (t.float() * logits.float() - functional.softplus(logits.float())).sum(-1)


@pytest.mark.parametrize("log_prob", [by_softplus, in_single_precision_inside])
def test_a_right_log_likelihood_in_bfloat16_passes(log_prob: object, seed: int) -> None:
    settings = Settings(examples=20, shrink=False, seed=seed)
    found = check_log_likelihood(log_prob, bernoullis("logit", reach=100), dtype=torch.bfloat16, settings=settings)  # type: ignore[arg-type]
    said = {e.claim.rsplit(".", 1)[-1]: e for e in found}
    assert said["equals_the_definition"].status in (Status.HOLDS, Status.INACCURATE)
    assert said["equals_the_definition"].dtype == "bfloat16"
    assert "judge it in float32" in (said["gradient_is_that_of_the_definition"].reason or "")


def test_a_wrong_one_is_refuted() -> None:
    wrong = lambda t, logits: -by_softplus(t, logits)  # noqa: E731
    with pytest.raises(Refuted) as error:
        check_log_likelihood(wrong, bernoullis("logit"), dtype=torch.bfloat16, settings=QUICK)
    refuted = [e for e in error.value.evidence if e.status is Status.REFUTED]
    assert any("its sign is changed" in (e.diagnosis or "") for e in refuted)


def test_another_role() -> None:
    found = check_evidence_bound(
        EvidenceBound(lambda w: torch.logsumexp(w, -1) - math.log(w.shape[-1]), dtype=torch.bfloat16), settings=QUICK
    )
    assert [e for e in found if e.status is Status.INACCURATE]
    with pytest.raises(Refuted, match="log K is subtracted"):
        check_evidence_bound(EvidenceBound(lambda w: torch.logsumexp(w, -1), dtype=torch.bfloat16), settings=QUICK)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_what_is_not_supported_is_said_once(dtype: torch.dtype) -> None:
    flow = Bijection(
        lambda x: 2 * x, lambda y: y / 2, lambda x: x.new_full(x.shape[:1], math.log(2)), (1,), dtype=dtype
    )
    with pytest.raises(Refuted) as error:
        check_bijection(flow, settings=QUICK)
    said = str(error.value)
    assert said.startswith("NOTHING COMPARED")
    assert "judge it in float32" in said.splitlines()[0]
    assert said.splitlines()[0].count("float32") == 1
    with pytest.raises(TypeError, match=r"torch.float32 or torch.bfloat16, got torch.int64"):
        check_bijection(flow, dtype=torch.int64, settings=QUICK)


def test_inputs_are_numbers_that_bfloat16_holds() -> None:
    x = torch.tensor([0.1, -1.1, 1 - 2**-24, math.inf, 0.0, 1e-30])
    found, (again, count) = in_bfloat16(x), in_bfloat16((x, 3))
    assert torch.equal(found, found.bfloat16().float())
    assert bool((found.abs() <= x.abs()).all())
    assert bool((found[:3] != x[:3]).all())
    assert torch.equal(found, again)
    assert count == 3


def test_a_function_gets_and_gives_bfloat16_inside() -> None:
    seen: list[torch.dtype] = []

    def function(x: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        seen.extend((x.dtype, k.dtype))
        return x + 1, k

    one, two = widened(function)(torch.ones(2), torch.arange(2))
    assert seen == [torch.bfloat16, torch.int64]
    assert (one.dtype, two.dtype) == (torch.float32, torch.int64)
