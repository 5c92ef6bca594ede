"""The activation and the penalty of a variational bound on an f-divergence, as somebody computes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mathcheck.divergence.f_divergence import FDivergence

Elementwise = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class VariationalForm:
    r"""How a critic's output V becomes a lower bound of an f-divergence.

    Args:
        activation: $g_f$, elementwise on real V.
        penalty: $V \mapsto f^*(g_f(V))$ in one function, which is safe where $f^*$ after $g_f$ is not.
        optimal: $(p, q) \mapsto V$ with which the bound is attained, for positive p and q; entries may be infinite.
        divergence: the divergence bounded, with its f.
        conjugate: $f^*$ inside its domain, for balls.
        exact_activation: $g_f$ for balls.
    """

    activation: Elementwise
    penalty: Elementwise
    optimal: Callable[[Tensor, Tensor], Tensor]
    divergence: FDivergence
    conjugate: Callable[[Any], Any]
    exact_activation: Callable[[Any], Any]
