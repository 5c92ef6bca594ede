"""An f-divergence of distributions on finitely many outcomes, as somebody computes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flint
from torch import Tensor

Inf = flint.arb("inf")


@dataclass(frozen=True)
class FDivergence:
    r"""A divergence of distributions on finitely many outcomes, as somebody computes it, and the function f behind it.

    Args:
        divergence: called as `divergence(p, q)` with distributions of shape `(*batch, n)`; returns `(*batch,)`.
        generator: f, for positive balls; written with the functions of `mathcheck.oracles.arb`.
        limits: $f(0)$ and $f'(\infty)$, as balls at the precision of the moment.
        strict: whether f is strictly convex at 1, so that $D_f(P, Q) = 0$ only if $P = Q$.
        near_equal: whether nearly equal distributions are to be told apart to full relative accuracy.
        ulps: roundings promised, relative to the value.
        batched: whether it takes leading shapes.
    """

    divergence: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Any], Any]
    limits: Callable[[], tuple[Any, Any]]
    strict: bool = True
    near_equal: bool = True
    ulps: float = 16.0
    batched: bool = True
