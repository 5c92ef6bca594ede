"""Ways in which an importance-sampling estimate goes wrong: the mutants of its laws, and what undoes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mathcheck.probability.importance.record import Importance

Slip = Callable[[Importance], Importance]


def _then(change: Callable[[Tensor, Tensor, Tensor], Tensor], *, normalized: bool | None = None) -> Slip:
    """The slip that says `change(value, log_weights, values)`, of estimates that are normalised or not, or of both."""

    def slip(s: Importance) -> Importance:
        if normalized not in (None, s.self_normalized):
            raise NotImplementedError("no slip of such an estimate")
        return replace(s, estimate=lambda w, f: change(s.estimate(w, f), w, f))

    return slip


def _weights(change: Callable[[Tensor], Tensor]) -> Slip:
    """The slip that takes other log-weights."""
    return lambda s: replace(s, estimate=lambda w, f: s.estimate(change(w), f))


def _other_form(s: Importance) -> Importance:
    def plain(w: Tensor, f: Tensor) -> Tensor:
        return (w.exp() * f).mean(-1)

    def normalised(w: Tensor, f: Tensor) -> Tensor:
        return (torch.softmax(w, -1) * f).sum(-1)

    return replace(s, estimate=plain if s.self_normalized else normalised)


def _row_by_row(s: Importance) -> Importance:
    def changed(w: Tensor, f: Tensor) -> Tensor:
        rows = zip(w.reshape(-1, w.shape[-1]), f.reshape(-1, f.shape[-1]), strict=True)
        return torch.stack([s.estimate(a[None], b[None]).reshape(()) for a, b in rows]).reshape(w.shape[:-1])

    return replace(s, estimate=changed)


def _shifted(s: Importance) -> Importance:
    if not s.self_normalized:
        raise NotImplementedError("the size of the weights is that of the estimate")

    def changed(w: Tensor, f: Tensor) -> Tensor:
        top = w.amax(-1, keepdim=True)
        return s.estimate(w - torch.where(top.isfinite(), top, 0.0), f)

    return replace(s, estimate=changed)


def _normalised(s: Importance) -> Importance:
    twos = torch.full((1, 3), math.log(2), dtype=s.dtype or torch.float64)
    if not s.self_normalized or torch.allclose(s.estimate(twos, torch.ones_like(twos)), twos.new_ones(1)):
        raise NotImplementedError("the weights are normalised, or are not to be")
    return replace(s, estimate=lambda w, f: s.estimate(torch.log_softmax(w, -1), f))


def _stated(normalized: bool) -> Slip:
    def slip(s: Importance) -> Importance:
        if s.self_normalized is normalized:
            raise NotImplementedError("it is stated already")
        return replace(s, self_normalized=normalized)

    return slip


def _present(w: Tensor) -> Tensor:
    """How many draws of each row have a weight."""
    return (w > -math.inf).sum(-1).clamp(min=1)


def _less(w: Tensor) -> int:
    """K - 1, where that is positive."""
    return max(1, w.shape[-1] - 1)


WEIGHTS: dict[str, Slip] = {
    "the weights are inverted (q/p for p/q)": _weights(
        lambda w: torch.where(w.isfinite(), -w, torch.full_like(w, -math.inf))
    ),
    "the weights are squared": _weights(lambda w: 2 * w),
    "the roots of the weights are taken": _weights(lambda w: w / 2),
    "the weights are left out": _weights(lambda w: torch.where(w.isfinite(), torch.zeros_like(w), w)),
}
COUNT: dict[str, Slip] = {
    "it is multiplied by K (a sum over the draws for their mean)": _then(lambda e, w, f: e * w.shape[-1]),
    "it is divided by K (it is normalised twice)": _then(lambda e, w, f: e / w.shape[-1]),
    "it is divided by K - 1 for K": _then(lambda e, w, f: e * w.shape[-1] / _less(w)),
}
FORM: dict[str, Slip] = {"it is divided by K for the sum of the weights, or by that for K": _other_form}
OVERFLOW: dict[str, Slip] = {
    "the exponentials are taken without a shift": _then(
        lambda e, w, f: (w.exp() * f).sum(-1) / w.exp().sum(-1), normalized=True
    ),
    "the weights are cut off at e^20": _then(lambda e, w, f: (w.clamp(max=20.0).exp() * f).mean(-1), normalized=False),
}
ZEROS: dict[str, Slip] = {
    "draws of weight 0 are left out of the count": _then(
        lambda e, w, f: e * w.shape[-1] / _present(w), normalized=False
    ),
    "draws of weight 0 are taken for draws of weight 1": _weights(lambda w: w.nan_to_num(neginf=0.0)),
}
SHIFT: dict[str, Slip] = {
    "its weights are divided by their sum, or are not": _other_form,
    "the first weight is a factor once more": _then(lambda e, w, f: e * w[..., 0].clamp(-8.0, 8.0).exp()),
    "the weights are cut off at 1": _weights(lambda w: w.clamp(max=0.0)),
}
LINEAR: dict[str, Slip] = {
    "the values are squared": lambda s: replace(s, estimate=lambda w, f: s.estimate(w, f * f)),
    "negative values are taken for 0": lambda s: replace(s, estimate=lambda w, f: s.estimate(w, f.clamp(min=0.0))),
    "it is rounded to half its digits": _then(lambda e, w, f: _rounded(e)),
    "1 is added": _then(lambda e, w, f: e + 1),
}


def _rounded(e: Tensor) -> Tensor:
    return e.to(torch.float32 if e.dtype == torch.float64 else torch.bfloat16).to(e.dtype)


RANGE: dict[str, Slip] = {
    **COUNT,
    "it is divided by K for the sum of the weights, or by that for K": _other_form,
    "the first draw is left out of the sum of the weights": _then(
        lambda e, w, f: e / (1 - torch.softmax(w, -1)[..., 0]).clamp(min=0.25), normalized=True
    ),
}
BATCH: dict[str, Slip] = {
    "it is summed over the batch": _then(lambda e, w, f: e.sum()),
    "it is averaged over the batch": _then(lambda e, w, f: e.mean().expand(e.shape)),
    "the weights are divided by the sum over the batch": _then(
        lambda e, w, f: (torch.softmax(w.flatten(), 0).reshape(w.shape) * f).sum(-1), normalized=True
    ),
    "it is computed in another dtype": _then(
        lambda e, w, f: e.to(torch.float32 if e.dtype == torch.float64 else torch.float64)
    ),
}
REPAIRS: dict[str, Slip] = {
    "it is reduced over the last dimension only": _row_by_row,
    "the weights are divided by their sum (they are not normalised)": _normalised,
    "the largest log-weight is subtracted before the exponentials are taken": _shifted,
    "it is stated to be self-normalised (it is divided by the sum of the weights)": _stated(True),
    "it is stated not to be self-normalised (it is divided by K)": _stated(False),
    **WEIGHTS,
    **COUNT,
    "it is multiplied by K - 1 and divided by K": _then(lambda e, w, f: e * _less(w) / w.shape[-1]),
    "draws of weight 0 are counted": _then(lambda e, w, f: e * _present(w) / w.shape[-1], normalized=False),
}


def _size(change: Callable[[Tensor, Tensor], Tensor]) -> Slip:
    """The slip that says `change(effective_size, log_weights)`."""

    def slip(s: Importance) -> Importance:
        size = s.effective_size
        if size is None:
            raise NotImplementedError("there is no effective sample size")
        return replace(s, effective_size=lambda w: change(size(w), w))

    return slip


SIZE: dict[str, Slip] = {
    "the exponentials are taken without a shift": _size(
        lambda value, w: w.exp().sum(-1).square() / w.exp().square().sum(-1)
    ),
    "every draw is counted": _size(lambda value, w: torch.full_like(value, float(w.shape[-1]))),
    "it is divided by K": _size(lambda value, w: value / w.shape[-1]),
    "it is the inverse of the largest share (another effective size)": _size(
        lambda value, w: 1 / torch.softmax(w, -1).amax(-1)
    ),
    "the root is taken (the sum is not squared)": _size(lambda value, w: value.sqrt()),
}


def _evidence(change: Callable[[Tensor, Tensor], Tensor]) -> Slip:
    """The slip that says `change(log_evidence, log_weights)`."""

    def slip(s: Importance) -> Importance:
        evidence = s.log_evidence
        if evidence is None:
            raise NotImplementedError("there is no log-evidence")
        return replace(s, log_evidence=lambda w: change(evidence(w), w))

    return slip


EVIDENCE: dict[str, Slip] = {
    "log K is added (a sum of weights for their mean)": _evidence(lambda value, w: value + math.log(w.shape[-1])),
    "log K is subtracted (the mean is taken twice)": _evidence(lambda value, w: value - math.log(w.shape[-1])),
    "the logarithms are averaged": _evidence(lambda value, w: w.mean(-1)),
    "the exponentials are taken without a shift": _evidence(lambda value, w: w.exp().mean(-1).log()),
    "the exponential is taken (the evidence for its logarithm)": _evidence(lambda value, w: value.exp()),
}
SIZE_REPAIRS: dict[str, Slip] = {
    "it is multiplied by K (it is a share of the draws)": _size(lambda value, w: value * w.shape[-1]),
    "it is squared (the sum is not)": _size(lambda value, w: value.square()),
}
EVIDENCE_REPAIRS: dict[str, Slip] = {
    "its logarithm is taken": _evidence(lambda value, w: value.log()),
    "log K is subtracted (it is a sum of the weights)": _evidence(lambda value, w: value - math.log(w.shape[-1])),
    "log K is added (the mean is taken twice)": _evidence(lambda value, w: value + math.log(w.shape[-1])),
}
