"""What a function says of an argument that it cannot take: its name, what was expected and what came.

Each function here is handed arguments by their names, `positive(step_size=step_size)`, and raises for the first that is
not what the function's name says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from numbers import Real

import torch
from torch import Tensor


def _came(value: object) -> str:
    return str(getattr(value, "dtype", type(value).__name__))


def _words(kinds: type | tuple[type, ...]) -> str:
    return " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))


def floating(**tensors: Tensor) -> None:
    """Floating tensors, all of one dtype and on one device.

    Raises:
        TypeError: if one is no floating tensor.
        ValueError: if one has another dtype or device than the first.
    """
    first, like = "", None
    for name, t in tensors.items():
        if not isinstance(t, Tensor) or not t.dtype.is_floating_point:
            raise TypeError(f"{name} must be a floating tensor, got {_came(t)}")
        if like is None:
            first, like = name, t
        elif t.dtype != like.dtype or t.device != like.device:
            raise ValueError(f"{name} is {t.dtype} on {t.device}, expected {like.dtype} on {like.device} as {first}")


def finite_floating(**tensors: Tensor) -> None:
    """Floating tensors of finite numbers, all of one dtype and on one device.

    Raises:
        TypeError, ValueError: for any other.
    """
    floating(**tensors)
    for name, t in tensors.items():
        if not bool(t.detach().isfinite().all()):
            raise ValueError(f"{name} must be finite, got {t.detach().flatten()[:8].tolist()}")


def alike(**tensors: Tensor) -> None:
    """Floating tensors of one shape, of one dtype and on one device.

    Raises:
        TypeError, ValueError: for any other.
    """
    floating(**tensors)
    (first, like), *others = tensors.items()
    for name, t in others:
        if t.shape != like.shape:
            raise ValueError(f"{name} has shape {tuple(t.shape)}, expected {tuple(like.shape)} as {first}")


def vectors(**tensors: Tensor) -> None:
    """Floating tensors of shape `(*batch, n)` with n >= 1, all of one dtype and on one device.

    Raises:
        TypeError, ValueError: for any other.
    """
    floating(**tensors)
    for name, t in tensors.items():
        if t.ndim < 1 or t.shape[-1] < 1:
            raise ValueError(f"{name} must have shape (*batch, n) with n >= 1, got {tuple(t.shape)}")


def events(shape: tuple[int, ...], /, **tensors: Tensor) -> None:
    """Floating tensors of shape `(*batch, *shape)`, all of one dtype and on one device.

    Raises:
        TypeError, ValueError: for any other.
    """
    floating(**tensors)
    for name, t in tensors.items():
        if t.shape[max(t.ndim - len(shape), 0) :] != shape:
            raise ValueError(
                f"{name} must have shape ({', '.join(('*batch', *map(str, shape)))}), got {tuple(t.shape)}"
            )


def images(multiple: int = 1, /, **tensors: Tensor) -> None:
    """Floating tensors of shape `(*batch, h, w)`, not empty, h and w multiples of `multiple`.

    Raises:
        TypeError, ValueError: for any other.
    """
    floating(**tensors)
    for name, t in tensors.items():
        if t.ndim < 2 or 0 in t.shape or t.shape[-2] % multiple or t.shape[-1] % multiple:
            rule = f", h and w multiples of {multiple}" if multiple > 1 else ""
            raise ValueError(f"{name} must have shape (*batch, h, w), not empty{rule}, got {tuple(t.shape)}")


def distributions(**tensors: Tensor) -> None:
    """Probabilities `(*batch, n)`, alike, at least 0 and summing to 1 within `4 n eps`.

    Raises:
        TypeError, ValueError: for any other.
    """
    alike(**tensors)
    vectors(**tensors)
    for name, t in tensors.items():
        total = t.detach().sum(-1)
        if not bool((t >= 0).all()):
            raise ValueError(f"{name} must be at least 0, got {float(t.min())}")
        if not bool(((total - 1).abs() <= 4 * t.shape[-1] * torch.finfo(t.dtype).eps).all()):
            raise ValueError(f"{name} must sum to 1, got sums {total.flatten().tolist()[:8]}")


def masks(**tensors: Tensor) -> None:
    """Tensors of dtype `torch.bool`.

    Raises:
        TypeError: for anything else.
    """
    for name, t in tensors.items():
        if not isinstance(t, Tensor) or t.dtype != torch.bool:
            raise TypeError(f"{name} must be a tensor of dtype torch.bool, got {_came(t)}")


def dtypes(**values: torch.dtype) -> None:
    """`torch.float32` or `torch.float64`.

    Raises:
        TypeError: for anything else.
    """
    for name, value in values.items():
        if value not in (torch.float32, torch.float64):
            raise TypeError(f"{name} must be torch.float32 or torch.float64, got {value!r}")


def devices(**values: torch.device | str) -> None:
    """Devices, or their names.

    Raises:
        TypeError, ValueError: for anything else.
    """
    instances((torch.device, str), **values)
    for name, value in values.items():
        try:
            torch.device(value)
        except RuntimeError as error:
            raise ValueError(f"{name} must name a device of torch, got {value!r}") from error


def numbers(**values: float | Fraction) -> None:
    """Real numbers, infinities among them.

    Raises:
        TypeError: if one is no number.
        ValueError: if one is NaN.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name} must be a number, got {value!r}")
        if value != value:
            raise ValueError(f"{name} must be a number, got nan")


