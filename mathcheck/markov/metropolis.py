r"""Metropolis and Hastings: a proposal is accepted so often that every move is as frequent as its reverse.

$\alpha(x, y) = \min\big(1, \tfrac{\pi(y) Q(y, x)}{\pi(x) Q(x, y)}\big)$, and what is rejected repeats the state: the
repetitions are part of the chain. The chain of the accepted states alone follows $\pi\,a/\int\pi\,a$, where a(x) is the
rate at which moves from x are accepted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Residual, exactly
from mathcheck.engine.strategies import of_each
from mathcheck.oracles import enumeration

Map = Callable[[Tensor], Tensor]
Rows = list[list[Fraction]]


def metropolis_log_acceptance(log_ratio: Tensor) -> Tensor:
    r"""$\min(0, r)$, and $-\infty$ where r is NaN: the log-probability to accept a move of log-frequency ratio r.

    NaN is what two infinite energies leave, after a trajectory that diverged. `min(1, exp(r))` in Python is 1 there.

    Args:
        log_ratio: $r = H(x, p) - H(y, v)$, any shape.

    Raises:
        TypeError: if `log_ratio` is no floating tensor.
    """
    arguments.floating(log_ratio=log_ratio)
    return torch.where(log_ratio.isnan(), -math.inf, log_ratio.clamp(max=0.0))


def metropolis_chain(weights: Sequence[Fraction | int], proposal: Sequence[Sequence[Fraction | int]]) -> Rows:
    r"""The transition matrix of Metropolis and Hastings on finitely many states, in exact rational numbers.

    $P_{xy} = Q_{xy}\min\big(1, \tfrac{w_y Q_{yx}}{w_x Q_{xy}}\big)$ for $y \ne x$; what is rejected stays at x.

    Args:
        weights: `(n,)`, positive, proportional to the target.
        proposal: `(n, n)`, rows that sum to exactly 1.

    Raises:
        TypeError, ValueError: if a weight is no positive rational, or `proposal` no square matrix of distributions.
    """
    arguments.sequences((Fraction, int), weights=weights)
    arguments.sequences(Sequence, proposal=proposal)
    arguments.sequences((Fraction, int), **{f"proposal[{i}]": row for i, row in enumerate(proposal)})
    return _metropolis(weights, proposal)


def _metropolis(
    weights: Sequence[Fraction | int],
    proposal: Sequence[Sequence[Fraction | int]],
    *,
    corrected: bool = True,
    repeats: bool = True,
) -> Rows:
    n, w = len(weights), [Fraction(x) for x in weights]
    if min(w) <= 0:
        raise ValueError(f"weights must be positive, got {list(weights)}")
    if len(proposal) != n or any(len(row) != n or sum(row) != 1 or min(row) < 0 for row in proposal):
        raise ValueError(f"proposal must be {n} distributions of {n} states, got {proposal}")
    rows = []
    for x in range(n):
        row = [Fraction(0)] * n
        for y in range(n):
            there, back = Fraction(proposal[x][y]), Fraction(proposal[y][x] if corrected else proposal[x][y])
            if y != x and there:
                row[y] = there * min(Fraction(1), w[y] * back / (w[x] * there))
        moved = sum(row, Fraction(0))
        if repeats or not moved:
            row[x] = 1 - moved
        else:
            row = [mass / moved for mass in row]
        rows.append(row)
    return rows


Metropolis = Callable[[Sequence[Fraction | int], Sequence[Sequence[Fraction | int]]], Rows]


def _chains() -> st.SearchStrategy[tuple[tuple[int, ...], tuple[tuple[Fraction, ...], ...]]]:
    """Weights and proposal of two to four states."""

    def of(n: int) -> st.SearchStrategy[tuple[tuple[int, ...], tuple[tuple[Fraction, ...], ...]]]:
        weights = st.lists(st.integers(1, 6), min_size=n, max_size=n).map(tuple)
        row = st.lists(st.integers(0, 4), min_size=n, max_size=n).filter(any)
        rows = st.lists(row.map(lambda r: tuple(Fraction(x, sum(r)) for x in r)), min_size=n, max_size=n).map(tuple)
        return st.tuples(weights, rows)

    return of_each(st.integers(2, 4), of)


@claim(
    given=lambda metropolis, dtype: _chains(),
    reference=metropolis_chain,
    mutants={
        "only accepted states are kept": lambda m: lambda w, q: _metropolis(w, q, repeats=False),
        "the proposal is taken for symmetric": lambda m: lambda w, q: _metropolis(w, q, corrected=False),
        "the ratio is inverted": lambda m: lambda w, q: m([1 / Fraction(x) for x in w], q),
        "the root of the ratio is taken": lambda m: lambda w, q: m([Fraction(x) ** 2 for x in w], q),
    },
)
def a_finite_chain_keeps_its_target(
    metropolis: Metropolis, weights: tuple[int, ...], proposal: tuple[tuple[Fraction, ...], ...]
) -> Iterator[Residual]:
    r"""On finitely many states, accepting so often and repeating otherwise is right.

    On finitely many states, accepting with $\min(1, w_y Q_{yx}/w_x Q_{xy})$ and repeating x otherwise is right.

    $w_x P_{xy} = w_y P_{yx}$ for all x, y, hence $\pi P = \pi$ with $\pi = w/\sum_x w_x$.

    Error bound: 0; rational numbers, every pair of states.
    """
    rows, n, total = metropolis(weights, proposal), len(weights), sum(weights)
    target = {x: Fraction(weights[x], total) for x in range(n)}
    moved = enumeration.kernel_step(target, {x: dict(enumerate(row)) for x, row in enumerate(rows)})
    yield exactly([moved[y] for y in range(n)], [target[y] for y in range(n)], what="the target after a step")
    yield exactly(
        [[weights[x] * rows[x][y] for y in range(n)] for x in range(n)],
        [[weights[y] * rows[y][x] for y in range(n)] for x in range(n)],
        what="moves and reverse moves",
    )


_RATIOS = [0.0, -1.0, 1.0, -1e-3, -800.0, 800.0, math.nan, math.inf, -math.inf, -1e30]


@claim(
    given=lambda f, dtype: st.lists(st.sampled_from(_RATIOS), min_size=1, max_size=4).map(
        lambda r: (torch.tensor(r, dtype=dtype),)
    ),
    reference=metropolis_log_acceptance,
    mutants={
        "Python's min(1, exp(r)) is taken, which is 1 for NaN": lambda f: (
            lambda r: torch.tensor([min(1, x) for x in r.exp().tolist()], dtype=r.dtype).log()
        ),
        "NaN is left as it is": lambda f: lambda r: r.clamp(max=0.0),
        "the sign of the energy's change is wrong": lambda f: lambda r: f(-r),
    },
)
def what_is_not_a_number_is_rejected(accept: Map, log_ratio: Tensor) -> Iterator[Residual]:
    r"""What is not a number is rejected.

    The log-acceptance is $\min(0, r)$, and $-\infty$ where r is NaN.

    Error bound: 0.
    """
    true = [-math.inf if math.isnan(r) else min(r, 0.0) for r in log_ratio.tolist()]
    yield exactly(accept(log_ratio), torch.tensor(true, dtype=log_ratio.dtype).to(log_ratio.device), what="log alpha")
