"""A kernel to be timed: what it is given, who computes it, when a result is right, and what no code can do without."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mathcheck.bench import kernels
from mathcheck.engine.residual import Residual, close

Size = Mapping[str, int]
Inputs = tuple[Any, ...]
Call = Callable[[], Any]

OURS, COMPILED, PLAIN = "mathcheck", "mathcheck, compiled", "plain"


@dataclass(frozen=True)
class Contender:
    """Somebody's code for a kernel.

    Args:
        prepare: called with the kernel's inputs; returns the call that is timed, which takes nothing and returns the
            result. What is done once, such as building a module, is done here or in the first call, which is timed alone.
        needs: packages that must be installed, e.g. `("nflows",)`.
        devices: types of device that it runs on.
    """

    prepare: Callable[..., Call]
    needs: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("cpu", "cuda")

    @property
    def installed(self) -> bool:
        """Whether all that it needs is there."""
        return all(importlib.util.find_spec(name) is not None for name in self.needs)


@dataclass(frozen=True)
class Work:
    """What every code for a kernel must do: numbers read and written once, and floating-point operations."""

    numbers: float
    flops: float = 0.0


@dataclass(frozen=True)
class Kernel:
    """Something that several people compute, and how it is measured.

    Args:
        name: for the command line and the file of results, e.g. "kl_diagonal".
        title: for people, e.g. "KL of diagonal normals, forward".
        derivation: the module whose claims are verified before anything is timed, e.g. "divergence.gaussian_kl".
        sizes: three sizes, rising; the last is the one that the ratios are told of.
        inputs: `(size, generator, dtype)` -> what a contender is prepared with; made on the CPU and moved.
        contenders: by name; `OURS` is ours, `PLAIN` the obvious code, to which ratios are told. Those that need packages
            are peers; one that is called so-and-so "alone" does a part of the work only, which no code can do without.
        residuals: `(inputs, result)` -> each error beside its bound; a contender above one is told to be wrong.
        work: of a size.
        card_sizes: sizes that fill a graphics card, where other than `sizes`.
        dtype: that is timed unless somebody asks for another one.
    """

    name: str
    title: str
    derivation: str
    sizes: Sequence[Size]
    inputs: Callable[[Size, torch.Generator, torch.dtype], Inputs]
    contenders: Mapping[str, Contender]
    residuals: Callable[[Inputs, Any], Iterator[Residual]]
    work: Callable[[Size], Work]
    card_sizes: Sequence[Size] = ()
    dtype: torch.dtype = torch.float32

    def sizes_on(self, device: str) -> Sequence[Size]:
        """The sizes for a type of device."""
        return self.card_sizes if device.startswith("cuda") and self.card_sizes else self.sizes

    def present(self, device: str = "cpu", *, peers: bool = True) -> dict[str, Contender]:
        """The contenders that can run here; without `peers` only those that need no package beside torch."""
        kind = torch.device(device).type
        return {
            name: c
            for name, c in self.contenders.items()
            if kind in c.devices and c.installed and (peers or not c.needs or name.startswith(OURS))
        }

    def problem(self, size: Size, device: str = "cpu", dtype: torch.dtype | None = None) -> Inputs:
        """The inputs of a size, the same ones every time."""
        made = self.inputs(size, torch.Generator().manual_seed(0), dtype or self.dtype)
        return tuple(t.to(device) if isinstance(t, Tensor) else t for t in made)


def of(function: Callable[..., Any]) -> Contender:
    """A function of the kernel's inputs, as a contender."""
    return Contender(lambda *inputs: lambda: function(*inputs))


def compiled(function: Callable[..., Any]) -> Contender:
    """A function of the kernel's inputs, through `torch.compile`."""
    return of(torch.compile(function, dynamic=False))


def tensors(result: Any) -> tuple[Tensor, ...]:
    """The tensors of a result, in order."""
    if isinstance(result, Tensor):
        return (result,)
    return tuple(t for part in result for t in tensors(part)) if isinstance(result, Iterable) else ()


def backward(contender: Contender) -> Contender:
    """The gradient of the sum of a contender's result in all inputs that are floating tensors, the result computed anew."""

    def prepare(*inputs: Any) -> Call:
        leaves = [t.detach().clone().requires_grad_() for t in inputs if _differentiable(t)]
        fresh = iter(leaves)
        call = contender.prepare(*(next(fresh) if _differentiable(t) else t for t in inputs))

        def run() -> tuple[Tensor, ...]:
            total = torch.stack([t.sum() for t in tensors(call()) if t.requires_grad]).sum()
            return torch.autograd.grad(total, leaves)

        return run

    return replace(contender, prepare=prepare)


def _differentiable(t: Any) -> bool:
    return isinstance(t, Tensor) and t.dtype.is_floating_point


def with_gradient(
    kernel: Kernel,
    residuals: Callable[[Inputs, Any], Iterator[Residual]],
    work: Callable[[Size], Work],
    more: Mapping[str, Contender] | None = None,
) -> Kernel:
    """The kernel that computes the gradient, too; `more` contenders bring their own, the others take autograd's."""
    contenders = {name: backward(c) for name, c in kernel.contenders.items()} | dict(more or {})
    return replace(
        kernel,
        name=f"{kernel.name}_gradient",
        title=kernel.title.replace("forward", "forward + backward"),
        contenders=contenders,
        residuals=residuals,
        work=work,
    )


def against(
    truth: Callable[..., Any], scale: Callable[..., Any], ulps: float = 64
) -> Callable[[Inputs, Any], Iterator[Residual]]:
    """Residuals of every tensor of a result beside that of `truth` on the inputs in double precision.

    Args:
        truth: the inputs, in double precision -> the result.
        scale: the same inputs -> for each tensor what its rounding error is proportional to: the sum of the absolute
            values of the terms that are added up, say.
        ulps: the bound in units of eps times `scale`.
    """

    def residuals(inputs: Inputs, result: Any) -> Iterator[Residual]:
        wide = [t.double() if _differentiable(t) else t for t in inputs]
        expected = tensors(truth(*wide))
        found, scales = tensors(result), tensors(scale(*wide))
        if len(found) != len(expected):
            raise ValueError(f"a result of {len(found)} tensors, expected {len(expected)}")
        for k, (value, true, size) in enumerate(zip(found, expected, scales, strict=True)):
            yield close(value.detach(), true, ulps=ulps, scale=size, what=f"result {k + 1}")

    return residuals


def catalogue() -> dict[str, Kernel]:
    """Name -> kernel, for every module of this folder with a tuple `KERNELS`."""
    found: dict[str, Kernel] = {}
    for info in sorted(pkgutil.iter_modules(kernels.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{kernels.__name__}.{info.name}")
        for kernel in getattr(module, "KERNELS", ()):
            if kernel.name in found:
                raise ValueError(f"two kernels are called {kernel.name!r}")
            found[kernel.name] = kernel
    return found