def finite(**values: float | Fraction) -> None:
    """Finite real numbers.

    Raises:
        TypeError, ValueError: for anything else.
    """
    numbers(**values)
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, got {value}")


def positive(**values: float | Fraction) -> None:
    """Positive finite numbers.

    Raises:
        TypeError, ValueError: for anything else.
    """
    finite(**values)
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")


def between(low: float, high: float, /, **values: float | Fraction) -> None:
    """Numbers strictly between two.

    Raises:
        TypeError, ValueError: for anything else.
    """
    numbers(**values)
    for name, value in values.items():
        if not low < value < high:
            raise ValueError(f"{name} must lie strictly between {low} and {high}, got {value}")


def fractions(low: float = -math.inf, high: float = math.inf, /, **values: Fraction) -> None:
    """Exact rational numbers, strictly between two.

    Raises:
        TypeError, ValueError: for anything else.
    """
    for name, value in values.items():
        if not isinstance(value, Fraction):
            raise TypeError(f"{name} must be a Fraction, got {value!r}; a float is not the number that it prints as")
    between(low, high, **values)


def integers(**values: int) -> None:
    """Integers; True and False are none.

    Raises:
        TypeError: for anything else.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an integer, got {value!r}")


def at_least(least: int, /, **values: int) -> None:
    """Integers from `least` on.

    Raises:
        TypeError, ValueError: for anything else.
    """
    integers(**values)
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


def scalars(**values: object) -> None:
    """Numbers of any arithmetic: floats, fractions, balls, dual numbers, symbols.

    Raises:
        TypeError: for anything else.
    """
    for name, value in values.items():
        if not hasattr(value, "__sub__"):
            raise TypeError(f"{name} must be a number, got {type(value).__name__}")


def sequences(kinds: type | tuple[type, ...], /, **values: Sequence[object]) -> None:
    """Sequences, but no strings, of items of some classes; True and False are no integers.

    Raises:
        TypeError: for anything else.
    """
    for name, value in values.items():
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise TypeError(f"{name} must be a sequence of {_words(kinds)}, got {type(value).__name__}")
        for item in value:
            if not isinstance(item, kinds) or (isinstance(item, bool) and kinds is not bool):
                raise TypeError(f"{name} must be a sequence of {_words(kinds)}, got {item!r} among its items")


def rows(**values: Sequence[object]) -> None:
    """Sequences of at least one number, of any arithmetic; see `scalars`.

    Raises:
        TypeError, ValueError: for anything else.
    """
    for name, value in values.items():
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise TypeError(f"{name} must be a sequence of numbers, got {type(value).__name__}")
        if not value:
            raise ValueError(f"{name} must hold at least one number, got none")
        scalars(**{f"{name}[{i}]": item for i, item in enumerate(value)})


def same_length(**values: Sequence[object]) -> None:
    """Sequences of the length of the first.

    Raises:
        ValueError: for any other.
    """
    (first, like), *others = values.items()
    for name, value in others:
        if len(value) != len(like):
            raise ValueError(f"{name} must hold {len(like)} items as {first}, got {len(value)}")


def functions(**values: Callable[..., object]) -> None:
    """Functions, or whatever can be called.

    Raises:
        TypeError: for anything else.
    """
    for name, value in values.items():
        if not callable(value):
            raise TypeError(f"{name} must be a function, got {type(value).__name__}")


def instances(kinds: type | tuple[type, ...], /, **values: object) -> None:
    """Values of one of some classes.

    Raises:
        TypeError: for anything else.
    """
    for name, value in values.items():
        if not isinstance(value, kinds):
            raise TypeError(f"{name} must be an instance of {_words(kinds)}, got {type(value).__name__}")
