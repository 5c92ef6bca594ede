"""A convex function with its conjugate, as somebody computes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Conjugate:
    r"""A convex function f on $[0, \infty)$ and its conjugate, as somebody computes them; all functions act elementwise.

    Args:
        f: $f(u)$ for u >= 0.
        conjugate: $f^*(t)$ for t in its domain.
        subgradient: some $s \in \partial f(u)$ for u > 0.
        activation: $g_f(v)$ for any real v, increasing, into the domain of the conjugate and onto its interior up to
            values of the conjugate that do not matter.
        upper: the end of the domain of $f^*$, $\sup\{t : f^*(t) < \infty\}$; infinite where f grows faster than u.
        closed: whether `upper` itself belongs to the domain.
        reach: u is drawn from [1/reach, reach].
        dtype: that it takes, if only one.
    """

    f: Map
    conjugate: Map
    subgradient: Map
    activation: Map
    upper: float = math.inf
    closed: bool = False
    reach: float = 1e3
    dtype: torch.dtype | None = None
