r"""Backpropagation through a 1-D convolutional net, by correlations and without forming a matrix.

Layer l maps $y_{l-1}$ to $y_l = \sigma(z_l)$, $z_l = A_{w_l} y_{l-1} + b_l\mathbf 1$, where $(A_w)_{ij} = w_{j-i+1}$ for
$1 \le j - i + 1 \le f$: a correlation, $(A_w y)_i = \sum_k w_k\, y_{i+k-1}$. Since $v A_w y = \sum_{i,k} v_i w_k y_{i+k-1}$
is linear in each of v, w and y, each derivative is a correlation again:

$\partial/\partial w = A_v y$, $\partial/\partial b = v\mathbf 1$, $\partial/\partial y = A_w^\top v$.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Ball, Residual, close, exactly
from mathcheck.engine.strategies import BATCH_SHAPES, Interval
from mathcheck.linear.correlate import correlate, correlate_adjoint
from mathcheck.linear.kernels.windows import adjoint_of_products, products_of_windows
from mathcheck.linear.linear_map import LinearMap
from mathcheck.oracles import arb


class Activation(NamedTuple):
    """A function of numbers and its derivative, both as functions of its argument z."""

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


def _squared_sech(z: Tensor) -> Tensor:
    # Of the logistic function at -2|z|: no digit is lost for large z, and nothing overflows.
    share = z.abs().mul_(-2).sigmoid_()
    return torch.addcmul(share, share, share, value=-1).mul_(4)


# The slope of tanh as 1 - tanh^2 would lose every digit where tanh rounds to 1.
tanh = Activation(torch.tanh, _squared_sech)
relu = Activation(torch.relu, lambda z: (z > 0).to(z.dtype))
identity = Activation(lambda z: z, torch.ones_like)


class Layer(NamedTuple):
    r"""$y \mapsto \sigma(A_w y + b\mathbf 1)$: `weight` w of shape `(f,)`, `bias` b of shape `()`, `activation` $\sigma$."""

    weight: Tensor
    bias: Tensor
    activation: Activation = tanh


class Backward(NamedTuple):
    """What `backpropagate` returns: the net's value, and the gradients for the layers in order and for the input."""

    value: Tensor
    weights: list[Tensor]
    biases: list[Tensor]
    input: Tensor


def backpropagate(net: Sequence[Layer], x: Tensor, cotangent: Tensor) -> Backward:
    r"""The value $y_L$ of a convolutional net and the gradients of $\langle c, y_L\rangle$, for each example alone.

    With $g_L = c$: $v_l = g_l \odot \sigma'(z_l)$, $\partial/\partial w_l = A_{v_l} y_{l-1}$, $\partial/\partial b_l =
    \mathbf 1^\top v_l$, $g_{l-1} = A_{w_l}^\top v_l$. Three correlations a layer: one forward, two back. No matrix is
    formed, and no activation is inverted.

    Args:
        net: at least one layer.
        x: signals $y_0$, `(*batch, n)`, at least as long as the filters together need.
        cotangent: c, `(*batch, n_L)` with $n_L = n - \sum_l (f_l - 1)$: the gradient of a loss in $y_L$, or a basis vector
            for one output's gradient.

    Returns:
        The value `(*batch, n_L)`; gradients of the weights, `(*batch, f_l)`, of the biases, `(*batch,)`, and of the
        input, `(*batch, n)`. Sum over the batch for the gradient of a sum over examples.

    Raises:
        TypeError, ValueError: for an empty net, or arguments of the wrong type, shape, dtype or device.
    """
    arguments.sequences(Layer, net=net)
    if not net:
        raise ValueError("net must have at least one layer, got none")
    arguments.vectors(x=x, cotangent=cotangent)
    states = [(x, x)]
    for number, layer in enumerate(net):
        arguments.floating(x=x, **{f"net[{number}].weight": layer.weight, f"net[{number}].bias": layer.bias})
        if layer.weight.ndim != 1 or not len(layer.weight) or layer.bias.ndim != 0:
            got = f"{tuple(layer.weight.shape)} and {tuple(layer.bias.shape)}"
            raise ValueError(f"net[{number}] must have a weight (f,) and a bias (), got {got}")
        y = states[-1][1]
        if y.shape[-1] < len(layer.weight):
            raise ValueError(f"x must leave net[{number}] {len(layer.weight)} entries, got {tuple(x.shape)}")
        z = products_of_windows(y, layer.weight) + layer.bias
        states.append((z, layer.activation.value(z)))
    if cotangent.shape != states[-1][1].shape:
        raise ValueError(f"cotangent has shape {tuple(cotangent.shape)}, expected {tuple(states[-1][1].shape)}")
    gradient, weights, biases = cotangent, [], []
    for layer, (_, y), (z, _) in zip(reversed(net), states[-2::-1], states[:0:-1], strict=True):
        v = gradient * layer.activation.slope(z)
        weights.append(products_of_windows(y, v))
        biases.append(v.sum(-1))
        gradient = adjoint_of_products(v, layer.weight)
    return Backward(states[-1][1], weights[::-1], biases[::-1], gradient)


