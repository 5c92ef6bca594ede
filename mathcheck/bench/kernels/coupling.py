r"""An affine coupling of two halves whose log-scales and shifts come from one hidden layer: forward, inverse, training.

The step is one of Adam on the mean of $\tfrac12\lVert y\rVert^2 - \log\lvert\det J\rvert$, the negative log-likelihood
under a standard normal up to a constant. Peers bring their own networks, with the same weights.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.dlpack import from_dlpack

from mathcheck.bench.kernel import COMPILED, OURS, PLAIN, Call, Contender, Inputs, Kernel, Size, Work, against
from mathcheck.bench.kernels.coupling_peers import Flow, Pair, flowjax, in_order, in_turn, nflows, normflows, pyro, zuko
from mathcheck.bench.nets import net
from mathcheck.bench.training import Objective, our_compiled_step, our_step, plain_step
from mathcheck.engine.residual import Ball, Kind, Residual, close
from mathcheck.flows.coupling import affine_coupling
from mathcheck.linear.affine import Affine

SIZES = (
    {"rows": 64, "n": 8, "hidden": 32},
    {"rows": 1024, "n": 32, "hidden": 64},
    {"rows": 4096, "n": 64, "hidden": 128},
)
CARD_SIZES = tuple({"rows": rows, "n": 64, "hidden": 128} for rows in (4096, 65536, 524288))
RATE, ULPS = 1e-3, 64


def _inputs(size: Size, generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Points, and the weights and biases of both layers; the log-scales are about a half."""
    half, hidden = size["n"] // 2, size["hidden"]
    shapes = (size["rows"], size["n"]), (hidden, half), (hidden,), (size["n"], hidden), (size["n"],)
    widths = 1.0, half**-0.5, 0.1, 0.5 * hidden**-0.5, 0.1
    return tuple(
        (torch.randn(*shape, generator=generator) * width).to(dtype)
        for shape, width in zip(shapes, widths, strict=True)
    )


def _plain(*weights: Tensor) -> Flow:
    """As one finds it in a notebook: the map and the log-determinant are two functions, and each calls the network."""
    network = net(weights, nn.ReLU)
    half = len(weights[3]) // 2

    def forward(x: Tensor) -> Tensor:
        s, t = network(x[:, :half]).chunk(2, -1)
        return torch.cat([x[:, :half], x[:, half:] * s.exp() + t], -1)

    def inverse(y: Tensor) -> Tensor:
        s, t = network(y[:, :half]).chunk(2, -1)
        return torch.cat([y[:, :half], (y[:, half:] - t) * torch.exp(-s)], -1)

    def log_det(x: Tensor) -> Tensor:
        s, _ = network(x[:, :half]).chunk(2, -1)
        total: Tensor = s.sum(-1)
        return total

    return Flow(lambda x: (forward(x), log_det(x)), lambda y: (inverse(y), -log_det(y)), network, in_order(weights))


