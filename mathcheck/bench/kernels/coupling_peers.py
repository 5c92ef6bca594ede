"""Other libraries' affine couplings of two halves, with one hidden layer of given weights in their own networks."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions.transforms import AffineTransform

from mathcheck.bench.jax import module as one_threaded_jax
from mathcheck.bench.nets import loaded, net

Pair = tuple[Tensor, Tensor]
Map = Callable[[Tensor], Pair]


class Flow(NamedTuple):
    """A coupling: both directions, its network, and which rows of the second layer the network's own rows are."""

    forward: Map
    inverse: Map
    network: nn.Module
    rows: Tensor


def in_order(weights: tuple[Tensor, ...]) -> Tensor:
    """Rows for a network that gives the log-scales before the shifts."""
    return torch.arange(len(weights[3]), device=weights[3].device)


def swapped(n: int, like: Tensor) -> Tensor:
    """Rows for a network that gives the shifts before the log-scales."""
    return torch.arange(n, device=like.device).roll(n // 2)


def in_turn(n: int, like: Tensor) -> Tensor:
    """Rows for a network that gives shifts and log-scales in turn."""
    return swapped(n, like).reshape(2, -1).mT.flatten()


def nflows(*weights: Tensor) -> Flow:
    """The coupling of nflows."""
    coupling: Any = importlib.import_module("nflows.transforms.coupling")
    nets: Any = importlib.import_module("nflows.nn.nets")
    n, hidden = weights[2].shape

    class Exponential(coupling.AffineCouplingTransform):  # type: ignore[misc]
        """Its own scale is sigmoid(s + 2) + 0.001, another function."""

        def _scale_and_shift(self, parameters: Tensor) -> Pair:
            return parameters[:, n // 2 :].exp(), parameters[:, : n // 2]

    class Network(nets.MLP):  # type: ignore[misc]
        def forward(self, kept: Tensor, context: None) -> Any:
            return super().forward(kept)

    w1, b1, w2, b2 = weights
    rows = swapped(n, w2)
    mask = (torch.arange(n) >= n // 2).int()
    flow = loaded(Exponential(mask, lambda k, m: Network((k,), (m,), [hidden])), w1, b1, w2[rows], b2[rows])
    return Flow(flow.forward, flow.inverse, flow, rows)


def normflows(*weights: Tensor) -> Flow:
    """The coupling of normflows."""
    library: Any = importlib.import_module("normflows")
    w1, b1, w2, b2 = weights
    n, hidden = w2.shape
    rows = in_turn(n, w2)
    network = loaded(library.nets.MLP([n // 2, hidden, n]), w1, b1, w2[rows], b2[rows])
    flow = library.flows.AffineCouplingBlock(network).to(w2)
    return Flow(flow.forward, flow.inverse, network, rows)


def zuko(*weights: Tensor) -> Flow:
    """The coupling of zuko."""
    transforms: Any = importlib.import_module("zuko.transforms")
    n = len(weights[3])
    network = net(weights, nn.ReLU)

    def transform(kept: Tensor) -> Any:
        s, t = network(kept).chunk(2, -1)
        # Its own affine transform squashes the log-scales, another function.
        return transforms.DependentTransform(AffineTransform(t, s.exp()), 1)

    flow = transforms.CouplingTransform(transform, (torch.arange(n) < n // 2).to(weights[0].device))
    return Flow(flow.call_and_ladj, flow.inv.call_and_ladj, network, in_order(weights))


def pyro(*weights: Tensor) -> Flow:
    """The coupling of pyro."""
    transforms: Any = importlib.import_module("pyro.distributions.transforms")
    nn_module: Any = importlib.import_module("pyro.nn")
    w1, b1, w2, b2 = weights
    n, hidden = w2.shape
    rows = swapped(n, w2)
    network = loaded(nn_module.DenseNN(n // 2, [hidden], [n // 2, n // 2]), w1, b1, w2[rows], b2[rows])
    flow = transforms.AffineCoupling(n // 2, network)

    def forward(x: Tensor) -> Pair:
        flow.clear_cache()  # it remembers the last point
        y = flow(x)
        return y, flow.log_abs_det_jacobian(x, y)

    def inverse(y: Tensor) -> Pair:
        flow.clear_cache()
        x = flow.inv(y)
        return x, -flow.log_abs_det_jacobian(x, y)

    return Flow(forward, inverse, network, rows)


def flowjax(x: Tensor, *weights: Tensor) -> tuple[Any, Any, Any]:
    """The library's coupling with these weights, the points, and jax."""
    jax = one_threaded_jax()
    equinox: Any = importlib.import_module("equinox")
    paramax: Any = importlib.import_module("paramax")
    bijections: Any = importlib.import_module("flowjax.bijections")
    jnp = jax.numpy
    w1, b1, w2, b2 = weights
    n, hidden = w2.shape
    # Its own scale is a softplus, another function.
    affine = equinox.tree_at(lambda a: a.scale, bijections.Affine(), paramax.Parameterize(jnp.exp, jnp.zeros(())))
    flow = bijections.Coupling(
        jax.random.key(0), transformer=affine, untransformed_dim=n // 2, dim=n, nn_width=hidden, nn_depth=1
    )
    rows = in_turn(n, w2)
    flow = equinox.tree_at(
        lambda f: [part for layer in f.conditioner.layers for part in (layer.weight, layer.bias)],
        flow,
        [jnp.asarray(t.numpy()) for t in (w1, b1, w2[rows], b2[rows])],
    )
    return flow, jnp.asarray(x.numpy()), jax
