"""Stochastic gradient descent with two gradient estimators: thousands of small steps, each waiting for the one before."""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from mathcheck.bench.jax import module as one_threaded_jax
from mathcheck.bench.kernel import OURS, PLAIN, Call, Contender, Inputs, Kernel, Size, Work
from mathcheck.engine.residual import Kind, Residual
from mathcheck.experiments.estimator_race import DRAWS, RATE, SAMPLE_PATH, SCORE_FUNCTION, Estimate, descend

ALPHA = 1e-6
SIZES = ({"steps": 300}, {"steps": 2000}, {"steps": 10_000})


def score_function(theta: Tensor, z: Tensor) -> Tensor:
    """The score-function estimate of the gradient in mu and log sigma, from standard normal noise `(n,)`."""
    mu, sigma = theta[0], theta[1].exp()
    x = mu + sigma * z
    f = x * x.sin()
    return torch.stack([(f * z).mean() / sigma, (f * (z * z - 1)).mean()]) + torch.stack([mu - 1, sigma - 1])


def sample_path(theta: Tensor, z: Tensor) -> Tensor:
    """The pathwise estimate of the same gradient."""
    mu, sigma = theta[0], theta[1].exp()
    x = mu + sigma * z
    slope = x.sin() + x * x.cos()
    return torch.stack([slope.mean(), (slope * z).mean() * sigma]) + torch.stack([mu - 1, sigma - 1])


def _plain(gradient: Callable[[Tensor, Tensor], Tensor], place: Tensor, steps: int) -> Call:
    """The loop as it is written down: fresh noise at every step, tensors throughout."""
    generator = torch.Generator().manual_seed(1)

    def run() -> Tensor:
        theta = torch.zeros(2, dtype=torch.float64)
        visited = [theta]
        for _ in range(steps):
            theta = theta - RATE * gradient(theta, torch.randn(DRAWS, generator=generator, dtype=torch.float64))
            visited.append(theta)
        points = torch.stack(visited)
        return torch.stack([points[:, 0], points[:, 1].exp()], 1)

    return run


def _ours(estimate: Estimate, place: Tensor, steps: int) -> Call:
    generator = torch.Generator().manual_seed(1)
    return lambda: descend(estimate, steps, generator)


def _drawing(place: Tensor, steps: int) -> Call:
    """The noise alone, in bulk."""
    generator = torch.Generator().manual_seed(1)
    return lambda: torch.randn(steps, DRAWS, generator=generator)


def _jax(score: bool, place: Tensor, steps: int) -> Call:
    """A scan over steps, compiled."""
    jax = one_threaded_jax()
    jnp = jax.numpy

    def step(theta: Any, key: Any) -> Any:
        mu, sigma = theta[0], jnp.exp(theta[1])
        z = jax.random.normal(key, (DRAWS,))
        x = mu + sigma * z
        if score:
            f = x * jnp.sin(x)
            gradient = jnp.stack([(f * z).mean() / sigma, (f * (z * z - 1)).mean()])
        else:
            slope = jnp.sin(x) + x * jnp.cos(x)
            gradient = jnp.stack([slope.mean(), (slope * z).mean() * sigma])
        theta = theta - RATE * (gradient + jnp.stack([mu - 1, sigma - 1]))
        return theta, jnp.stack([theta[0], jnp.exp(theta[1])])

    def race(key: Any) -> Any:
        key, use = jax.random.split(key)
        visited = jax.lax.scan(step, jnp.zeros(2), jax.random.split(use, steps))[1]
        return key, jnp.concatenate([jnp.array([[0.0, 1.0]]), visited])

    keys, run = [jax.random.key(1)], jax.jit(race)

    def call() -> Any:
        keys[0], visited = run(keys[0])
        return jax.block_until_ready(visited)

    return call


