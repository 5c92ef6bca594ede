"""An f-divergence by its definition, in rational numbers and in ball arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import flint
from torch import Tensor

from mathcheck.divergence.f_divergence.record import FDivergence
from mathcheck.engine import arguments
from mathcheck.engine.residual import Ball, Kind
from mathcheck.oracles import arb

Row = Sequence[Fraction]


def definition(f: FDivergence, p: Row, q: Row, *, recession: bool = True) -> Any:
    r"""$\sum_{q_i > 0} q_i f(p_i/q_i) + f'(\infty)P(q = 0)$ of rational distributions, as a ball; possibly infinite.

    Args:
        f: for its generator and limits.
        p, q: `(n,)`.
        recession: whether the second term is added.

    Raises:
        TypeError, ValueError: if f is no record, or p and q are not as many fractions.
    """
    arguments.instances(FDivergence, f=f)
    arguments.sequences(Fraction, p=p, q=q)
    arguments.same_length(p=p, q=q)
    arguments.instances(bool, recession=recession)
    at_zero, slope = f.limits()
    total: Any = flint.arb(0)
    for a, b in zip(p, q, strict=True):
        if b == 0:
            total = total + arb.exact(a) * slope if a and recession else total
        else:
            total = total + arb.exact(b) * (f.generator(arb.exact(a / b)) if a else at_zero)
    return total


def enclosed(f: FDivergence, p: Tensor, q: Tensor, *, recession: bool = True) -> Ball:
    """The true $D_f$ of distributions `(*batch, n)`, `(*batch,)`.

    Raises:
        TypeError, ValueError: if f is no record, or p and q are not alike.
        Undecided: if no precision told whether the value is finite.
    """
    arguments.instances(FDivergence, f=f)
    arguments.alike(p=p, q=q)
    arguments.vectors(p=p)
    arguments.instances(bool, recession=recession)
    source = "definition in ball arithmetic"

    def one(a: Row, b: Row) -> Ball:
        value = definition(f, a, b, recession=recession)
        # Not finite is no proof: the square of a ball around 0 is NaN until more digits tell the ball from 0.
        if value > 0 and not value.is_finite():
            return Ball(math.inf, kind=Kind.ENCLOSED, source=source)
        return arb.enclose(lambda: definition(f, a, b, recession=recession), source=source)

    rows = [[_rational(row) for row in t.detach().cpu().reshape(-1, t.shape[-1])] for t in (p, q)]
    return Ball.stack([one(a, b) for a, b in zip(*rows, strict=True)], p.shape[:-1])


def _rational(row: Tensor) -> list[Fraction]:
    """The entries of `(n,)` without rounding."""
    return [Fraction(v) for v in row.tolist()]
