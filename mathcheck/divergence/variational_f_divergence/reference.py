"""The variational forms of the well-known f-divergences."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mathcheck.divergence import f_divergence as family
from mathcheck.divergence.variational_f_divergence.record import VariationalForm
from mathcheck.oracles import arb


def _log_ratio(p: Tensor, q: Tensor) -> Tensor:
    return p.log() - q.log()


def _half_softplus(x: Tensor) -> Tensor:
    r"""$\tfrac12\log\frac{1 + e^x}2$, about x/4 near 0, where the difference of the logarithms cancels."""
    falling = torch.log1p(torch.expm1(x.clamp(max=0)) / 2)
    return torch.where(x <= 0, falling, x + torch.log1p(torch.expm1(-x.clamp(min=0)) / 2)) / 2


def _exact_half_softplus(x: Any) -> Any:
    return arb.log((1 + arb.exp(x)) / 2) / 2


kl = VariationalForm(
    lambda v: v,
    lambda v: (v - 1).exp(),
    lambda p, q: 1 + _log_ratio(p, q),
    family.kl,
    lambda s: arb.exp(s - 1),
    lambda v: v,
)
reverse_kl = VariationalForm(
    lambda v: -(-v).exp(),
    lambda v: v - 1,
    _log_ratio,
    family.reverse_kl,
    lambda s: -1 - arb.log(-s),
    lambda v: -arb.exp(-v),
)
squared_hellinger = VariationalForm(
    lambda v: -torch.expm1(-v),
    torch.expm1,
    lambda p, q: _log_ratio(p, q) / 2,
    family.squared_hellinger,
    lambda s: s / (1 - s),
    lambda v: -arb.expm1(-v),
)
jensen_shannon = VariationalForm(
    lambda v: -_half_softplus(-v),
    _half_softplus,
    _log_ratio,
    family.jensen_shannon,
    lambda s: -arb.log(2 - arb.exp(2 * s)) / 2,
    lambda v: -_exact_half_softplus(-v),
)
total_variation = VariationalForm(
    lambda v: v.tanh() / 2,
    lambda v: v.tanh() / 2,
    lambda p, q: (p - q) / torch.zeros_like(p).where(p != q, 1.0),
    family.total_variation,
    lambda s: s,
    lambda v: arb.tanh(v) / 2,
)
