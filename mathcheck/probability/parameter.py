"""What a distribution depends on besides its point: parameters, conditions, contexts, and how they are drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import strategies
from mathcheck.engine.strategies import Interval

# How close to an end of its domain a parameter is drawn, relative to the domain's width: at the ends families degenerate.
_EDGE = 1e-3


@dataclass(frozen=True)
class Parameter:
    """A parameter or a condition that is a vector, or an array.

    Args:
        shape: of one value, `()` for a number.
        domain: where each entry lives; its `reach` bounds how far it is drawn.
    """

    shape: tuple[int, ...] = ()
    domain: Interval = Interval(reach=10.0)

    def values(self, batch: tuple[int, ...], dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
        """Values `(*batch, *shape)`.

        Numbers on a half-line are drawn from 1/reach to reach away from its end, those of a finite interval from all of it
        but a thousandth at either end: what happens in the limit is another question.
        """
        return strategies.tensors((*batch, *self.shape), dtype, _elements(self.domain, dtype))


def with_shapes(parameters: Mapping[str, Interval | Parameter]) -> dict[str, Parameter]:
    """The parameters, an interval being that of a number.

    Raises:
        TypeError: if `parameters` is no mapping of names to an `Interval` or a `Parameter`.
    """
    if not isinstance(parameters, Mapping):
        raise TypeError(f"parameters must be a mapping of names to domains, got {type(parameters).__name__}")
    for name, where in parameters.items():
        if not isinstance(name, str) or not isinstance(where, (Interval, Parameter)):
            raise TypeError(f"parameters[{name!r}] must be an Interval or a Parameter, got {type(where).__name__}")
    return {name: where if isinstance(where, Parameter) else Parameter((), where) for name, where in parameters.items()}


def _elements(where: Interval, dtype: torch.dtype) -> st.SearchStrategy[float]:
    low, high = where.lower, where.upper
    if math.isinf(low) and math.isinf(high):
        return where.elements(dtype)
    if math.isfinite(low) and math.isfinite(high):
        edge = _EDGE * (high - low)
        numbers = st.one_of(st.just((low + high) / 2), st.floats(low + edge, high - edge))
    else:
        far = max(where.reach, 2.0)
        sign, end = (1.0, low) if math.isfinite(low) else (-1.0, high)
        numbers = strategies.log_uniform(1 / far, far).map(lambda distance: end + sign * distance)
    return numbers.map(lambda value: float(torch.tensor(value, dtype=dtype)))
