"""Ways in which an estimate of an evidence bound goes wrong: the mutants of its laws, and what undoes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mathcheck.inference.evidence_bound.record import EvidenceBound

Slip = Callable[[EvidenceBound], EvidenceBound]


def then(change: Callable[[Tensor, Tensor], Tensor], *, averages: bool = True) -> Slip:
    """The slip that puts `change(value, log_weights)` in place of the value; `averages` if it is one for means too."""

    def slip(b: EvidenceBound) -> EvidenceBound:
        if b.averages and not averages:
            raise NotImplementedError("no slip of a mean of log-weights")
        return replace(b, bound=lambda w: change(b.bound(w), w))

    return slip


def other_form(b: EvidenceBound) -> EvidenceBound:
    def log_mean(w: Tensor) -> Tensor:
        return torch.logsumexp(w, -1) - math.log(w.shape[-1])

    return replace(b, bound=log_mean if b.averages else (lambda w: w.mean(-1)))


def row_by_row(b: EvidenceBound) -> EvidenceBound:
    def rowwise(w: Tensor) -> Tensor:
        rows = [b.bound(row[None]).reshape(()) for row in w.reshape(-1, w.shape[-1])]
        return torch.stack(rows).reshape(w.shape[:-1])

    return replace(b, bound=rowwise)


def _shifted(b: EvidenceBound) -> EvidenceBound:
    def shifted(w: Tensor) -> Tensor:
        top = w.amax(-1, keepdim=True)
        return b.bound(w - top) + top.squeeze(-1)

    return replace(b, bound=shifted)


def _empty_rows_apart(b: EvidenceBound) -> EvidenceBound:
    if b.averages:
        raise NotImplementedError("a mean of log-weights subtracts nothing from them")

    def apart(w: Tensor) -> Tensor:
        empty = (w == -math.inf).all(-1, keepdim=True)
        value = b.bound(torch.where(empty, torch.zeros_like(w), w))
        return torch.where(empty.squeeze(-1), -math.inf, value)

    return replace(b, bound=apart)


COUNT: dict[str, Slip] = {
    "log K is added (a sum of weights for their mean)": then(lambda value, w: value + math.log(w.shape[-1])),
    "log K is subtracted (the mean is taken twice)": then(lambda value, w: value - math.log(w.shape[-1])),
}
SIGN: dict[str, Slip] = {"its sign is changed": then(lambda value, w: -value)}
FORM: dict[str, Slip] = {"the logarithm and the mean are exchanged": other_form}
NAIVE: dict[str, Slip] = {
    "the weights are exponentiated as they are": then(lambda value, w: w.exp().mean(-1).log(), averages=False),
}
PICK: dict[str, Slip] = {"the first draw stands for all": then(lambda value, w: w[..., 0])}
BATCH: dict[str, Slip] = {
    "it is summed over the batch": then(lambda value, w: value.sum()),
    "it is averaged over the batch": then(lambda value, w: value.mean().expand(value.shape)),
}
REPAIRS: dict[str, Slip] = {
    "it is reduced over the last dimension only": row_by_row,
    "log K is subtracted (it is a sum of the weights)": then(lambda value, w: value - math.log(w.shape[-1])),
    "log K is added (the mean is taken twice)": then(lambda value, w: value + math.log(w.shape[-1])),
    **SIGN,
    **FORM,
    "the largest log-weight is subtracted before the exponentials are taken": _shifted,
    "infinite log-weights count as weight zero (infinity is subtracted from itself)": _empty_rows_apart,
    "it is stated to be an average of log-weights (the ELBO, whatever K is)": lambda b: replace(b, averages=True),
    "it is judged in single precision (its error is of that size)": then(lambda value, w: value.float()),
}