def _ours(*weights: Tensor) -> Flow:
    n = len(weights[3])
    network = net(weights, functools.partial(nn.ReLU, inplace=True), Affine)
    flow = affine_coupling(range(n // 2), n, lambda kept: network(kept).chunk(2, -1))
    assert flow.forward_and_log_det is not None
    assert flow.inverse_and_log_det is not None
    return Flow(flow.forward_and_log_det, flow.inverse_and_log_det, network, in_order(weights))


def _jitted(direction: str) -> Contender:
    def prepare(x: Tensor, *weights: Tensor) -> Call:
        flow, points, jax = flowjax(x, *weights)
        call = jax.jit(jax.vmap(getattr(flow, direction)))
        return lambda: [from_dlpack(t) for t in jax.block_until_ready(call(points))]

    return Contender(prepare, needs=("flowjax",), devices=("cpu",))


def _jitted_step() -> Contender:
    def prepare(x: Tensor, *weights: Tensor) -> Call:
        flow, points, jax = flowjax(x, *weights)
        equinox: Any = importlib.import_module("equinox")
        optax: Any = importlib.import_module("optax")
        optimizer = optax.adam(RATE)
        parameters, static = equinox.partition(flow, equinox.is_inexact_array)
        rows = in_turn(len(weights[3]), weights[3])

        def loss(parameters: Any, points: Any) -> Any:
            y, log_det = jax.vmap(equinox.combine(parameters, static).transform_and_log_det)(points)
            return (y**2).sum() / 2 / len(points) - log_det.mean()

        @jax.jit  # type: ignore[untyped-decorator]
        def update(parameters: Any, state: Any, points: Any) -> Any:
            value, gradient = jax.value_and_grad(loss)(parameters, points)
            change, state = optimizer.update(gradient, state)
            return value, optax.apply_updates(parameters, change), state

        held = [parameters, optimizer.init(parameters)]

        def run() -> list[Tensor]:
            value, *held[:] = jax.block_until_ready(update(*held, points))
            layers = held[0].conditioner.layers
            found = [from_dlpack(t) for layer in layers for t in (layer.weight, layer.bias)]
            return [from_dlpack(value), *found, rows]

        return run

    return Contender(prepare, needs=("flowjax", "optax"), devices=("cpu",))


def _mapping(build: Callable[..., Flow], direction: str, *needs: str, compile: bool = False) -> Contender:
    """One direction of a coupling, without gradients."""

    def prepare(x: Tensor, *weights: Tensor) -> Call:
        function: Callable[[Tensor], Pair] = getattr(build(*weights), direction)
        function = torch.compile(function, dynamic=False) if compile else function

        def run() -> Pair:
            with torch.no_grad():
                return function(x)

        return run

    return Contender(prepare, needs)


def _step(build: Callable[..., Flow], *needs: str, take: Callable[..., Call] = plain_step) -> Contender:
    """A step of Adam; the result is the loss before it, the parameters after it, and which rows those of w2 and b2 are."""

    def prepare(x: Tensor, *weights: Tensor) -> Call:
        forward, _, network, rows = build(*weights)

        def loss(network: nn.Module, points: Tensor) -> Tensor:
            y, log_det = forward(points)
            return y.square().sum() / 2 / len(points) - log_det.mean()

        step = take(Objective(network, loss), x, rate=RATE)
        return lambda: [*step(), rows]

    return Contender(prepare, needs)


def _true(direction: str) -> Callable[..., Pair]:
    def truth(x: Tensor, *weights: Tensor) -> Pair:
        with torch.no_grad():
            pair: Pair = getattr(_plain(*weights), direction)(x)
            return pair

    return truth


def _terms(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of the absolute values of what is added up in the log-scales and in the shifts, through both layers."""
    hidden = x[:, : w1.shape[1]].abs() @ w1.abs().mT + b1.abs()
    s, t = (hidden @ w2.abs().mT + b2.abs()).chunk(2, -1)
    return s, t


def _forward_terms(x: Tensor, *weights: Tensor) -> Pair:
    half = x.shape[1] // 2
    (y, _), (s, t) = _true("forward")(x, *weights), _terms(x, *weights)
    scaled = y[:, half:].abs() + t
    return torch.cat([y[:, :half].abs(), scaled * (1 + s)], -1), s.sum(-1)


def _inverse_terms(y: Tensor, *weights: Tensor) -> Pair:
    half = y.shape[1] // 2
    network, (s, t) = net(weights, nn.ReLU), _terms(y, *weights)
    with torch.no_grad():
        scale = torch.exp(-network(y[:, :half])[:, :half])
    return torch.cat([y[:, :half].abs(), (y[:, half:].abs() + t) * scale * (1 + s)], -1), s.sum(-1)


def _step_residuals(inputs: Inputs, result: Any) -> Iterator[Residual]:
    r"""The loss, and the parameters after the step, beside the same in double precision.

    The first step of Adam is $-\eta\,g/(\lvert g\rvert + 10^{-8})$ of the gradient g, which changes by at most
    $\min(2, \delta/(\lvert g\rvert + 10^{-8}))\eta$ when g changes by $\delta \le \lvert g\rvert$, and by $2\eta$ in any case.
    The error of g is that of its sums, and that of hidden units so near to 0 that rounding turns them on or off.
    """
    x, w1, b1, w2, b2 = (t.detach().double() for t in inputs)
    eps, half, rows = torch.finfo(inputs[0].dtype).eps, x.shape[1] // 2, len(x)
    kept = x[:, :half]
    (y, log_det), (s, _) = _true("forward")(x, w1, b1, w2, b2), _terms(x, w1, b1, w2, b2)
    before, sizes = kept @ w1.mT + b1, kept.abs() @ w1.abs().mT + b1.abs()
    on, unsure = (before > 0).double(), (before.abs() <= ULPS * eps * sizes).double()
    pull, stretched = y[:, half:], y[:, half:] - (before.relu() @ w2.mT + b2)[:, half:]
    # Slopes of the loss in the log-scales, the shifts and the hidden layer, and how large what they sum up is.
    slope = torch.cat([pull * stretched - 1, pull], -1) / rows
    far = _forward_terms(x, w1, b1, w2, b2)[0][:, half:]
    size = torch.cat([far * (stretched.abs() * (1 + s) + far) + 1, far], -1) / rows
    inner, inner_size = (slope @ w2) * on, size @ w2.abs()
    truths = {
        "w1": (w1, inner.mT @ kept, inner_size.mT @ kept.abs(), (inner_size * unsure).mT @ kept.abs()),
        "b1": (b1, inner.sum(0), inner_size.sum(0), (inner_size * unsure).sum(0)),
        "w2": (w2, slope.mT @ before.relu(), size.mT @ sizes, 0.0 * w2),
        "b2": (b2, slope.sum(0), size.sum(0), 0.0 * b2),
    }
    loss = y.square().sum() / 2 / rows - log_det.mean()
    terms = (y.abs() * _forward_terms(x, w1, b1, w2, b2)[0]).sum() / rows + s.sum(-1).mean()
    value, *parameters, order = result
    yield close(value, loss, ulps=ULPS, scale=terms, what="the loss")
    for (name, (start, slope_of, scale, flips)), after in zip(truths.items(), parameters, strict=True):
        found = after if start is w1 or start is b1 else torch.empty_like(after).index_copy(0, order, after)
        moved_by = RATE * slope_of / (slope_of.abs() + 1e-8)
        wrong = (ULPS * eps * scale + flips) / (slope_of.abs() + 1e-8)
        radius = RATE * torch.where(wrong < 0.5, 2 * wrong, 2.0).clamp(max=2.0)
        true = Ball(start - moved_by, radius, kind=Kind.NUMERICAL, source="the formula in double precision")
        yield close(found, true, ulps=4, scale=start.abs() + RATE, what=name)


def _work(size: Size) -> Work:
    rows, n, hidden = size["rows"], size["n"], size["hidden"]
    weights = hidden * (n // 2) + n * hidden
    return Work(2 * rows * n + rows + weights, 2 * rows * weights)


def _step_work(size: Size) -> Work:
    # Backward, both layers need the gradient of their weights, and the second one that of its input.
    rows, n, hidden = size["rows"], size["n"], size["hidden"]
    first, second = hidden * (n // 2), n * hidden
    return Work(rows * n + 7 * (first + second), 2 * rows * (2 * first + 3 * second))


_BUILDERS: dict[str, tuple[Callable[..., Flow], str]] = {
    "nflows": (nflows, "nflows"),
    "normflows": (normflows, "normflows"),
    "zuko": (zuko, "zuko"),
    "pyro": (pyro, "pyro"),
}


def _directed(direction: str, jitted: str) -> dict[str, Contender]:
    ours = {OURS: _mapping(_ours, direction), COMPILED: _mapping(_ours, direction, compile=True)}
    peers = {name: _mapping(build, direction, need) for name, (build, need) in _BUILDERS.items()}
    return {**ours, PLAIN: _mapping(_plain, direction), **peers, "flowjax (jit)": _jitted(jitted)}


FORWARD = Kernel(
    "coupling",
    "Affine coupling with its log-determinant, forward",
    "flows.coupling",
    SIZES,
    _inputs,
    _directed("forward", "transform_and_log_det"),
    against(_true("forward"), _forward_terms, ULPS),
    _work,
    CARD_SIZES,
)

KERNELS = (
    FORWARD,
    replace(
        FORWARD,
        name="coupling_inverse",
        title="Affine coupling with its log-determinant, inverse",
        contenders=_directed("inverse", "inverse_and_log_det"),
        residuals=against(_true("inverse"), _inverse_terms, ULPS),
    ),
    replace(
        FORWARD,
        name="coupling_step",
        title="Affine coupling, training step",
        contenders={
            OURS: _step(_ours, take=our_step),
            COMPILED: _step(_ours, take=our_compiled_step),
            PLAIN: _step(_plain),
            **{name: _step(build, need) for name, (build, need) in _BUILDERS.items()},
            "flowjax (jit)": _jitted_step(),
        },
        residuals=_step_residuals,
        work=_step_work,
    ),
)
