r"""Modules whose `forward` and `inverse` return a pair, the value and the log-determinant: how most flows are written."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mathcheck.engine.strategies import Interval
from mathcheck.flows.bijection import Bijection, Map

Shape = tuple[int, ...]
_SIZES = (3, 2, 4, 1, 5, 6, 7, 8, 9, 10)


def bijection_of_pairs(
    module: Any,
    *,
    event_shape: Shape | None = None,
    domain: Interval | None = None,
    codomain: Interval | None = None,
    reach: float = 10.0,
    volume_preserving: bool = False,
    missing: tuple[type[Exception], ...] = (),
) -> Bijection:
    r"""A module with $x \mapsto (f(x), \log\lvert\det J_f(x)\rvert)$ and, maybe, an `inverse` of the same form.

    A copy of it is judged, in evaluation mode. One number as the log-determinant counts for every row. What it takes is
    found out by calling it: the domain is the widest of $\mathbb R$, $(-1, 1)$ and $(0, 1)$ where it does not raise.

    Args:
        module: the flow.
        event_shape: of x; default the first that it takes, sizes of 3 before others, images last.
        domain: default the one that `forward` takes.
        codomain: default the one that `inverse` takes.
        reach: bounds the magnitude of the points and targets drawn.
        volume_preserving: as in `Bijection`.
        missing: the exceptions by which it says that it has no inverse, besides `NotImplementedError`.

    Raises:
        TypeError: if it is no module, or takes no small event.
    """
    if not isinstance(module, nn.Module):
        what = module.__qualname__ if isinstance(module, type) else f"an object of type {type(module).__name__}"
        raise TypeError(f"flow must be a torch.nn.Module whose forward and inverse return pairs, got {what}")
    flow: Any = copy.deepcopy(module).eval()
    shapes = _shapes() if event_shape is None else [tuple(event_shape)]
    why: list[str] = []
    tried = (
        (shape, box) for shape in shapes for box in _boxes(domain, reach) if _takes(flow, "forward", box, shape, why)
    )
    shape, box = next(tried, (None, None))
    if shape is None or box is None:
        raise TypeError(
            f"event_shape must be given: {type(module).__name__} returns no pair for a small event "
            f"({why[0] if why else 'nothing was tried'}); mathcheck.adapters.torch.bijection(module, event_shape=...) takes one"
        )

    def of(direction: str, part: int) -> Map:
        def function(x: Tensor) -> Tensor:
            try:
                pair = getattr(flow, direction)(x)
            except missing as why:
                raise NotImplementedError(f"{type(module).__name__} has no {direction}") from why
            return pair[0] if part == 0 else _for_each_row(pair[1], x)

        return function

    image = next((b for b in _boxes(codomain, reach) if _takes(flow, "inverse", b, shape, [])), None)
    inverse = (of("inverse", 0), of("inverse", 1)) if hasattr(flow, "inverse") else (None, None)
    return Bijection(
        of("forward", 0),
        inverse[0],
        of("forward", 1),
        shape,
        inverse[1],
        domain=box,
        codomain=image,
        volume_preserving=volume_preserving,
        dtype=dtype_of(flow),
    )


def dtype_of(module: nn.Module) -> torch.dtype | None:
    """The floating dtype of a module's parameters and buffers, if they have one."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    found = {t.dtype for t in tensors if t.dtype.is_floating_point and t.ndim}
    return found.pop() if len(found) == 1 else None


def _for_each_row(value: Any, x: Tensor) -> Tensor:
    rows = torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else x.dtype)
    return rows.expand(len(x)) if rows.ndim == 0 else rows


def _boxes(domain: Interval | None, reach: float) -> list[Interval]:
    return [domain] if domain else [Interval(reach=reach), Interval(-1.0, 1.0), Interval(0.0, 1.0)]


def _shapes() -> Iterator[Shape]:
    for rank in (1, 2):
        yield from itertools.product(_SIZES, repeat=rank)
    yield from ((channels, side, side) for side in (2, 4, 1, 8) for channels in _SIZES)


def _takes(flow: Any, direction: str, box: Interval, shape: Shape, why: list[str]) -> bool:
    """Whether it maps points near both ends of a box to a value of as many coordinates; else `why` not, at the end of it."""
    low = max(box.lower, -4.0)
    high = max(min(box.upper, 4.0), low + 1.0 if math.isinf(box.upper) else box.upper)
    try:
        for end in (low + (high - low) / 4, high - (high - low) / 4):
            x = torch.full((2, *shape), end, dtype=dtype_of(flow))
            y, _ = getattr(flow, direction)(x)
            if y.numel() != x.numel() or len(y) != 2:
                why.append(f"of an event of shape {shape} it makes one of shape {tuple(y.shape[1:])}")
                return False
    except Exception as error:
        why.append(f"for an event of shape {shape} {type(error).__name__}: {error}")
        return False
    return True
