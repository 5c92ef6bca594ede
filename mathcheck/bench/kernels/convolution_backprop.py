"""Value and gradients of a 1-D convolutional net of six tanh layers, for one signal and for a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mathcheck.bench import jax as with_jax
from mathcheck.bench.kernel import OURS, PLAIN, Inputs, Kernel, Size, Work, of
from mathcheck.engine.residual import Residual, close
from mathcheck.linear.convolution_backprop import Layer, _roundings, backpropagate

LAYERS, FILTER = 6, 31


def _inputs(batched: bool) -> Callable[[Size, torch.Generator, torch.dtype], Inputs]:
    def inputs(size: Size, generator: torch.Generator, dtype: torch.dtype) -> Inputs:
        """Signals, cotangents, filters and biases; the filters shrink what they are given, as their errors do then."""
        n = size["n"]
        drawn = [torch.randn(size["batch"], m, generator=generator) for m in (n, n - LAYERS * (FILTER - 1))]
        drawn = drawn if batched else [t[0] for t in drawn]
        weights = torch.randn(LAYERS, FILTER, generator=generator) / FILTER
        biases = torch.randn(LAYERS, generator=generator)
        return tuple(t.to(dtype) for t in (*drawn, weights, biases))

    return inputs


def _ours(x: Tensor, cotangent: Tensor, weights: Tensor, biases: Tensor) -> tuple[Tensor, ...]:
    found = backpropagate([Layer(w, b) for w, b in zip(weights, biases, strict=True)], x, cotangent)
    w, b = torch.stack(found.weights, -2), torch.stack(found.biases, -1)
    return w.reshape(-1, *weights.shape).sum(0), b.reshape(-1, LAYERS).sum(0), found.input


def _autograd(x: Tensor, cotangent: Tensor, weights: Tensor, biases: Tensor) -> tuple[Tensor, ...]:
    """As one writes it: `conv1d` in a loop, and autograd."""
    leaves = [t.clone().requires_grad_() for t in (weights, biases, x)]
    y = leaves[2].reshape(-1, 1, x.shape[-1])
    for w, b in zip(leaves[0], leaves[1], strict=True):
        y = torch.tanh(functional.conv1d(y, w[None, None], b[None]))
    value = y.reshape(cotangent.shape)
    return torch.autograd.grad(value, leaves, cotangent)


def _with_jax(jax: Any) -> Callable[..., Any]:
    def value(x: Any, weights: Any, biases: Any) -> Any:
        y = x.reshape(-1, 1, x.shape[-1])
        for k in range(LAYERS):
            y = jax.numpy.tanh(jax.lax.conv_general_dilated(y, weights[k][None, None], (1,), "VALID") + biases[k])
        return y.reshape(*x.shape[:-1], -1)

    def gradients(x: Any, cotangent: Any, weights: Any, biases: Any) -> Any:
        at_input, at_weights, at_biases = jax.vjp(value, x, weights, biases)[1](cotangent)
        return at_weights, at_biases, at_input

    return gradients


def _residuals(inputs: Inputs, result: Any) -> Iterator[Residual]:
    """Each gradient beside autograd's in double precision, within the running error analysis of the claim."""
    x, cotangent, weights, biases = (t.double() for t in inputs)
    truths = _autograd(x, cotangent, weights, biases)
    rows = zip(inputs[0].reshape(-1, x.shape[-1]), inputs[1].reshape(-1, cotangent.shape[-1]), strict=True)
    parameters = list(zip(weights, biases, strict=True))
    scales = torch.stack([_roundings(parameters, *row) for row in rows])
    own = scales[:, : LAYERS * (FILTER + 1)].reshape(-1, LAYERS, FILTER + 1)
    # The gradients of the examples are added up: a rounding more of their absolute values for each.
    own = own.sum(0) * (1 + len(own))
    of_input = scales[:, LAYERS * (FILTER + 1) :].reshape(x.shape)
    for name, found, true, scale in zip(
        ("filters", "biases", "input"), result, truths, (own[:, :FILTER], own[:, FILTER], of_input), strict=True
    ):
        yield close(found, true, ulps=2, scale=scale, what=f"the gradient in the {name}")


def _work(size: Size) -> Work:
    n, batch = size["n"], size["batch"]
    places = sum(n - (k + 1) * (FILTER - 1) for k in range(LAYERS))
    return Work(2 * batch * n, 6 * batch * places * FILTER)


def _kernel(name: str, title: str, batches: tuple[int, int, int]) -> Kernel:
    sizes = [{"batch": b, "n": n} for b, n in zip(batches, (256, 512, 1024), strict=True)]
    contenders = {
        OURS: of(_ours),
        PLAIN: of(_autograd),
        "JAX (jit)": with_jax.contender(_with_jax),
    }
    return Kernel(
        name,
        title,
        "linear.convolution_backprop",
        sizes,
        _inputs(batches[-1] > 1),
        contenders,
        _residuals,
        _work,
        [size | {"batch": 2**10 * size["batch"]} for size in sizes] if batches[-1] > 1 else (),
    )


KERNELS = (
    _kernel("convolution_backprop", "Gradients of a convolutional net, one signal", (1, 1, 1)),
    _kernel("convolution_backprop_batch", "Gradients of a convolutional net, a batch", (4, 16, 64)),
)
