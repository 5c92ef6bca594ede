"""How far a subject's own rounding reaches, measured: Monte Carlo arithmetic of whatever it computes with torch.

Every floating result is multiplied by 1 + eps u with u drawn from {-4, ..., 4} without 0, as if it had been rounded another
way. What the answers differ by is what rounding can do to them, however the subject computes: an error of that size says
nothing about the maths. Several sizes and no 0, so that a few runs suffice: a sum of two moved numbers is seldom where it was.

D. S. Parker, Monte Carlo arithmetic, UCLA CSD-970002, 1997; Verrou, Verificarlo and CADNA do the same to compiled programs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_map

# Operations that copy, choose or create numbers and never round one, by the name of their packet.
_EXACT = re.compile(
    r"(abs|a?(max|min)|arange|arg(max|min|sort)|bernoulli|cat|ceil|clamp(_min|_max)?|clone|constant_pad_nd|copy|copysign|"
    r"cum(max|min)|detach|diag_embed|empty.*|exponential|eye|fill|flip|floor|f(max|min)|full.*|gather|hardtanh|im2col|"
    r"index.*|is\w+|lift_fresh|masked_\w+|max_pool\w*|(max|min)imum|(nan)?median|mode|multinomial|nan_to_num|neg|new_\w+|"
    r"nonzero|normal|ones.*|pad|permute|rand.*|relu|repeat.*|roll|round|scalar_tensor|scatter|select_scatter|set|sgn|sign|"
    r"slice_scatter|sort|stack|take|threshold.*|topk|tri[lu]|trunc|unsafe_\w+|view\w*|unique\w*|uniform|where|zero|zeros.*)_?"
)
# Operations that round many times inside: their arguments are moved too, by what one rounding of each would do.
_MANY = re.compile(
    r"linalg|conv|fft|mm|mv|dot|sum|prod|mean|norm|softmax|logsumexp|cholesky|solve|inverse|trace|pool|svd|dist|var$|std$"
)


class Noise(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, torch rounds at random: every result is moved by up to four units in the last place.

    Random numbers, copies and choices stay as they are, and so does torch's own random stream. In-place operations are
    moved in place; views of a tensor see that. Dense floating tensors of every precision and device are moved.

    Args:
        seed: of the noise.
    """

    def __init__(self, seed: int):
        super().__init__()  # type: ignore[no-untyped-call]
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def moved(self, value: Any) -> Any:
        """A floating tensor with every number moved by up to four units in the last place; anything else as it is."""
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.layout is not torch.strided:
            return value
        if value.device.type == "meta" or not value.numel():
            return value
        if value.device not in self._generators:
            self._generators[value.device] = torch.Generator(value.device).manual_seed(self._seed)
        generator = self._generators[value.device]
        units = torch.randint(-4, 4, value.shape, generator=generator, device=value.device, dtype=torch.int8)
        units = torch.where(units < 0, units, units + 1)
        # Where it is infinite or NaN, so is the product.
        return value * (1 + torch.finfo(value.dtype).eps * units.to(value.dtype))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs one operation, and rounds what it returns at random."""
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__.removeprefix("_")
        aliases = [returned.alias_info for returned in func._schema.returns]
        if _EXACT.fullmatch(name) or any(alias is not None and not alias.is_write for alias in aliases):
            return func(*args, **kwargs)  # a view is no result
        with _disable_current_modes():
            if _MANY.search(name):
                written = {id(value) for value in args[:1]} if any(aliases) else set()
                args = tree_map(lambda value: value if id(value) in written else self.moved(value), tuple(args))
            result = func(*args, **kwargs)
            if any(aliases):  # in place, or into `out`
                for value in result if isinstance(result, (tuple, list)) else (result,):
                    if isinstance(value, Tensor):
                        value.copy_(self.moved(value))
                return result
            return tree_map(self.moved, result)


class NoisyGradients(TorchFunctionMode):
    """While it is entered, backward passes round at random, and nothing else: those of a subject's graph run outside it.

    Args:
        seed: of the noise, which each pass starts anew.
    """

    _PASSES = (torch.autograd.grad, torch.autograd.backward)

    def __init__(self, seed: int):
        super().__init__()
        self._seed = seed

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs one function of torch, under `Noise` if it is a backward pass."""
        with Noise(self._seed) if func in self._PASSES else contextlib.nullcontext():
            return func(*args, **(kwargs or {}))


def rounded_at_random(subject: Any, seed: int, *, inputs: bool = False) -> Any:
    """`subject` with every function of the record computed under `Noise`; anything that is no record stays as it is.

    Args:
        subject: a record of functions, or a function.
        seed: of the noise, which each call starts anew: the same call gives the same answer.
        inputs: also move the arguments of the functions, for code that does not compute with torch.
    """
    if dataclasses.is_dataclass(subject) and not isinstance(subject, type):
        functions = {
            field.name: _noisy(value, seed, inputs)
            for field in dataclasses.fields(subject)
            if field.init and callable(value := getattr(subject, field.name)) and not dataclasses.is_dataclass(value)
        }
        return dataclasses.replace(subject, **functions)
    return _noisy(subject, seed, inputs) if callable(subject) else subject


def _noisy(function: Callable[..., Any], seed: int, inputs: bool) -> Callable[..., Any]:
    @functools.wraps(function, assigned=("__doc__", "__name__", "__qualname__"), updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        noise = Noise(seed)
        if inputs:
            args = tuple(map(noise.moved, args))
        with noise:
            return function(*args, **kwargs)

    return call