def _numba(score: bool, place: Tensor, steps: int) -> Call:
    """Loops over steps and draws, compiled; noise in bulk."""
    numba: Any = importlib.import_module("numba")
    generator = torch.Generator().manual_seed(1)

    def race(noise: Any, visited: Any) -> None:
        mu, tau = 0.0, 0.0
        visited[0, 0], visited[0, 1] = 0.0, 1.0
        for k in range(len(noise)):
            sigma, first, second = math.exp(tau), 0.0, 0.0
            for z in noise[k]:
                x = mu + sigma * z
                if score:
                    f = x * math.sin(x)
                    first += f * z / sigma
                    second += f * (z * z - 1)
                else:
                    slope = math.sin(x) + x * math.cos(x)
                    first += slope
                    second += slope * z * sigma
            mu -= RATE * (first / noise.shape[1] + mu - 1)
            tau -= RATE * (second / noise.shape[1] + sigma - 1)
            visited[k + 1, 0], visited[k + 1, 1] = mu, math.exp(tau)

    compiled = numba.njit(race)

    def call() -> Tensor:
        visited = np.empty((steps + 1, 2))
        compiled(torch.randn(steps, DRAWS, generator=generator).numpy(), visited)
        return torch.from_numpy(visited)

    return call


def mean_gradient(mu: Tensor, sigma: Tensor) -> Tensor:
    r"""$\nabla J$ in mu and log sigma, `(n, 2)`: of $e^{-\sigma^2/2}(\mu\sin\mu + \sigma^2\cos\mu)$ and the penalty."""
    decay, s2 = torch.exp(-sigma.square() / 2), sigma.square()
    in_mu = decay * (mu.sin() + mu * mu.cos() - s2 * mu.sin()) + mu - 1
    in_tau = s2 * decay * (2 * mu.cos() - mu * mu.sin() - s2 * mu.cos()) + sigma - 1
    return torch.stack([in_mu, in_tau], 1)


def _residuals(inputs: Inputs, result: Any) -> Iterator[Residual]:
    """Every step follows the gradient on average: what it adds to the exact one is noise of mean 0, given the point."""
    _, steps = inputs
    visited = (result if isinstance(result, Tensor) else torch.from_numpy(np.array(result))).double()
    if visited.shape == (steps, DRAWS):
        bound = stats.norm.isf(ALPHA / 2) / math.sqrt(visited.numel())
        yield Residual(abs(float(visited.mean())), bound, Kind.STATISTICAL, "mean of the noise", alpha=ALPHA)
        return
    if visited.shape != (steps + 1, 2):
        raise ValueError(f"a path of shape {tuple(visited.shape)}, expected {(steps + 1, 2)}")
    points = torch.stack([visited[:, 0], visited[:, 1].log()], 1)
    noise = -points.diff(dim=0) / RATE - mean_gradient(*visited[:-1].unbind(1))
    for k, name in enumerate(("mu", "log sigma")):
        # A sum of martingale differences over the root of their squares' sum is nearly normal.
        bound = stats.norm.isf(ALPHA / 2) * float(noise[:, k].square().sum().sqrt())
        yield Residual(abs(float(noise[:, k].sum())), bound, Kind.ASYMPTOTIC, f"noise in {name}", alpha=ALPHA)


def _inputs(size: Size, generator: torch.Generator, dtype: torch.dtype) -> Inputs:
    return torch.zeros((), dtype=dtype), size["steps"]


def _kernel(name: str, title: str, estimate: Estimate, gradient: Callable[[Tensor, Tensor], Tensor]) -> Kernel:
    score = estimate is SCORE_FUNCTION
    contenders = {
        OURS: Contender(functools.partial(_ours, estimate)),
        PLAIN: Contender(functools.partial(_plain, gradient)),
        "the noise alone": Contender(_drawing),
        "jax": Contender(functools.partial(_jax, score), needs=("jax",), devices=("cpu",)),
        "numba": Contender(functools.partial(_numba, score), needs=("numba",), devices=("cpu",)),
    }
    derivation = "inference.log_derivative" if score else "inference.reparameterization"
    # Numbers at random, read once; some ten operations on each, the sine counted as one.
    return Kernel(
        name,
        title,
        derivation,
        SIZES,
        _inputs,
        contenders,
        _residuals,
        lambda size: Work(DRAWS * size["steps"], 10 * DRAWS * size["steps"]),
    )


KERNELS = (
    _kernel("race_score_function", "SGD race, score function", SCORE_FUNCTION, score_function),
    _kernel("race_sample_path", "SGD race, sample path", SAMPLE_PATH, sample_path),
)
