"""Training steps of three flows by their ELBO on a posterior bent like a banana: small, so that overhead rules."""

from __future__ import annotations

import copy
import functools
import importlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from mathcheck.bench.jax import module as one_threaded_jax
from mathcheck.bench.kernel import COMPILED, OURS, PLAIN, Call, Contender, Inputs, Kernel, Size, Work
from mathcheck.bench.kernels.hamiltonian import posterior_of
from mathcheck.bench.training import Objective, our_step, plain_step
from mathcheck.engine.residual import Kind, Residual, close
from mathcheck.models.banana import Flow, nice_flow, planar_flow, real_nvp_flow

RATE, EPS, DATA = 1e-3, 1e-8, 100
FLOWS: dict[str, Callable[[], Flow]] = {"planar": planar_flow, "nice": nice_flow, "real_nvp": real_nvp_flow}


def _flow(kind: str, like: Tensor) -> Flow:
    """The same weights for everybody."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FLOWS[kind]().to(like)


class Plain(nn.Module):
    """The same as it is written down: layer by layer, log-densities from distributions, sums over the data."""

    def __init__(self, kind: str, flow: Flow) -> None:
        super().__init__()
        self.kind = kind
        if kind == "planar":
            w, u, b = flow.parameters()
            self.w, self.u, self.b = (nn.ParameterList([row.detach().clone() for row in rows]) for rows in (w, u, b))
        else:
            self.layers = copy.deepcopy(flow.layers)

    def transform(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Theta and the log-determinants."""
        log_det = torch.zeros_like(z[:, 0])
        if self.kind == "planar":
            for w, u, b in zip(self.w, self.u, self.b, strict=True):
                product = (w * u).sum()
                direction = u + (torch.log1p(product.exp()) - 1 - product) * w / (w * w).sum()
                bend = torch.tanh(z @ w + b)
                log_det = log_det + torch.log(torch.abs(1 + (1 - bend**2) * (w * direction).sum()))
                z = z + bend[:, None] * direction
            return z, log_det
        for layer in self.layers:
            for k, network in enumerate(layer.shifts if self.kind == "nice" else layer.conditioners):  # type: ignore[arg-type]
                kept, moved = z[:, k : k + 1], z[:, 1 - k : 2 - k]
                found = network(kept)
                if self.kind == "nice":
                    moved = moved + found
                else:
                    moved = moved * found[:, :1].exp() + found[:, 1:]
                    log_det = log_det + found[:, 0]
                z = torch.cat([kept, moved] if k == 0 else [moved, kept], 1)
            if self.kind == "nice":
                z = z * layer.log_scales.exp()  # type: ignore[operator]
                log_det = log_det + layer.log_scales.sum()  # type: ignore[operator]
        return z, log_det

    def forward(self, noise: Tensor, y: Tensor) -> Tensor:
        """Minus the mean ELBO, `()`."""
        theta, log_det = self.transform(noise)
        base: Any = Normal(0.0, 1.0, validate_args=False)
        likelihood: Any = Normal((theta[:, 0] + theta[:, 1] ** 2)[:, None], 2.0, validate_args=False)
        log_joint = likelihood.log_prob(y).sum(1) + base.log_prob(theta).sum(1)
        value: Tensor = -(log_joint + log_det - base.log_prob(noise).sum(1)).mean()
        return value


def _ours(compile: bool, kind: str, noise: Tensor, y: Tensor) -> Call:
    flow, log_joint = _flow(kind, noise), posterior_of(y).log_joint
    objective = Objective(flow, lambda flow, noise: -flow.elbo(noise, log_joint).mean())
    return our_step(objective, noise, rate=RATE, compile=compile)


def _plain(kind: str, noise: Tensor, y: Tensor) -> Call:
    return plain_step(Plain(kind, _flow(kind, noise)), noise, y, rate=RATE)


