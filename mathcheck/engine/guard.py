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


# How many times longer a call may take by the clock than of the processor: other work may keep it waiting.
_PATIENCE = 10


@contextmanager
def _time_limit(seconds: float, name: str) -> Iterator[None]:
    """Interrupts a Python-level hang after `seconds` of a processor's time, or after ten times as long by the clock.

    Only in the main thread, since signals arrive nowhere else. A timer that is running already, such as that of
    pytest-timeout, belongs to somebody else and is left alone.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(signum: int, frame: FrameType | None) -> None:
        how = "of the processor's time" if signum == signal.SIGPROF else "by the clock"
        raise SubjectHangs(f"{name} did not return within {limits[signal.Signals(signum)]:g} s {how}")

    # All threads of a call spend the processor's time.
    limits = {signal.SIGPROF: seconds * torch.get_num_threads(), signal.SIGALRM: seconds * _PATIENCE}
    timers = {signal.SIGPROF: signal.ITIMER_PROF, signal.SIGALRM: signal.ITIMER_REAL}
    free = {number: timer for number, timer in timers.items() if signal.getitimer(timer) == (0.0, 0.0)}
    before = {number: signal.signal(number, expire) for number in free}
    try:
        for number, timer in free.items():
            # Again and again, for code that catches what it should not.
            signal.setitimer(timer, limits[number], 1.0)
        yield
    finally:
        for timer in free.values():
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


# Fields of records whose functions return one tensor.
_ONE_TENSOR = ("forward", "inverse", "log_abs_det_jacobian", "inverse_log_abs_det_jacobian", "adjoint", "log_prob")

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


def _hint(function: Callable[..., Any], error: BaseException) -> str:
    """What an exception usually comes from, where it is one that comes up every day."""
    text = str(error)
    if "same dtype" in text or "expected scalar type" in text or "must have the same dtype" in text:
        return "; are the parameters in another precision? Then give dtype=torch.float32"
    if "shape" in text or "size" in text or "dimension" in text or "unpack" in text:
        return "; does it take a batch? Say which leading shapes with batch_shapes, and event_shape for one event"
    return ""


def in_training(function: object) -> str | None:
    """The class of a layer behind a function that behaves otherwise in training, if it is in training mode."""
    owner = getattr(function, "__self__", function)
    if isinstance(owner, torch.nn.Module) and owner.training:
        kinds = (torch.nn.modules.batchnorm._BatchNorm, torch.nn.modules.dropout._DropoutNd)
        return next((type(m).__name__ for m in owner.modules() if isinstance(m, kinds)), None)
    return None


def _complaint(result: object, argument: Tensor | None, one: bool) -> str | None:
    """Why a result cannot be compared with anything; shapes and values are what the laws are for."""
    if result is None:
        return "None, expected a tensor"
    if isinstance(result, tuple) and result and all(isinstance(part, Tensor) for part in result) and one:
        return (
            f"a tuple of {len(result)} tensors, expected one tensor; where a function returns the value and the "
            "log-determinant together, give it as `forward_and_log_det`, and its parts as `forward` and "
            "`log_abs_det_jacobian`"
        )
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
            raise SubjectFault(f"{name} raised {type(error).__name__}: {error}{_hint(function, error)}") from error
        finally:
            changed = [key for key, (read, _) in _GLOBALS.items() if read() != state[key]]
            for key in changed:
                _GLOBALS[key][1](state[key])
        if changed:
            raise SubjectFault(f"{name} changed {' and '.join(changed)}")
        if not all(_same(tensor.detach(), before) for tensor, before in given):
            raise SubjectFault(f"{name} changed its input")
        if complaint := _complaint(result, given[0][0] if given else None, name in _ONE_TENSOR):
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
