"""Subjects in bfloat16: judged like those in single precision, with the rounding to 8 bits as a rounding of their own.

Bounds of bfloat16 itself would say nothing: sixteen of its roundings are an eighth of the value, and wrong versions fit in.
So arguments that bfloat16 holds exactly are handed over in single precision, rounded inside, and results come back in single
precision. What the subject then loses shows as its own rounding, and is measured like any other.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

HALF = (torch.bfloat16, torch.float16)


def refusal(dtype: torch.dtype, law_takes_it: bool) -> str | None:
    """Why a law cannot be judged in a dtype, of those half as wide as float32; `None` if it can."""
    if dtype == torch.float16:
        return "float16 ends at 65504, within the range that is searched: judge it in float32, or in bfloat16"
    if dtype == torch.bfloat16 and not law_takes_it:
        return "in bfloat16 only values are judged that an oracle knows: judge it in float32 for the rest"
    return None


def drawn(given: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """A quantifier whose inputs, of single precision, are numbers that bfloat16 holds."""
    return None if given is None else lambda subject, dtype: given(subject, dtype).map(in_bfloat16)


def in_bfloat16(value: Any) -> Any:
    """Numbers of single precision, each made one that bfloat16 holds by dropping bits, so that none grows; also inside tuples."""

    def cut(leaf: Any) -> Any:
        single = isinstance(leaf, Tensor) and leaf.dtype == torch.float32
        return (leaf.view(torch.int32) & -65536).view(torch.float32) if single else leaf

    return tree_map(cut, value)


def widened(subject: Any) -> Any:
    """A subject in bfloat16 as one that takes and returns single precision; of a record, every function in it."""
    if dataclasses.is_dataclass(subject) and not isinstance(subject, type):
        functions = {
            field.name: _through(value)
            for field in dataclasses.fields(subject)
            if field.init and callable(value := getattr(subject, field.name)) and not dataclasses.is_dataclass(value)
        }
        return dataclasses.replace(subject, **functions)
    return _through(subject) if callable(subject) else subject


def _cast(value: Any, dtype: torch.dtype, to: torch.dtype) -> Any:
    return tree_map(lambda leaf: leaf.to(to) if isinstance(leaf, Tensor) and leaf.dtype == dtype else leaf, value)


def _through(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function, assigned=("__doc__", "__name__", "__qualname__"), updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        args = tuple(_cast(value, torch.float32, torch.bfloat16) for value in args)
        return _cast(function(*args, **kwargs), torch.bfloat16, torch.float32)

    return call