def _jax(kind: str, noise: Tensor, y: Tensor) -> Call:
    """Plain formulas on sufficient statistics, with Optax's Adam, gradient and update in one compiled function."""
    jax, optax = one_threaded_jax(), importlib.import_module("optax")
    jnp, posterior = jax.numpy, posterior_of(y)
    log_joint, _ = posterior.by_coordinates

    def network(weights: Any, x: Any) -> Any:
        w1, b1, w2, b2, w3, b3 = weights
        return jnp.tanh(jnp.tanh(x @ w1.T + b1) @ w2.T + b2) @ w3.T + b3

    def transform(parameters: Any, z: Any) -> Any:
        log_det = jnp.zeros(len(z), z.dtype)
        if kind == "planar":
            for w, u, b in zip(*parameters, strict=True):
                product = w @ u
                direction = u + (jax.nn.softplus(-product) - 1) * w / (w @ w)
                bend = jnp.tanh(z @ w + b)
                log_det = log_det + jnp.log1p((jax.nn.softplus(product) - 1) * (1 - bend**2))
                z = z + bend[:, None] * direction
            return z, log_det
        size = 13 if kind == "nice" else 12
        for start in range(0, len(parameters), size):
            layer = parameters[start : start + size]
            first, second = z[:, :1], z[:, 1:]
            if kind == "nice":
                second = second + network(layer[1:7], first)
                first = first + network(layer[7:], second)
                z = jnp.concatenate([first, second], 1) * jnp.exp(layer[0])
                log_det = log_det + layer[0].sum()
            else:
                found = network(layer[:6], first)
                second = second * jnp.exp(found[:, :1]) + found[:, 1:]
                other = network(layer[6:], second)
                first = first * jnp.exp(other[:, :1]) + other[:, 1:]
                z, log_det = jnp.concatenate([first, second], 1), log_det + found[:, 0] + other[:, 0]
        return z, log_det

    def objective(parameters: Any, noise: Any) -> Any:
        theta, log_det = transform(parameters, noise)
        base = -(noise**2).sum(1) / 2 - math.log(2 * math.pi)
        return -(log_joint(theta[:, 0], theta[:, 1]) + log_det - base).mean()

    optimizer = optax.adam(RATE)

    def step(parameters: Any, state: Any, noise: Any) -> Any:
        value, gradient = jax.value_and_grad(objective)(parameters, noise)
        updates, state = optimizer.update(gradient, state)
        return value, optax.apply_updates(parameters, updates), state

    compiled = jax.jit(step)
    with jax.enable_x64(noise.dtype == torch.float64):
        held = [[jnp.asarray(p.detach().numpy()) for p in _flow(kind, noise).parameters()]]
        held.append(optimizer.init(held[0]))
        points = jnp.asarray(noise.numpy())

    def run() -> Any:
        with jax.enable_x64(noise.dtype == torch.float64):
            value, *held[:] = compiled(*held, points)
            return [*jax.block_until_ready((value, *held[0]))]

    return run


def _flat(parameters: Any) -> Tensor:
    parts = [p.detach().cpu() if isinstance(p, Tensor) else torch.from_numpy(np.array(p)) for p in parameters]
    return torch.cat([part.double().flatten() for part in parts])


def _residuals(kind: str, inputs: Inputs, result: Any) -> Iterator[Residual]:
    r"""Loss and parameters after one step, beside those of the plain code in double precision.

    Each gradient is a mean over draws, and what is rounded on its way to it is taken to be 1024 roundings of the mean
    absolute value: a chain of at most eight layers, with sums of 32 terms in each. The first step of Adam is
    $\eta\,g/(\lvert g\rvert + \varepsilon)$, which changes by at most $2\eta\delta/(\lvert g\rvert + \varepsilon)$, or
    $2\eta$, where g does by $\delta$.
    """
    noise, y = (t.cpu() for t in inputs)
    plain = Plain(kind, _flow(kind, noise)).double()
    held = {name: p.detach() for name, p in plain.named_parameters()}

    def one(parameters: dict[str, Tensor], row: Tensor) -> Tensor:
        value: Tensor = torch.func.functional_call(plain, parameters, (row[None], y.double()))
        return value

    each, values = torch.func.vmap(torch.func.grad_and_value(one), in_dims=(None, 0))(held, noise.double())
    before, gradient = _flat(held.values()), _flat([g.mean(0) for g in each.values()])
    rounded = 1024 * torch.finfo(noise.dtype).eps * _flat([g.abs().mean(0) for g in each.values()])
    after = before - RATE * gradient / (gradient.abs() + EPS)
    bound = RATE * (2 * rounded / (gradient.abs() + EPS)).clamp(max=2) + torch.finfo(noise.dtype).eps * before.abs()
    loss, found = float(result[0]), _flat(result[1:])
    yield close(torch.tensor(loss, dtype=noise.dtype), values.mean(), ulps=1024, scale=values.abs().mean(), what="loss")
    worst = int(((found - after).abs() / bound).argmax())
    yield Residual(
        float((found - after)[worst].abs()),
        float(bound[worst]),
        Kind.NUMERICAL,
        "parameters after a step",
        float(found[worst]),
        float(after[worst]),
    )


def _inputs(size: Size, generator: torch.Generator, dtype: torch.dtype) -> Inputs:
    noise = torch.randn(size["draws"], 2, generator=generator).to(dtype)
    return noise, (1.5 + 2 * torch.randn(DATA, generator=generator)).to(dtype)


def _work(kind: str, size: Size) -> Work:
    """Parameters, their gradients and two moments; three products of matrices for each weight and draw."""
    weights = sum(p.numel() for p in _flow(kind, torch.zeros(())).parameters())
    return Work(7 * weights + 4 * size["draws"], 6 * weights * size["draws"])


def _kernel(kind: str, title: str) -> Kernel:
    contenders = {
        OURS: Contender(functools.partial(_ours, False, kind)),
        COMPILED: Contender(functools.partial(_ours, True, kind)),
        PLAIN: Contender(functools.partial(_plain, kind)),
        "jax": Contender(functools.partial(_jax, kind), needs=("jax", "optax"), devices=("cpu",)),
    }
    return Kernel(
        f"elbo_{kind}",
        f"ELBO step on the banana, {title}",
        "inference.flow_elbo",
        tuple({"draws": draws} for draws in (25, 50, 100)),
        _inputs,
        contenders,
        functools.partial(_residuals, kind),
        functools.partial(_work, kind),
    )


KERNELS = (
    _kernel("planar", "8 planar layers"),
    _kernel("nice", "4 layers of NICE"),
    _kernel("real_nvp", "4 layers of RealNVP"),
)
