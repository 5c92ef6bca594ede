"""Functions of NumPy or JAX arrays as functions of tensors, so that the same laws judge them: by values and differences."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

LIBRARIES = ("numpy", "jax")


class _WithoutGradient(torch.autograd.Function):
    """A value that depends on its arguments in a way that autograd cannot see, and says so when it is asked."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *arguments: Tensor) -> Tensor:
        """The value."""
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Refuses."""
        raise NotImplementedError("a function of arrays has no gradient by autograd")


def from_arrays(subject: Any, library: str = "numpy") -> Any:
    """A function of arrays as a function of tensors; of a record, every function in it.

    Tensors become arrays on the way in, also inside tuples, lists and mappings, and arrays become tensors on the way
    out; a `torch.Generator` becomes `numpy.random.Generator`, or a key of JAX, seeded from it. Laws that need a gradient
    by autograd are skipped; those that need a Jacobian take differences.

    Args:
        subject: a function, or a record such as `Bijection` made of such functions.
        library: "numpy" or "jax". JAX computes in single precision unless `jax_enable_x64` is set: then only
            `dtype=torch.float32` can be judged, and anything else is skipped.

    Returns:
        The function, or the record.

    Raises:
        ValueError: if `library` is neither.
        TypeError: if `subject` is no function and no record.
        ModuleNotFoundError: if JAX is asked for and not installed.
    """
    if library not in LIBRARIES:
        raise ValueError(f'library must be "numpy" or "jax", got {library!r}')
    make = _jax() if library == "jax" else _numpy
    if dataclasses.is_dataclass(subject) and not isinstance(subject, type):
        functions = {
            field.name: _of_tensors(value, make)
            for field in dataclasses.fields(subject)
            if field.init and callable(value := getattr(subject, field.name)) and not dataclasses.is_dataclass(value)
        }
        return dataclasses.replace(subject, **functions)
    if not callable(subject) or isinstance(subject, type):
        raise TypeError(f"subject must be a function or a record of functions, got {type(subject).__name__}")
    return _of_tensors(subject, make)


def _numpy(value: Tensor | Generator) -> Any:
    if isinstance(value, Generator):
        return np.random.default_rng(_seed(value))
    return value.detach().cpu().numpy().copy()


def _jax() -> Callable[[Tensor | Generator], Any]:
    jax: Any = importlib.import_module("jax")

    def make(value: Tensor | Generator) -> Any:
        if isinstance(value, Generator):
            return jax.random.key(_seed(value) % 2**31)
        if value.dtype == torch.float64 and not jax.config.jax_enable_x64:
            raise NotImplementedError("JAX computes in single precision: set jax_enable_x64, or judge in float32")
        return jax.numpy.asarray(value.detach().cpu().numpy())

    return make


def _seed(generator: Generator) -> int:
    return int(torch.randint(2**62, (), generator=generator))


def _of_tensors(function: Callable[..., Any], make: Callable[[Tensor | Generator], Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        result = function(*_mapped(args, make), **_mapped(kwargs, make))
        leaves = [t for t in tensors if t.requires_grad] if torch.is_grad_enabled() else []
        device = tensors[0].device if tensors else torch.device("cpu")
        return _returned(result, device, leaves)

    return call


def _mapped(value: Any, make: Callable[[Tensor | Generator], Any]) -> Any:
    if isinstance(value, (Tensor, Generator)):
        return make(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_mapped(v, make) for v in value))
    if isinstance(value, (tuple, list)):
        return type(value)(_mapped(v, make) for v in value)
    if isinstance(value, Mapping):
        return {key: _mapped(v, make) for key, v in value.items()}
    return value


def _returned(value: Any, device: torch.device, leaves: list[Tensor]) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)(_returned(v, device, leaves) for v in value)
    if isinstance(value, Tensor) or not hasattr(value, "__array__"):
        return value
    found = torch.from_numpy(np.array(value)).to(device)
    opaque: Any = _WithoutGradient.apply
    return opaque(found, *leaves) if leaves and found.dtype.is_floating_point else found
