"""A subject is somebody else's code: its functions are called so that whatever they do is reported, and undone."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor


class SubjectFault(Exception):
    """The subject misbehaved: it raised, hung, changed its input or global state, or returned what cannot be compared."""


class SubjectHangs(SubjectFault):
    """The subject did not return in time: there is no point in asking it again."""


@contextmanager
def _time_limit(seconds: float, name: str) -> Iterator[None]:
    """Interrupts a Python-level hang after `seconds`; only in the main thread, since signals arrive nowhere else."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(signum: int, frame: FrameType | None) -> None:
        raise SubjectHangs(f"{name} did not return within {seconds:g} s")

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


_GLOBALS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "torch's random seed": (torch.initial_seed, lambda seed: None),
}


def _tensors(values: object) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from _tensors(value)


def _same(left: Tensor, right: Tensor) -> bool:
    return left.shape == right.shape and bool(((left == right) | ((left != left) & (right != right))).all())


def _complaint(result: object, argument: Tensor | None) -> str | None:
    """Why a result cannot be compared with anything; shapes and values are what the laws are for."""
    if result is None:
        return "None, expected a tensor"
    if not isinstance(result, Tensor) and hasattr(result, "__array__"):
        return f"a {type(result).__name__}, expected a tensor; `from_arrays` takes functions of arrays"
    for tensor in _tensors(result):
        if tensor.dtype.is_complex:
            return f"a tensor of {tensor.dtype}, expected real numbers"
        if tensor.layout is not torch.strided:
            return f"a tensor of layout {tensor.layout}, expected a dense one"
        if argument is not None and tensor.device != argument.device:
            return f"a tensor on {tensor.device}, expected {argument.device} as its argument"
    return None


def _guarded(function: Callable[..., Any], name: str, timeout: float) -> Callable[..., Any]:
    @functools.wraps(function, assigned=("__doc__",), updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        given = [(tensor, tensor.detach().clone()) for tensor in _tensors(args)]
        state = {key: read() for key, (read, _) in _GLOBALS.items()}
        try:
            with _time_limit(timeout, name), contextlib.redirect_stdout(io.StringIO()):
                result = function(*args, **kwargs)
        except (NotImplementedError, SubjectFault):
            raise
        except (Exception, SystemExit) as error:
            raise SubjectFault(f"{name} raised {type(error).__name__}: {error}") from error
        finally:
            changed = [key for key, (read, _) in _GLOBALS.items() if read() != state[key]]
            for key in changed:
                _GLOBALS[key][1](state[key])
        if changed:
            raise SubjectFault(f"{name} changed {' and '.join(changed)}")
        if not all(_same(tensor.detach(), before) for tensor, before in given):
            raise SubjectFault(f"{name} changed its input")
        if complaint := _complaint(result, given[0][0] if given else None):
            raise SubjectFault(f"{name} returned {complaint}")
        return result

    return call


def guarded(subject: Any, timeout: float = 10.0) -> Any:
    """`subject` with every function in it guarded; anything that is not a dataclass is returned as it is.

    Args:
        subject: a record of functions.
        timeout: seconds that one call may take.

    Returns:
        A record of the same class whose functions raise `SubjectFault` where the original raises (other than
        `NotImplementedError`, which means "I lack this function"), hangs, changes its input, torch's default dtype,
        grad mode, thread count or seed. What was changed is put back; what it prints is not shown.
    """
    if not dataclasses.is_dataclass(subject) or isinstance(subject, type):
        return subject
    functions = {
        field.name: _guarded(value, field.name, timeout)
        for field in dataclasses.fields(subject)
        if field.init and callable(value := getattr(subject, field.name)) and not dataclasses.is_dataclass(value)
    }
    return dataclasses.replace(subject, **functions)
