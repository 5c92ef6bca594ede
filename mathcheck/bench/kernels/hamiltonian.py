"""Hamiltonian Monte Carlo on a posterior bent like a banana: one chain, and many at once.

All contenders run one algorithm with one step size and length, so that a draw of each is worth as many independent ones,
and ratios of times are ratios of effective samples per second.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from mathcheck.bench.jax import module as one_threaded_jax
from mathcheck.bench.kernel import COMPILED, OURS, PLAIN, Call, Contender, Inputs, Kernel, Size, Work
from mathcheck.engine.residual import Kind, Residual
from mathcheck.markov.compiled_chain import compiled_hmc_chain
from mathcheck.markov.hamiltonian import hmc_chain
from mathcheck.models.banana import BananaPosterior
from mathcheck.oracles import statistics

STEP_SIZE, STEPS, DATA = 0.05, 100, 100
ALPHA = 1e-6


def _inputs(size: Size, generator: torch.Generator, dtype: torch.dtype) -> Inputs:
    """Independent draws of the posterior to start from, the number of draws, and the data."""
    y = 1.5 + 2 * torch.randn(DATA, generator=generator, dtype=torch.float64)
    return posterior_of(y).sample(size["chains"], generator).to(dtype), size["draws"], y.to(dtype)


def posterior_of(y: Tensor) -> BananaPosterior:
    """The posterior of data `(n,)`, from their sufficient statistics."""
    return BananaPosterior(len(y), float(y.mean()), float((y - y.mean()).square().sum()))


def _ours(start: Tensor, draws: int, y: Tensor) -> Call:
    generator, posterior = torch.Generator(device=start.device).manual_seed(1), posterior_of(y)
    return lambda: (
        hmc_chain(posterior.log_joint, start, generator, STEP_SIZE, STEPS, draws=draws, score=posterior.score).states
    )


def _compiled(start: Tensor, draws: int, y: Tensor) -> Call:
    generator, functions = torch.Generator().manual_seed(1), posterior_of(y).by_coordinates
    return lambda: compiled_hmc_chain(*functions, start, generator, STEP_SIZE, STEPS, draws=draws).states


def _plain(start: Tensor, draws: int, y: Tensor) -> Call:
    """A loop over steps on NumPy's arrays, with sums over the data at each; all chains at once."""
    data, generator = y.numpy(), np.random.default_rng(1)

    def misfit(q: Any) -> Any:
        return data - (q[:, :1] + q[:, 1:] ** 2)

    def energy(q: Any) -> Any:
        return (misfit(q) ** 2).sum(1) / 8 + (q**2).sum(1) / 2

    def gradient(q: Any) -> Any:
        d = misfit(q).sum(1)
        return q - np.stack([d / 4, q[:, 1] * d / 2], 1)

    def run() -> Any:
        here, states = start.numpy(), []
        for _ in range(draws):
            momentum = generator.standard_normal(here.shape)
            q, p = here, momentum - STEP_SIZE / 2 * gradient(here)
            for _ in range(STEPS):
                q = q + STEP_SIZE * p
                p = p - STEP_SIZE * gradient(q)
            p = p + STEP_SIZE / 2 * gradient(q)
            change = energy(here) - energy(q) + ((momentum**2).sum(1) - (p**2).sum(1)) / 2
            here = np.where((generator.standard_exponential(len(here)) >= -change)[:, None], q, here)
            states.append(here)
        return np.stack(states)

    return run


def _blackjax(sufficient: bool) -> Contender:
    """Its kernel, scanned over draws, mapped over chains and compiled; on sufficient statistics or on the data."""

    def prepare(start: Tensor, draws: int, y: Tensor) -> Call:
        jax, blackjax = one_threaded_jax(), importlib.import_module("blackjax")
        jnp = jax.numpy
        log_joint, _ = posterior_of(y).by_coordinates
        with jax.enable_x64(True):
            data, first = jnp.asarray(y.numpy()), jnp.asarray(start.numpy())

        def log_density(q: Any) -> Any:
            if sufficient:
                return log_joint(q[0], q[1])
            return -((data - (q[0] + q[1] ** 2)) ** 2).sum() / 8 - (q**2).sum() / 2

        def chain(key: Any, state: Any) -> Any:
            def step(state: Any, key: Any) -> Any:
                state, _ = kernel.step(key, state)
                return state, state.position

            return jax.lax.scan(step, state, jax.random.split(key, draws))[1]

        def many(key: Any, first: Any) -> Any:
            key, use = jax.random.split(key)
            if len(first) == 1:
                return key, chain(use, kernel.init(first[0]))[:, None]
            states = jax.vmap(lambda k, q: chain(k, kernel.init(q)), out_axes=1)
            return key, states(jax.random.split(use, len(first)), first)

        with jax.enable_x64(True):
            kernel = blackjax.hmc(log_density, STEP_SIZE, jnp.ones(2), STEPS)
            run, keys = jax.jit(many), [jax.random.key(1)]

        def call() -> Any:
            with jax.enable_x64(True):
                keys[0], states = run(keys[0], first)
                return jax.block_until_ready(states)

        return call

    return Contender(prepare, needs=("jax", "blackjax"), devices=("cpu",))


