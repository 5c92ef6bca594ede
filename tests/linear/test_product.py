"""Large products in single precision take another library: the same values and derivatives in every mode of torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mathcheck.linear.affine import Affine
from mathcheck.linear.kernels import product as kernel
from mathcheck.linear.kernels.product import product

ROWS, INNER, COLUMNS = 300, 130, 120


def _matrices(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    drawn = [torch.randn(*shape, generator=g) for shape in ((ROWS, INNER), (COLUMNS, INNER), (COLUMNS,))]
    return [t.to(dtype).requires_grad_() for t in drawn]


def _total(a: Tensor, b: Tensor, bias: Tensor) -> Tensor:
    return product(a, b, bias).tanh().sum()


def _gradients(inputs: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(_total(*inputs), inputs))


def _close(found: Tensor, true: Tensor) -> None:
    # Sums of at most 300 terms of size 1, each rounded.
    assert found.dtype == torch.float32
    assert float((found - true).detach().abs().max()) <= ROWS * torch.finfo(torch.float32).eps * float(
        1 + true.detach().abs().max()
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One entry for each product that the other library was asked for."""
    found: list[None] = []
    faster = kernel._faster

    def watched(a: Tensor, b: Tensor, bias: Tensor | None) -> bool:
        chosen = faster(a, b, bias)
        found.extend([None] * chosen)
        return chosen

    monkeypatch.setattr(kernel, "_faster", watched)
    return found


needs_onednn = pytest.mark.skipif(not kernel._AVAILABLE, reason="torch was built without oneDNN")


@needs_onednn
@pytest.mark.parametrize(
    "change", [lambda t: t, lambda t: t.mT.contiguous().mT, lambda t: t[::2].repeat_interleave(2, 0)]
)
def test_value_and_gradients(change: Callable[[Tensor], Tensor], calls: list[None]) -> None:
    inputs = [change(t.detach()).requires_grad_() if t.ndim == 2 else t for t in _matrices()]
    wide = [t.detach().double().requires_grad_() for t in inputs]
    _close(product(*inputs), product(*wide))
    for found, true in zip(_gradients(inputs), _gradients(wide), strict=True):
        _close(found, true)
        assert found.is_contiguous()
    # The value twice, and the gradients in both factors.
    assert len(calls) == 4


@needs_onednn
def test_gradients_of_gradients() -> None:
    def twice(inputs: list[Tensor]) -> tuple[Tensor, ...]:
        first = torch.autograd.grad(_total(*inputs), inputs, create_graph=True)
        return torch.autograd.grad(sum(t.square().sum() for t in first), inputs)

    for found, true in zip(twice(_matrices()), twice(_matrices(torch.float64)), strict=True):
        assert float((found - true).abs().max()) <= ROWS * 1e-6 * float(true.abs().max())


def test_only_what_is_needed_is_computed(calls: list[None]) -> None:
    a, b, bias = _matrices()
    torch.autograd.grad(_total(a.detach(), b, bias), [b])
    assert len(calls) == (2 if kernel._AVAILABLE else 0)


def test_transforms() -> None:
    inputs, wide = _matrices(), _matrices(torch.float64)
    for found, true in zip(torch.func.grad(_total, (0, 1, 2))(*inputs), _gradients(wide), strict=True):
        _close(found.detach(), true)
    a, b, bias = (t.detach() for t in inputs)
    many = torch.func.vmap(product, in_dims=(0, None, None))(torch.stack([a, 2 * a]), b, bias)
    _close(many[1], product(2 * a.double(), b.double(), bias.double()))
    _, tangent = torch.func.jvp(lambda x: product(x, b, bias), (a,), (a,))
    _close(tangent, a.double() @ b.double().mT)
    with torch.autograd.forward_ad.dual_level():
        dual = product(torch.autograd.forward_ad.make_dual(a, a), b)
        _close(torch.autograd.forward_ad.unpack_dual(dual).tangent, a.double() @ b.double().mT)


def test_modes_that_ask_for_another_product(calls: list[None]) -> None:
    a, b, bias = (t.detach() for t in _matrices())
    with torch.autocast("cpu", torch.bfloat16):
        assert product(a, b, bias).dtype == torch.bfloat16
    with torch.backends.mkldnn.flags(enabled=False):
        product(a, b, bias)
    product(a.double(), b.double(), bias.double())
    product(a[:2], b, bias)
    assert not calls


def test_compiled() -> None:
    torch.compiler.reset()
    inputs, true = _matrices(), _gradients(_matrices(torch.float64))
    compiled = torch.compile(_total, fullgraph=True)
    for found, expected in zip(torch.autograd.grad(compiled(*inputs), inputs), true, strict=True):
        _close(found, expected)
    # Within a transform torch.compile would not see the gradient of an operator of our own.
    gradients = torch.compile(torch.func.grad(_total, (0, 1, 2)))
    for found, expected in zip(gradients(*(t.detach() for t in inputs)), true, strict=True):
        _close(found, expected)


def test_shapes_that_do_not_fit_are_refused_as_by_torch() -> None:
    layer = Affine(300, 200)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        layer(torch.ones(1000, 299))
    layer.bias = torch.nn.Parameter(torch.ones(5))
    with pytest.raises(RuntimeError, match="must match"):
        layer(torch.ones(1000, 300))


def test_layer_is_torch_s_own() -> None:
    layer, other = Affine(INNER, COLUMNS), torch.nn.Linear(INNER, COLUMNS)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(5, 60, INNER, generator=torch.Generator().manual_seed(1))
    _close(layer(x).detach(), other.double()(x.double()).detach())
    assert layer(x[0, 0]).shape == (COLUMNS,)
