"""Likelihoods and weighted estimates that people write: the wrong ones are refuted and named, their correct twins pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, distributions
from torch.nn import functional as F  # noqa: N812

from mathcheck import (
    Importance,
    LogLikelihood,
    Refuted,
    Settings,
    bernoullis,
    categoricals,
    check_importance,
    check_log_likelihood,
    normals,
    poissons,
)
from mathcheck.engine.claim import laws, verify
from mathcheck.engine.evidence import Evidence, Status

QUICK = Settings(examples=25)
STRICT = replace(QUICK, accuracy="full")
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, -2), classes.flatten(), reduction="none").reshape(classes.shape)


def textbook_normal(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    return -0.5 * (math.log(2 * math.pi) + log_variance + (x - mean) ** 2 / log_variance.exp()).sum(-1)


def by_variance(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return -0.5 * ((2 * math.pi * variance).log() + (x - mean) ** 2 / variance).sum(-1)


LIKELIHOODS = {
    "binary cross-entropy": (
        lambda t, logits: -F.binary_cross_entropy_with_logits(logits, t, reduction="none").sum(-1),
        bernoullis("logit"),
    ),
    "torch's Bernoulli": (lambda t, mu: distributions.Bernoulli(mu).log_prob(t).sum(-1), bernoullis(boundary=False)),
    "softplus": (lambda t, logits: (t * logits - torch.logaddexp(logits, 0 * logits)).sum(-1), bernoullis("logit")),
    "log-variances": (textbook_normal, normals("log_variance", reach=20)),
    "variances": (by_variance, normals("variance", reach=20)),
    "torch's normal": (lambda x, m, s: distributions.Normal(m, s).log_prob(x).sum(-1), normals("std", reach=20)),
    "torch's loss": (
        lambda x, m, v: -F.gaussian_nll_loss(m, x, v, full=True, eps=0, reduction="none").sum(-1),
        normals("variance", reach=20),
    ),
    "cross-entropy": (lambda t, logits: -cross_entropy(logits, t).sum(-1), categoricals("logits")),
    "torch's categorical": (
        lambda t, p: distributions.Categorical(p).log_prob(t).sum(-1),
        categoricals("probabilities", boundary=False),
    ),
    "counts": (lambda t, a: (t * a - a.exp() - torch.lgamma(t + 1)).sum(-1), poissons("log_rate")),
}


@DTYPES
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_correct_likelihood_passes(name: str, dtype: torch.dtype) -> None:
    # The mutants are left out: what they are for is tested on the references.
    for law in laws(LogLikelihood):
        evidence = verify(replace(law, mutants={}), LogLikelihood(*LIKELIHOODS[name]), dtype=dtype, settings=QUICK)
        assert evidence.status is Status.HOLDS, str(evidence)


def test_a_correct_likelihood_passes_with_its_mutants_refuted() -> None:
    log_prob, domain = LIKELIHOODS["binary cross-entropy"]
    evidence = check_log_likelihood(log_prob, domain, settings=QUICK)
    assert {e.status for e in evidence} == {Status.HOLDS}


def judged(subject: LogLikelihood | Importance, law: str, settings: Settings = QUICK) -> Evidence:
    """What one law says of a subject."""
    return verify(next(c for c in laws(type(subject)) if c.check.__name__ == law), subject, settings=settings)


def refuted(subject: LogLikelihood | Importance, law: str, settings: Settings = QUICK) -> Evidence:
    """What one law says of a subject that it must refute."""
    evidence = judged(subject, law, settings)
    assert evidence.status is Status.REFUTED, str(evidence)
    assert evidence.counterexample is not None
    assert evidence.counterexample.residual is not None
    return evidence


BCE, SOFTPLUS = LIKELIHOODS["binary cross-entropy"][0], LIKELIHOODS["softplus"][0]
WRONG: dict[str, tuple[Callable[..., Tensor], Any, str, str]] = {
    "the loss for the likelihood": (
        lambda t, logits: -BCE(t, logits),
        bernoullis("logit"),
        "equals_the_definition",
        "its sign is changed",
    ),
    "a mean over the pixels": (
        lambda t, logits: -F.binary_cross_entropy_with_logits(logits, t, reduction="none").mean(-1),
        bernoullis("logit"),
        "outcomes_add",
        "it is multiplied by n",
    ),
    "a sum over the batch": (
        lambda t, logits: -F.binary_cross_entropy_with_logits(logits, t, reduction="sum"),
        bernoullis("logit"),
        "one_value_for_each_row",
        "the rows of a batch are kept apart",
    ),
    "0 log 0": (
        lambda t, mu: (t * mu.log() + (1 - t) * (1 - mu).log()).sum(-1),
        bernoullis(),
        "equals_the_definition",
        "probabilities of 0 and 1, and rates of 0, are excluded",
    ),
    "the other sign in the softplus": (
        lambda t, logits: (t * logits - F.softplus(-logits)).sum(-1),
        bernoullis("logit"),
        "equals_the_definition",
        "the softplus takes their other sign",
    ),
    "logits for probabilities": (
        lambda t, mu: SOFTPLUS(t, mu),
        bernoullis(boundary=False),
        "equals_the_definition",
        "it takes logits",
    ),
    "bits": (
        lambda t, logits: BCE(t, logits) / math.log(2),
        bernoullis("logit"),
        "equals_the_definition",
        "from bits to nats",
    ),
    "no constant": (
        lambda x, m, lv: -0.5 * (lv + (x - m) ** 2 / lv.exp()).sum(-1),
        normals(reach=20),
        "probabilities_of_all_outcomes_sum_to_one",
        "the constant n/2 log 2 pi is subtracted",
    ),
    "one constant for all coordinates": (
        lambda x, m, lv: -0.5 * (lv + (x - m) ** 2 / lv.exp()).sum(-1) - 0.5 * math.log(2 * math.pi),
        normals(reach=20),
        "equals_the_definition",
        "counted for every outcome",
    ),
    "twice the constant": (
        lambda x, m, lv: textbook_normal(x, m, lv) - x.shape[-1] / 2 * math.log(2 * math.pi),
        normals(reach=20),
        "equals_the_definition",
        "the constant n/2 log 2 pi is added",
    ),
    "no factor 1/2": (
        lambda x, m, lv: -(0.5 * (math.log(2 * math.pi) + lv) + (x - m) ** 2 / lv.exp()).sum(-1),
        normals(reach=20),
        "equals_the_definition",
        "its factor 1/2 is missing",
    ),
    "a standard deviation for a variance": (
        lambda x, m, v: distributions.Normal(m, v).log_prob(x).sum(-1),
        normals("variance", reach=20),
        "equals_the_definition",
        "it is given the standard deviation",
    ),
    "a variance for a standard deviation": (
        by_variance,
        normals("std", reach=20),
        "equals_the_definition",
        "it is given the variance",
    ),
    "a logarithm of a deviation for that of a variance": (
        lambda x, m, lv: textbook_normal(x, m, 2 * lv),
        normals("log_variance", reach=20),
        "equals_the_definition",
        "it is given the logarithm of the standard deviation",
    ),
    "a softmax too few": (
        lambda t, logits: logits.gather(-1, t.unsqueeze(-1)).squeeze(-1).sum(-1),
        categoricals(),
        "equals_the_definition",
        "the logarithm of the sum of exponentials is subtracted",
    ),
    "no factorial": (
        lambda t, a: -F.poisson_nll_loss(a, t, reduction="none").sum(-1),
        poissons("log_rate"),
        "equals_the_definition",
        "log t! is subtracted",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_likelihood_is_refuted_and_named(name: str) -> None:
    log_prob, domain, law, diagnosis = WRONG[name]
    assert diagnosis in (refuted(LogLikelihood(log_prob, domain), law).diagnosis or "")


def test_the_record_of_a_wrong_likelihood_names_every_law() -> None:
    log_prob, domain, law, diagnosis = WRONG["the loss for the likelihood"]
    with pytest.raises(Refuted, match=diagnosis) as error:
        check_log_likelihood(log_prob, domain, settings=QUICK)
    found = {e.claim.rsplit(".", 1)[-1] for e in error.value.evidence if e.status is Status.REFUTED}
    assert found == {law, "gradient_is_that_of_the_definition", "probabilities_of_all_outcomes_sum_to_one"}


SILENT: dict[str, tuple[Callable[..., Tensor], Any, str]] = {
    "single precision in between": (
        lambda x, m, lv: textbook_normal(x.float(), m.float(), lv.float()).to(x.dtype),
        normals(reach=20),
        "equals_the_definition",
    ),
    "an overflow in single precision only": (
        lambda t, logits: (t * logits - (1 + logits.exp()).log()).sum(-1),
        bernoullis("logit"),
        "equals_the_definition",
    ),
    "a softplus that is cut off at 20, where single precision ends": (
        lambda t, logits: (t * logits - F.softplus(logits)).sum(-1),
        bernoullis("logit"),
        "equals_the_definition",
    ),
    "a detached variance": (
        lambda x, m, lv: textbook_normal(x, m, lv.detach()),
        normals(reach=20),
        "gradient_is_that_of_the_definition",
    ),
    "a logarithm that is kept finite": (
        lambda t, mu: (t * (mu + 1e-7).log() + (1 - t) * (1 - mu + 1e-7).log()).sum(-1),
        bernoullis(),
        "probabilities_of_all_outcomes_sum_to_one",
    ),
}


@pytest.mark.parametrize("name", SILENT)
def test_a_wrong_likelihood_without_a_remedy_is_refuted(name: str) -> None:
    log_prob, domain, law = SILENT[name]
    refuted(LogLikelihood(log_prob, domain), law, STRICT)


@pytest.mark.parametrize("name", list(SILENT)[:3:2])
def test_right_maths_with_digits_lost_is_inaccurate(name: str) -> None:
    log_prob, domain, law = SILENT[name]
    evidence = judged(LogLikelihood(log_prob, domain), law)
    assert evidence.status is Status.INACCURATE, str(evidence)
    assert 1 < evidence.digits < 12


@pytest.mark.parametrize("name", list(SILENT)[1::2])
def test_wrong_maths_is_refuted_whatever_digits_are_lost(name: str) -> None:
    log_prob, domain, law = SILENT[name]
    refuted(LogLikelihood(log_prob, domain), law)


def softmax_mean(log_weights: Tensor, values: Tensor) -> Tensor:
    return (torch.softmax(log_weights, -1) * values).sum(-1)


def size(log_weights: Tensor) -> Tensor:
    return 1 / torch.softmax(log_weights, -1).square().sum(-1)


def log_mean(log_weights: Tensor) -> Tensor:
    return torch.logsumexp(log_weights, -1) - math.log(log_weights.shape[-1])


ESTIMATES = {
    "plain": Importance(lambda w, f: (w.exp() * f).mean(-1), log_evidence=log_mean),
    "normalised": Importance(softmax_mean, self_normalized=True, effective_size=size),
}


@DTYPES
@pytest.mark.parametrize("name", ESTIMATES)
def test_a_correct_estimate_passes(name: str, dtype: torch.dtype) -> None:
    for law in laws(Importance):
        evidence = verify(replace(law, mutants={}), ESTIMATES[name], dtype=dtype, settings=QUICK)
        assert evidence.status in (Status.HOLDS, Status.SKIPPED), str(evidence)


def test_a_correct_estimate_passes_with_its_mutants_refuted() -> None:
    evidence = check_importance(ESTIMATES["normalised"], settings=QUICK)
    skipped = {e.claim.rsplit(".", 1)[-1] for e in evidence if e.status is Status.SKIPPED}
    assert skipped == {"unbiased", "log_evidence_is_that_of_the_mean_weight"}


def over_the_batch(log_weights: Tensor, values: Tensor) -> Tensor:
    w = torch.softmax(log_weights, 0)
    return (w * values).sum(-1)


WRONG_ESTIMATES: dict[str, tuple[Importance, str, str]] = {
    "a sum for the mean": (
        Importance(lambda w, f: (w.exp() * f).sum(-1)),
        "unbiased",
        "it is divided by K",
    ),
    "normalised, but stated to be unbiased": (
        Importance(softmax_mean),
        "equals_the_definition",
        "it is stated to be self-normalised",
    ),
    "q/p for p/q": (
        Importance(lambda w, f: softmax_mean(-w, f), self_normalized=True),
        "equals_the_definition",
        "the weights are inverted",
    ),
    "no shift": (
        Importance(lambda w, f: (w.exp() * f).sum(-1) / w.exp().sum(-1), self_normalized=True),
        "equals_the_definition",
        "the largest log-weight is subtracted",
    ),
    "squared weights": (
        Importance(lambda w, f: softmax_mean(2 * w, f), self_normalized=True),
        "equals_the_definition",
        "the roots of the weights are taken",
    ),
    "normalised and averaged": (
        Importance(lambda w, f: (torch.softmax(w, -1) * f).mean(-1), self_normalized=True),
        "self_normalised_is_a_mean",
        "it is multiplied by K",
    ),
    "K - 1": (
        Importance(lambda w, f: (w.exp() * f).sum(-1) / max(1, w.shape[-1] - 1)),
        "equals_the_definition",
        "it is multiplied by K - 1 and divided by K",
    ),
    "only draws with a weight are counted": (
        Importance(lambda w, f: (w.exp() * f).sum(-1) / (w > -math.inf).sum(-1).clamp(min=1)),
        "unbiased",
        "draws of weight 0 are counted",
    ),
    "the mean of the batch": (
        Importance(lambda w, f: softmax_mean(w, f).mean().expand(f.shape[:-1]), self_normalized=True),
        "rows_are_independent",
        "it is reduced over the last dimension only",
    ),
    "normalised over the batch": (
        Importance(over_the_batch, self_normalized=True),
        "rows_are_independent",
        "",
    ),
    "a sum of weights for their mean": (
        Importance(softmax_mean, True, log_evidence=lambda w: torch.logsumexp(w, -1)),
        "log_evidence_is_that_of_the_mean_weight",
        "log K is subtracted",
    ),
    "a share for the effective size": (
        Importance(softmax_mean, True, effective_size=lambda w: size(w) / w.shape[-1]),
        "effective_size_is_between_one_and_all",
        "it is multiplied by K",
    ),
}


@pytest.mark.parametrize("name", WRONG_ESTIMATES)
def test_a_wrong_estimate_is_refuted_and_named(name: str) -> None:
    subject, law, diagnosis = WRONG_ESTIMATES[name]
    assert diagnosis in (refuted(subject, law).diagnosis or "")


def test_the_function_of_a_wrong_estimate_is_refuted() -> None:
    with pytest.raises(Refuted, match="it is divided by K"):
        check_importance(lambda w, f: (w.exp() * f).sum(-1), settings=QUICK)


def test_a_row_without_weights_is_what_the_record_says() -> None:
    zero = Importance(lambda w, f: softmax_mean(w, f).nan_to_num(), self_normalized=True)
    law = "draws_of_weight_zero_are_limits"
    refuted(zero, law)
    stated = Importance(zero.estimate, self_normalized=True, empty=0.0)
    claim = next(c for c in laws(Importance) if c.check.__name__ == law)
    assert verify(claim, stated, settings=QUICK).status is Status.HOLDS


def test_bad_input_is_refused() -> None:
    with pytest.raises(TypeError, match="domain must be given"):
        check_log_likelihood(textbook_normal)
    with pytest.raises(TypeError, match="domain"):
        check_log_likelihood(LogLikelihood(textbook_normal, normals()), normals())
    with pytest.raises(TypeError, match="likelihood must be"):
        check_log_likelihood(3, normals())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="domain must be one of"):
        LogLikelihood(textbook_normal, "normal")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="independent coordinates"):
        LogLikelihood(textbook_normal, normals("covariance"))
    with pytest.raises(TypeError, match="log_prob"):
        LogLikelihood(3, normals())  # type: ignore[arg-type]
    for family in (bernoullis, categoricals, poissons):
        with pytest.raises(ValueError, match="parameter must be one of"):
            family("odds")
        with pytest.raises(ValueError, match="reach"):
            family(reach=-1.0)
    with pytest.raises(TypeError, match="importance must be"):
        check_importance(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="effective_size"):
        Importance(softmax_mean, effective_size=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reach"):
        Importance(softmax_mean, reach=0.0)