def effective_size(values: Tensor) -> float:
    r"""How many independent draws are worth as much as those of a chain, by Geyer's initial positive sequence.

    $N/(1 + 2\sum_t\rho_t)$, summed over pairs $\rho_{2t} + \rho_{2t+1}$ as long as these are positive, as they are for a
    reversible chain; of several chains the autocovariances are averaged, and the sizes added.

    Args:
        values: `(draws, chains)`, of stationary chains with one law.
    """
    centred = (values - values.mean()).double()
    draws, chains = values.shape
    spectrum = torch.fft.rfft(centred, n=2 * draws, dim=0).abs().square()
    covariances = torch.fft.irfft(spectrum, n=2 * draws, dim=0)[:draws].mean(1) / draws
    pairs = (covariances[: draws // 2 * 2] / covariances[0]).reshape(-1, 2).sum(1)
    length = int((pairs > 0).long().cumprod(0).sum())
    return draws * chains / max(float(2 * pairs[:length].sum() - 1), 1 / (draws * chains))


@functools.cache
def _truth(posterior: BananaPosterior) -> dict[str, float]:
    """Means under the posterior by the trapezium rule, which on a smooth peak is as exact as its sums."""
    t = torch.linspace(-5, 5, 20_001, dtype=torch.float64)
    mean, _, log_density = posterior.conditional(t)
    weight = log_density.exp() / log_density.exp().sum()
    return {
        "theta1": float((weight * mean).sum()),
        "theta2^2": float((weight * t.square()).sum()),
        "|theta2| > 1": float(weight[t.abs() > 1].sum()),
    }


def _residuals(inputs: Inputs, result: Any) -> Iterator[Residual]:
    """Every state has the posterior's law: means over chains and draws, beside quadrature."""
    start, draws, y = inputs
    states = (result.cpu() if isinstance(result, Tensor) else torch.from_numpy(np.array(result))).double()
    if states.shape != (draws, *start.shape):
        raise ValueError(f"states of shape {tuple(states.shape)}, expected {(draws, *start.shape)}")
    truth, (first, second) = _truth(posterior_of(y.double().cpu())), states.unbind(-1)
    far = (second.abs() > 1).double()
    if states.shape[1] > 1:
        # Chains are independent, and each one's share is a number between 0 and 1 with the right mean.
        yield statistics.bounded_mean(far.mean(0), truth["|theta2| > 1"], 0.0, 1.0, what="P(|theta2| > 1)")
    for name, values in {"theta1": first, "theta2^2": second.square(), "|theta2| > 1": far}.items():
        bound = stats.norm.isf(ALPHA / 2) * float(values.std()) / math.sqrt(min(effective_size(values), values.numel()))
        yield Residual(
            abs(float(values.mean()) - truth[name]),
            bound,
            Kind.ASYMPTOTIC,
            f"mean of {name}",
            float(values.mean()),
            truth[name],
            source="quadrature",
            alpha=ALPHA,
        )


def _work(size: Size) -> Work:
    """Noise and states; 12 operations for each chain and leapfrog step."""
    moves = size["chains"] * size["draws"]
    return Work(5 * moves, 12 * STEPS * moves)


def _kernel(name: str, title: str, sizes: tuple[Size, ...], card_sizes: tuple[Size, ...]) -> Kernel:
    return Kernel(
        name,
        title,
        "markov.hamiltonian",
        sizes,
        _inputs,
        {
            OURS: Contender(_ours),
            COMPILED: Contender(_compiled, needs=("numba",), devices=("cpu",)),
            PLAIN: Contender(_plain, devices=("cpu",)),
            "blackjax": _blackjax(True),
            "blackjax, on the data": _blackjax(False),
        },
        _residuals,
        _work,
        card_sizes,
        torch.float64,
    )


KERNELS = (
    _kernel(
        "hmc_one_chain",
        "HMC on the banana, one chain",
        tuple({"chains": 1, "draws": draws} for draws in (50, 100, 400)),
        tuple({"chains": 1, "draws": draws} for draws in (5, 10, 20)),
    ),
    _kernel(
        "hmc_many_chains",
        "HMC on the banana, many chains",
        tuple({"chains": chains, "draws": 20} for chains in (64, 256, 1024)),
        tuple({"chains": chains, "draws": 10} for chains in (2**14, 2**17, 2**20)),
    ),
)