def _length(t: Tensor, name: str) -> int:
    arguments.floating(**{name: t})
    if t.ndim != 1 or not len(t):
        raise ValueError(f"{name} must have one dimension and at least one entry, got shape {tuple(t.shape)}")
    return len(t)


def correlation(weight: Tensor, n: int) -> LinearMap:
    r"""$y \mapsto A_w y$ for signals of one length as a linear map, with $(A_w)_{ij} = w_{j-i+1}$ for its matrix.

    Args:
        weight: w, `(f,)`.
        n: length of the signals, at least f.

    Raises:
        TypeError, ValueError: if `weight` is no such tensor or n is too small.
    """
    f = _length(weight, "weight")
    arguments.at_least(1, n=n)
    if n < f:
        raise ValueError(f"n must be at least {f}, the length of the filter, got {n}")
    entries = [Fraction(float(w)) for w in weight]
    matrix = [[entries[j - i] if 0 <= j - i < f else Fraction(0) for j in range(n)] for i in range(n - f + 1)]
    return LinearMap(
        lambda y: correlate(y, weight.to(y)),
        lambda v: correlate_adjoint(v, weight.to(v)),
        (n,),
        (n - f + 1,),
        matrix,
        exact=all(w.denominator == 1 for w in entries),
        batch_shapes=BATCH_SHAPES,
    )


def correlation_in_the_filter(signal: Tensor, f: int) -> LinearMap:
    r"""$w \mapsto A_w y$ for one signal as a linear map: its adjoint is $v \mapsto A_v y$, the gradient in the filter.

    Args:
        signal: y, `(n,)`.
        f: length of the filters, from 1 to n.

    Raises:
        TypeError, ValueError: if `signal` is no such tensor or f is out of range.
    """
    n = _length(signal, "signal")
    arguments.at_least(1, f=f)
    if not 1 <= f <= n:
        raise ValueError(f"f must be from 1 to {n}, the length of the signal, got {f}")
    entries = [Fraction(float(y)) for y in signal]

    def of(w: Tensor) -> Tensor:
        return correlate(signal.to(w).expand(*w.shape[:-1], n), w)

    matrix = [[entries[i + k] for k in range(f)] for i in range(n - f + 1)]
    return LinearMap(
        of, of, (f,), (n - f + 1,), matrix, exact=all(y.denominator == 1 for y in entries), batch_shapes=BATCH_SHAPES
    )


difference = correlation(torch.tensor([-1.0, 3.0, 2.0]), 6)
smoothing = correlation(torch.tensor([0.3, -1.7, 1e-3], dtype=torch.float64), 5)
in_the_filter = correlation_in_the_filter(torch.tensor([2.0, -1.0, 0.0, 5.0, 3.0]), 2)


class Correlation(NamedTuple):
    """A correlation and its adjoint in the signal."""

    forward: Callable[[Tensor, Tensor], Tensor]
    adjoint: Callable[[Tensor, Tensor], Tensor]


