r"""Markov chains on finitely many states in rational numbers: a step, the reversal, and the divergence of two laws.

A stationary chain is given by its flow, the integers $F_{xy}$ proportional to $p_x T_{xy}$: as much flows into every state
as out of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import flint

from mathcheck.engine import arguments
from mathcheck.oracles import arb

Law = Sequence[Fraction]
Rows = Sequence[Sequence[Fraction]]
Flow = tuple[tuple[int, ...], ...]


def _check(first: str, law: Sequence[int | Fraction], name: str, square: Sequence[Sequence[int | Fraction]]) -> None:
    """Refuses what is no law of n rational numbers called `first`, and n rows of n called `name`."""
    arguments.sequences((Fraction, int), **{first: law})
    arguments.sequences(Sequence, **{name: square})
    rows = {f"{name}[{i}]": row for i, row in enumerate(square)}
    arguments.sequences((Fraction, int), **rows)
    arguments.same_length(**{first: law, name: square, **rows})


def chain_of(flow: Flow, weights: Sequence[int]) -> tuple[list[list[Fraction]], list[Fraction], list[Fraction]]:
    r"""$T_{xy} = F_{xy}/\sum_z F_{xz}$, $p_x \propto \sum_z F_{xz}$, and a starting law proportional to `weights`.

    Args:
        flow: F, `(n, n)` integers, at least 0, not all 0 in a row; p is stationary if as much flows in as out.
        weights: `(n,)`, at least 0, not all 0.

    Raises:
        TypeError, ValueError: for arguments that are not so.
    """
    _check("weights", weights, "flow", flow)
    for name, row in (("weights", weights), *(("flow", row) for row in flow)):
        if min(row) < 0 or not sum(row):
            raise ValueError(f"{name} must be at least 0 and not all 0, got {list(row)}")
    sizes = [sum(row) for row in flow]
    transition = [[Fraction(entry, size) for entry in row] for row, size in zip(flow, sizes, strict=True)]
    stationary = [Fraction(size, sum(sizes)) for size in sizes]
    return transition, stationary, [Fraction(w, sum(weights)) for w in weights]


def step(law: Law, transition: Rows) -> list[Fraction]:
    r"""$(qT)_y = \sum_x q_x T_{xy}$, exactly.

    Args:
        law: q, `(n,)`.
        transition: T, `(n, n)`.

    Raises:
        TypeError, ValueError: for arguments that are not so.
    """
    _check("law", law, "transition", transition)
    return [sum((law[x] * transition[x][y] for x in range(len(law))), Fraction(0)) for y in range(len(law))]


def reverse(transition: Rows, stationary: Law) -> list[list[Fraction]]:
    r"""$T^*_{yx} = p_x T_{xy}/p_y$, exactly.

    Args:
        transition: T, `(n, n)`.
        stationary: p, `(n,)`, positive, with pT = p.

    Raises:
        TypeError, ValueError: for arguments that are not so, save that pT = p is not asked.
    """
    _check("stationary", stationary, "transition", transition)
    if not all(p > 0 for p in stationary):
        raise ValueError(f"stationary must be positive, got {list(stationary)}")
    n = range(len(stationary))
    return [[stationary[x] * transition[x][y] / stationary[y] for x in n] for y in n]


def kl(q: Law, p: Law) -> flint.arb:
    r"""$\sum_x q_x\log(q_x/p_x)$ as a ball, at the current precision; infinite where p is 0 and q is not.

    Args:
        q, p: `(n,)`.

    Raises:
        TypeError, ValueError: for arguments that are not so.
    """
    arguments.sequences((Fraction, int), q=q, p=p)
    arguments.same_length(q=q, p=p)
    if any(a and not b for a, b in zip(q, p, strict=True)):
        return flint.arb("inf")
    terms = (arb.exact(a) * arb.log(arb.exact(Fraction(a) / b)) for a, b in zip(q, p, strict=True) if a)
    return sum(terms, flint.arb(0))
