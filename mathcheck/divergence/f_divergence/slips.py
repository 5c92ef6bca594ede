"""Ways in which an f-divergence goes wrong: the mutants of its laws, and what undoes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from mathcheck.divergence.f_divergence.exact import definition, enclosed
from mathcheck.divergence.f_divergence.record import FDivergence
from mathcheck.oracles import arb

Slip = Callable[[FDivergence], FDivergence]


def then(change: Callable[[Tensor, int], Tensor]) -> Slip:
    """The slip that puts `change(value, n)` in place of the value for n outcomes."""
    return lambda f: replace(f, divergence=lambda p, q: change(f.divergence(p, q), p.shape[-1]))


def _swapped(f: FDivergence) -> FDivergence:
    if all(abs(float((definition(f, a, b) - definition(f, b, a)).mid())) < 1e-9 for a, b in (_PROBE, _PROBE[::-1])):
        raise NotImplementedError("it is symmetric")
    return replace(f, divergence=lambda p, q: f.divergence(q, p))


_PROBE = ([Fraction(1, 8), Fraction(7, 8)], [Fraction(1, 2), Fraction(1, 2)])


def _no_recession(f: FDivergence) -> FDivergence:
    if f.limits()[1].is_zero():
        raise NotImplementedError("the recession term is 0")
    return replace(f, divergence=lambda p, q: enclosed(f, p, q, recession=False).mid.to(p))


def no_recession_below_zero(f: FDivergence) -> FDivergence:
    # U[0, 2] against U[0, 1], the smallest example; an f that is nowhere negative gives no negative sum.
    if not definition(f, [Fraction(1, 2)] * 2, [Fraction(1), Fraction(0)], recession=False) < 0:
        raise NotImplementedError("f is never negative")
    return _no_recession(f)


def _as_it_stands(f: FDivergence) -> FDivergence:
    """The formula in floats: f at the rounded ratio, rounded."""

    def changed(p: Tensor, q: Tensor) -> Tensor:
        wanted = f.divergence(p, q)
        if not bool(((p > 0) & (q > 0)).all()):
            return wanted
        ratio = (p / q).detach().cpu()
        values = [float(f.generator(arb.exact(t)).mid()) for t in ratio.flatten().tolist()]
        return (q * torch.tensor(values, dtype=p.dtype).reshape(p.shape).to(p)).sum(-1)

    return replace(f, divergence=changed)


def squares(f: FDivergence) -> FDivergence:
    return replace(f, divergence=lambda p, q: (p - q).square().sum(-1))


SIGN: dict[str, Slip] = {"its sign is changed": then(lambda value, n: -value)}
SCALE: dict[str, Slip] = {
    "it is multiplied by 2": then(lambda value, n: 2 * value),
    "it is divided by 2": then(lambda value, n: value / 2),
    "it is converted from nats to bits": then(lambda value, n: value / math.log(2)),
    "it is averaged over the outcomes": then(lambda value, n: value / n),
}
RECESSION: dict[str, Slip] = {"outcomes that q excludes are left out (no recession term)": _no_recession}
SWAP: dict[str, Slip] = {"the arguments are swapped": _swapped}
FORMULA: dict[str, Slip] = {"the formula is taken as it stands (it cancels)": _as_it_stands}
REPAIRS: dict[str, Slip] = {
    "nearly equal arguments are excluded (the formula cancels)": lambda f: replace(f, near_equal=False),
    **SWAP,
    **SCALE,
    **SIGN,
}