def _triples(subject: object, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor, Tensor]]:
    """A filter of 1 to 4, a signal of up to 4 more, and as many weights as the correlation has entries; integers."""
    whole = st.integers(-9, 9).map(float)
    return strategies.of_each(
        st.tuples(st.integers(1, 4), st.integers(1, 5)),
        lambda fm: st.tuples(*(strategies.tensors((k,), dtype, whole) for k in (fm[0], fm[0] + fm[1] - 1, fm[1]))),
    )


@claim(
    given=_triples,
    reference=Correlation(correlate, correlate_adjoint),
    mutants={
        "the filter is reversed (a convolution for a correlation)": lambda c: Correlation(
            lambda y, w: c.forward(y, w.flip(-1)), lambda v, w: c.adjoint(v, w.flip(-1))
        ),
        "every row is the first": lambda c: c._replace(
            forward=lambda y, w: c.forward(y[: len(w)], w).expand(len(y) - len(w) + 1)
        ),
        "the adjoint correlates with the filter as it is": lambda c: c._replace(
            adjoint=lambda v, w: c.adjoint(v, w.flip(-1))
        ),
        "the adjoint is read backwards": lambda c: c._replace(adjoint=lambda v, w: c.adjoint(v, w).flip(-1)),
    },
)
def correlation_is_linear_in_all_three(c: Correlation, w: Tensor, y: Tensor, v: Tensor) -> Iterator[Residual]:
    r"""One sum in three ways: $\langle v, A_w y\rangle = \langle w, A_v y\rangle = \langle A_w^\top v, y\rangle$.

    All are $\sum_{i,k} v_i w_k\, y_{i+k-1}$, and entry by entry $(A_w y)_i = \sum_k w_k y_{i+k-1}$, $(A_v y)_k =
    \sum_i v_i y_{i+k-1}$, $(A_w^\top v)_j = \sum_{i+k-1=j} v_i w_k$: the derivatives of the sum in v, w and y.

    Error bound: 0: sums of products of small integers.
    """
    ws, ys, vs = ([int(t) for t in tensor] for tensor in (w, y, v))
    places = [(i, k) for i in range(len(vs)) for k in range(len(ws))]

    def sums(size: int, place: Callable[[int, int], int], term: Callable[[int, int], int]) -> list[int]:
        total = [0] * size
        for i, k in places:
            total[place(i, k)] += term(i, k)
        return total

    yield exactly(
        [int(t) for t in c.forward(y, w)], sums(len(vs), lambda i, k: i, lambda i, k: ws[k] * ys[i + k]), what="A_w y"
    )
    yield exactly(
        [int(t) for t in c.forward(y, v)], sums(len(ws), lambda i, k: k, lambda i, k: vs[i] * ys[i + k]), what="A_v y"
    )
    yield exactly(
        [int(t) for t in c.adjoint(v, w)], sums(len(ys), lambda i, k: i + k, lambda i, k: vs[i] * ws[k]), what="A_w^T v"
    )


Backpropagate = Callable[[Sequence[Layer], Tensor, Tensor], Backward]
Slip = Callable[[Backpropagate], Backpropagate]


def _nets(integers: bool) -> Callable[[Backpropagate, torch.dtype], st.SearchStrategy[tuple[Any, Tensor, Tensor]]]:
    """One to three (weight, bias) with filters of 1 to 3, an input that leaves 1 to 3 outputs, and a cotangent."""

    def given(subject: Backpropagate, dtype: torch.dtype) -> st.SearchStrategy[tuple[Any, Tensor, Tensor]]:
        entries = st.integers(-3, 3).map(float) if integers else Interval(reach=2.0).elements(dtype)
        batches = st.sampled_from(BATCH_SHAPES if integers else [()])

        def of(shape: tuple[list[int], int, tuple[int, ...]]) -> st.SearchStrategy[tuple[Any, Tensor, Tensor]]:
            filters, m, batch = shape
            parameters = [st.tuples(*(strategies.tensors(s, dtype, entries) for s in ((f,), ()))) for f in filters]
            n = m + sum(filters) - len(filters)
            ends = (strategies.tensors((*batch, k), dtype, entries) for k in (n, m))
            return st.tuples(st.tuples(*parameters), *ends)

        return st.tuples(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(1, 3), batches).flatmap(of)

    return given


