"""A conditional bijection as a bijection: of pairs of a point and its context, which stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mathcheck.flows.bijection.record import Bijection

Conditional = Callable[[Tensor, Tensor], Tensor]


def conditional_bijection(
    forward: Conditional,
    inverse: Conditional | None = None,
    log_abs_det_jacobian: Conditional | None = None,
    *,
    event_size: int,
    context_size: int,
    **fields: Any,
) -> Bijection:
    r"""The map $(x, c) \mapsto (f(x; c), c)$, of which every law of a bijection says what it says of $f(\cdot\,; c)$ for all c.

    Its Jacobian is block triangular, $\begin{pmatrix} \partial_x f & \partial_c f \\ 0 & I \end{pmatrix}$, so that its
    log-determinant is $\log\lvert\det\partial_x f(x; c)\rvert$; it is inverted by $(y, c) \mapsto (f^{-1}(y; c), c)$.

    Args:
        forward: f, x `(*batch, event_size)` and c `(*batch, context_size)` -> `(*batch, event_size)`.
        inverse: $f^{-1}(y; c)$, likewise.
        log_abs_det_jacobian: $\log\lvert\det\partial_x f(x; c)\rvert$, likewise -> `(*batch,)`.
        event_size: coordinates of x.
        context_size: coordinates of c.
        fields: others of `Bijection`; its `domain` and `codomain` are those of x, f(x) and c alike.

    Raises:
        ValueError: if a size is below 1.
        TypeError: if `forward` is no function, or a size no integer.
    """
    if not callable(forward):
        raise TypeError(f"forward must be a function of x and c, got {type(forward).__name__}")
    for name, size in (("event_size", event_size), ("context_size", context_size)):
        if not isinstance(size, int):
            raise TypeError(f"{name} must be an integer, got {type(size).__name__}")
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")

    def kept(function: Conditional) -> Callable[[Tensor], Tensor]:
        def joint(pair: Tensor) -> Tensor:
            context = pair[..., event_size:]
            return torch.cat([function(pair[..., :event_size], context), context], -1)

        return joint

    log_det = log_abs_det_jacobian
    return Bijection(
        kept(forward),
        None if inverse is None else kept(inverse),
        None if log_det is None else (lambda pair: log_det(pair[..., :event_size], pair[..., event_size:])),
        (event_size + context_size,),
        **fields,
    )
