"""An invertible map with the log-determinant of its Jacobian, as somebody computes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine.strategies import Interval

Map = Callable[[Tensor], Tensor]
Pair = Callable[[Tensor], tuple[Tensor, Tensor]]
Points = Callable[[tuple[int, ...], torch.dtype], st.SearchStrategy[Tensor]]


@dataclass(frozen=True)
class Bijection:
    r"""An invertible map $f$ with the log-determinant of its Jacobian, as somebody computes them.

    A function that is missing is `None`, or raises `NotImplementedError`: the laws that need it are skipped.

    Args:
        forward: `(*batch, *event_shape)` -> `(*batch, *event)`.
        inverse: of `forward`.
        log_abs_det_jacobian: $\log\lvert\det J_f(x)\rvert$ at x, `(*batch, *event_shape)` -> `(*batch,)`.
        event_shape: of one point x; `()` for a map of single numbers.
        inverse_log_abs_det_jacobian: $\log\lvert\det J_{f^{-1}}(y)\rvert$ at y.
        domain: where each coordinate of x lives; its `reach` bounds how far the search goes.
        codomain: where each coordinate of f(x) lives, all of which must be reached; `None` where the image is no box.
        batch_shapes: leading shapes that the functions take.
        coordinates: maps f(x) to as many free coordinates as x has, where the image is a surface, e.g. a simplex
            without its last entry.
        points: `(batch_shape, dtype)` -> Hypothesis strategy of x, where the domain is no box.
        volume_preserving: states that every log-determinant is zero by design.
        inverse_error: promised $\lvert x - f^{-1}(f(x))\rvert$, added to the rounding bound; for iterative inverses.
        dtype: that the functions take, if only one.
        forward_and_log_det: what `forward` and `log_abs_det_jacobian` return, where both cost little more than one.
        inverse_and_log_det: what `inverse` and `inverse_log_abs_det_jacobian` return, likewise.
    """

    forward: Map
    inverse: Map | None = None
    log_abs_det_jacobian: Map | None = None
    event_shape: tuple[int, ...] = ()
    inverse_log_abs_det_jacobian: Map | None = None
    domain: Interval = Interval(reach=10.0)
    codomain: Interval | None = Interval(reach=10.0)
    batch_shapes: tuple[tuple[int, ...], ...] = ((1,), (3,))
    coordinates: Map | None = None
    points: Points | None = None
    volume_preserving: bool = False
    inverse_error: float = 0.0
    dtype: torch.dtype | None = None
    forward_and_log_det: Pair | None = None
    inverse_and_log_det: Pair | None = None