def _activated(change: Callable[[Activation], Activation]) -> Slip:
    """The slip that uses another activation in every layer."""
    return lambda f: lambda net, x, c: f([layer._replace(activation=change(layer.activation)) for layer in net], x, c)


def _last_linear(f: Backpropagate) -> Backpropagate:
    def wrong(net: Sequence[Layer], x: Tensor, c: Tensor) -> Backward:
        last = net[-1]._replace(activation=Activation(net[-1].activation.value, torch.ones_like))
        return f([*net[:-1], last], x, c)

    return wrong


def _averaged(f: Backpropagate) -> Backpropagate:
    def wrong(net: Sequence[Layer], x: Tensor, c: Tensor) -> Backward:
        places, length = [], x.shape[-1]
        for layer in net:
            length -= len(layer.weight) - 1
            places.append(length)
        found = f(net, x, c)
        return found._replace(biases=[b / count for b, count in zip(found.biases, places, strict=True)])

    return wrong


def _result(change: Callable[[Backward], Backward]) -> Slip:
    return lambda f: lambda net, x, c: change(f(net, x, c))


_SLIPS: dict[str, Slip] = {
    "the gradients of the weights are reversed": _result(
        lambda found: found._replace(weights=[w.flip(-1) for w in found.weights])
    ),
    "the gradients of the biases are averaged over places": _averaged,
    "the gradient of the input is read backwards": _result(lambda found: found._replace(input=found.input.flip(-1))),
    "the slopes are left out": _activated(lambda a: Activation(a.value, torch.ones_like)),
    "the slope of the last layer is left out": _last_linear,
}


@claim(
    given=_nets(integers=True),
    reference=backpropagate,
    mutants=_SLIPS,
    uses=(correlation_is_linear_in_all_three,),
    examples=60,
)
def equals_autograd(f: Backpropagate, parameters: Any, x: Tensor, cotangent: Tensor) -> Iterator[Residual]:
    r"""Backpropagation by correlations gives the gradients that autograd finds, for each example of a batch.

    Nets of integers whose hidden layers are rectified: $\sigma(z) = \max(z, 0)$ with slope 0 at 0, as in torch.

    Error bound: 0: on either side sums of products of integers that the dtype holds exactly.
    """
    net = [Layer(w, b, relu) for w, b in parameters]
    got = f(net, x, cotangent)
    rows = zip(x.reshape(-1, x.shape[-1]), cotangent.reshape(-1, cotangent.shape[-1]), strict=True)
    for k, (row, c) in enumerate(rows):
        leaves = [t.detach().clone().requires_grad_() for pair in parameters for t in pair]
        y = start = row.clone().requires_grad_()
        for w, b in zip(leaves[::2], leaves[1::2], strict=True):
            y = torch.nn.functional.conv1d(y[None, None], w[None, None])[0, 0].add(b).relu()
        *gradients, at_input = torch.autograd.grad(y, [*leaves, start], c)
        yield exactly(got.value.reshape(-1, len(y))[k], y.detach(), what="the value")
        for layer, (weight, bias) in enumerate(zip(got.weights, got.biases, strict=True)):
            expected = gradients[2 * layer : 2 * layer + 2]
            yield exactly(weight.reshape(-1, weight.shape[-1])[k], expected[0], what=f"weight {layer}'s gradient")
            yield exactly(bias.reshape(-1)[k], expected[1], what=f"bias {layer}'s gradient")
        yield exactly(got.input.reshape(-1, len(row))[k], at_input, what="the input's gradient")


