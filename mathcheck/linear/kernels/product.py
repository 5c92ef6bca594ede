"""Large matrix products in single precision by oneDNN, which torch brings along beside the library it multiplies with.

On AMD's processors with AVX-512 oneDNN is about twice as fast as that library, MKL: 220 Gflop/s beside 100 on one core of
an EPYC. Either rounds every product and sum as single precision does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual
from torch.nn import functional

# Multiplications from which on the faster product makes up for its call, which takes some forty microseconds longer.
_LEAST = 2**22
_AVAILABLE = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _by_onednn(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    value: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")
    return value


# An operator of its own: what torch.compile makes of oneDNN's it can make for constant weights only. Once, since a module
# may be loaded again.
if not hasattr(torch.ops.mathcheck, "product"):
    _LIBRARY = torch.library.Library("mathcheck", "DEF")  # type: ignore[no-untyped-call]
    _LIBRARY.define("product(Tensor a, Tensor b, Tensor? bias) -> Tensor")  # type: ignore[no-untyped-call]
    _LIBRARY.impl("product", _by_onednn, "CPU")  # type: ignore[no-untyped-call]
    torch.library.register_fake("mathcheck::product", lambda a, b, bias: a.new_empty(len(a), len(b)), lib=_LIBRARY)


class _Product(torch.autograd.Function):
    """`product` of matrices that are large enough."""

    @staticmethod
    def forward(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
        value: Tensor = torch.ops.mathcheck.product.default(a, b, bias)
        return value

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        of_a, of_b, of_bias = ctx.needs_input_grad
        return (
            product(grad, b.mT) if of_a else None,
            _transposed_product(grad, a) if of_b else None,
            grad.sum(0) if of_bias else None,
        )


def _transposed_product(g: Tensor, a: Tensor) -> Tensor:
    """g^T a; the first factor of a product is copied, so that it should be the narrower one."""
    return product(a.mT, g.mT).mT.contiguous() if a.shape[1] < g.shape[1] else product(g.mT, a.mT)


def product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""$AB^\top + \mathbf 1\beta^\top$, differentiable to any order.

    Args:
        a: `(*batch, k)`. `b`: `(n, k)`. `bias`: $\beta$, `(n,)`, or none.

    Returns:
        `(*batch, n)`.
    """
    if not _faster(a, b, bias):
        return functional.linear(a, b, bias)
    value: Tensor = _Product.apply(a.reshape(-1, a.shape[-1]), b, bias)  # type: ignore[no-untyped-call]
    return value.reshape(*a.shape[:-1], -1)


def _faster(a: Tensor, b: Tensor, bias: Tensor | None) -> bool:
    # What does not fit is left to torch, which says so.
    if b.ndim != 2 or a.shape[-1:] != b.shape[1:] or (bias is not None and bias.shape != b.shape[:1]):
        return False
    if not (_AVAILABLE and a.is_cpu and a.dtype == b.dtype == torch.float32 and a.numel() * b.shape[0] >= _LEAST):
        return False
    # The transforms of torch.func ask for rules of their own, and torch.compile takes none within them.
    if torch._C._are_functorch_transforms_active():
        return False
    if torch.compiler.is_compiling():
        return True
    forward_mode = any(unpack_dual(t).tangent is not None for t in (a, b))  # type: ignore[no-untyped-call]
    return bool(torch.backends.mkldnn.enabled) and not forward_mode and not torch.is_autocast_enabled("cpu")
