r"""Floats as consecutive integers, so that a search between two of them ends, and ends at neighbours.

Halving a bracket of real numbers takes as many steps as the answer is small; halving the number of floats in it takes at
most 64 in double and 32 in single precision, whatever the answer.
"""

from __future__ import annotations

import torch
from torch import Tensor

_KINDS = {torch.float64: torch.int64, torch.float32: torch.int32}
DTYPES = tuple(_KINDS)


def key(x: Tensor) -> Tensor:
    """The place of a float among all floats in increasing order, an int64; 0 and -0 share the place 0.

    Args:
        x: float32 or float64, any shape, without NaN.

    Returns:
        Like x.

    Raises:
        TypeError: for any other dtype.
    """
    if x.dtype not in _KINDS:
        raise TypeError(f"x must be a float32 or float64 tensor, got {x.dtype}")
    bits = x.contiguous().view(_KINDS[x.dtype]).long()
    return torch.where(bits >= 0, bits, -(bits & torch.iinfo(_KINDS[x.dtype]).max))


def from_key(place: Tensor, dtype: torch.dtype) -> Tensor:
    """The float at a place; the inverse of `key`.

    Args:
        place: int64, any shape.
        dtype: float32 or float64.

    Returns:
        Like `place`.

    Raises:
        TypeError: for any other dtype.
    """
    if dtype not in _KINDS:
        raise TypeError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
    size = place.abs().to(_KINDS[dtype]).view(dtype)
    return torch.where(place >= 0, size, -size)


def middle(low: Tensor, high: Tensor) -> Tensor:
    """The place halfway between two, rounded down, without the overflow of their sum."""
    return (low & high) + ((low ^ high) >> 1)