def _enclosed(parameters: Any, x: Tensor, cotangent: Tensor) -> Ball:
    """Gradients of <c, y_L> of a net of tanh layers by dual numbers of balls: weights and biases in order, the input."""
    shapes = [len(w) for w, _ in parameters]

    def output(numbers: list[Any]) -> Any:
        rest = iter(numbers)
        layers = [([next(rest) for _ in range(f)], next(rest)) for f in shapes]
        y = list(rest)
        for weight, bias in layers:
            places = range(len(y) - len(weight) + 1)
            y = [arb.tanh(sum((w * y[i + k] for k, w in enumerate(weight)), bias)) for i in places]
        return sum(arb.exact(float(c)) * value for c, value in zip(cotangent, y, strict=True))

    flat = torch.cat([*(t.flatten() for pair in parameters for t in pair), x])
    return arb.enclose(lambda: list(arb.gradient(output, arb.exact_list(flat))), rel_bits=60)


def _roundings(parameters: Any, x: Tensor, cotangent: Tensor) -> Tensor:
    """How far each gradient of a net of tanh layers may be off, in roundings: a running error analysis."""
    net = [Layer(w.double(), b.double()) for w, b in parameters]
    y, error, states = x.double(), torch.zeros_like(x, dtype=torch.float64), []
    for w, b, activation in net:
        z = correlate(y, w) + b
        # A sum of f products and the bias; tanh does not stretch.
        error_z = correlate(error, w.abs()) + (len(w) + 1) * (correlate(y.abs(), w.abs()) + b.abs())
        states.append((y, error, z, error_z))
        y = activation.value(z)
        error = error_z + 4 * y.abs()
    g, error_g, found = cotangent.double(), torch.zeros_like(cotangent, dtype=torch.float64), []
    tiny = float(torch.finfo(x.dtype).tiny)
    for (w, _, activation), (y, error_y, z, error_z) in zip(reversed(net), reversed(states), strict=True):
        slope = activation.slope(z)
        # The logarithm of the slope of tanh changes by at most 2 for each 1 of z; underflow is absolute.
        error_v = error_g * slope + g.abs() * slope * (2 * error_z + 8) + tiny
        v = (g * slope).abs()
        found.append(v.sum()[None] * len(v) + error_v.sum())
        found.append(correlate(y.abs(), error_v + len(v) * v) + correlate(error_y, v))
        error_g = correlate_adjoint(error_v + len(w) * v, w.abs())
        g = correlate_adjoint(g * slope, w)
    return torch.cat([*found[::-1], error_g])


@claim(
    given=_nets(integers=False),
    reference=backpropagate,
    mutants=_SLIPS
    | {
        "slopes are taken at the activations instead of their arguments": _activated(
            lambda a: Activation(a.value, lambda z: a.slope(a.value(z)))
        ),
    },
    uses=(correlation_is_linear_in_all_three,),
    examples=40,
)
def equals_the_enclosed_derivative(
    f: Backpropagate, parameters: Any, x: Tensor, cotangent: Tensor
) -> Iterator[Residual]:
    r"""Backpropagation gives the derivatives, enclosed by dual numbers of balls: $\partial\langle c, y_L\rangle$.

    Nets of tanh layers, $\lvert\sigma'\rvert \le 1$ and $\lvert\sigma''\rvert \le 2\sigma'$.

    Error bound: a running error analysis. A rounding of z, of f + 1 terms, moves y by at most as much and the logarithm
    of the slope by twice as much; errors pass through the layers forward and back by $\lvert A_w\rvert$ and
    $\lvert A_w\rvert^\top$, and sums add a rounding for each term. Doubled for what is of second order.
    """
    got = f([Layer(w, b, tanh) for w, b in parameters], x, cotangent)
    pairs = [t for w, b in zip(got.weights, got.biases, strict=True) for t in (w, b[None])]
    true, scale = _enclosed(parameters, x, cotangent), _roundings(parameters, x, cotangent)
    yield close(torch.cat([*pairs, got.input]), true, ulps=2, scale=scale, what="gradient")
