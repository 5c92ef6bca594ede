r"""Bijections one after another: $f = f_K\circ\dots\circ f_1$, whose log-determinants add up along the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.engine.strategies import BATCH_SHAPES
from mathcheck.flows.bijection import Bijection, Map


def _function(function: Map | None, name: str) -> Map:
    if function is None:
        raise NotImplementedError(f"a bijection has no {name}")
    return function


def push_forward(parts: Iterable[Bijection], x: Tensor) -> tuple[Tensor, Tensor]:
    r"""$f(x)$ and $\log\lvert\det J_f(x)\rvert = \sum_k\log\lvert\det J_{f_k}(x_{k-1})\rvert$ in one pass.

    Args:
        parts: $f_1, \dots, f_K$, applied in this order.
        x: `(*batch, n)`.

    Returns:
        `(*batch, n)` and `(*batch,)`.

    Raises:
        NotImplementedError: if a part has no log-determinant.
    """
    total = torch.zeros_like(x[..., 0])
    for part in parts:
        if part.forward_and_log_det is not None:
            x, log_det = part.forward_and_log_det(x)
        else:
            log_det = _function(part.log_abs_det_jacobian, "log_abs_det_jacobian")(x)
            x = part.forward(x)
        total = total + log_det
    return x, total


def pull_back(parts: Sequence[Bijection], y: Tensor) -> tuple[Tensor, Tensor]:
    r"""$x = f^{-1}(y)$ and $\log\lvert\det J_{f^{-1}}(y)\rvert = -\log\lvert\det J_f(x)\rvert$ in one pass.

    Args:
        parts: $f_1, \dots, f_K$; their inverses are applied from the last to the first.
        y: `(*batch, n)`.

    Returns:
        `(*batch, n)` and `(*batch,)`.

    Raises:
        NotImplementedError: if a part has no inverse or no log-determinant.
    """
    total = torch.zeros_like(y[..., 0])
    for part in reversed(parts):
        if part.inverse_and_log_det is not None:
            y, log_det = part.inverse_and_log_det(y)
        else:
            y = _function(part.inverse, "inverse")(y)
            log_det = -_function(part.log_abs_det_jacobian, "log_abs_det_jacobian")(y)
        total = total + log_det
    return y, total


def compose(parts: Sequence[Bijection]) -> Bijection:
    r"""$f_K\circ\dots\circ f_1$ as one bijection of `(*batch, n)`.

    Args:
        parts: $f_1, \dots, f_K$, at least one, all of one event shape `(n,)`.

    Raises:
        TypeError: if one is no bijection.
        ValueError: if there is none, or the event shapes differ.
    """
    for k, part in enumerate(parts):
        arguments.instances(Bijection, **{f"parts[{k}]": part})
    shapes = {part.event_shape for part in parts}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise ValueError(f"parts must be bijections of one event shape (n,), got {sorted(shapes)}")
    return Bijection(
        lambda x: push_forward(parts, x)[0],
        lambda y: pull_back(parts, y)[0],
        lambda x: push_forward(parts, x)[1],
        next(iter(shapes)),
        lambda y: pull_back(parts, y)[1],
        batch_shapes=BATCH_SHAPES,
        volume_preserving=all(part.volume_preserving for part in parts),
        forward_and_log_det=lambda x: push_forward(parts, x),
        inverse_and_log_det=lambda y: pull_back(parts, y),
    )
