"""The gambler's ruin: weights of games played with other odds, whose mean is the probability of reaching the target."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from mathcheck.bench.jax import module as one_threaded_jax
from mathcheck.bench.kernel import OURS, PLAIN, Call, Contender, Inputs, Kernel, Size, Work
from mathcheck.engine.residual import Residual, close
from mathcheck.oracles import statistics
from mathcheck.probability.gamblers_ruin import hit_within
from mathcheck.probability.ruin_paths import log_estimate, sample_log_weights

WIN, PROPOSAL = Fraction(18, 37), 0.55
SIZES = ({"games": 300, "bets": 60}, {"games": 1000, "bets": 240}, {"games": 3000, "bets": 600})


def _inputs(size: Size, generator: Generator, dtype: torch.dtype) -> Inputs:
    """Where to compute, how many games of how many bets, and the coins of which there are twice as many in the end."""
    return torch.zeros((), dtype=dtype), size["games"], size["bets"], size["bets"] // 6


def _ours(place: Tensor, games: int, bets: int, coins: int) -> Call:
    generator = Generator(device=place.device).manual_seed(1)

    def run() -> tuple[Tensor, Tensor]:
        log_weights = sample_log_weights(games, coins, 2 * coins, bets, float(WIN), PROPOSAL, generator)
        return log_weights.exp(), log_estimate(log_weights)[0].exp()

    return run


def _plain(place: Tensor, games: int, bets: int, coins: int) -> Call:
    """One bet after the other, one game after the other."""
    uniform, p, q = random.Random(1).random, float(WIN), PROPOSAL

    def run() -> tuple[list[float], float]:
        weights = []
        for _ in range(games):
            fortune, weight = coins, 1.0
            for _ in range(bets):
                if uniform() < q:
                    fortune, weight = fortune + 1, weight * p / q
                else:
                    fortune, weight = fortune - 1, weight * (1 - p) / (1 - q)
                if fortune in (0, 2 * coins):
                    break
            weights.append(weight if fortune == 2 * coins else 0.0)
        return weights, sum(weights) / games

    return run


def _numpy(place: Tensor, games: int, bets: int, coins: int) -> Call:
    generator, p, q = np.random.default_rng(1), float(WIN), PROPOSAL

    def run() -> tuple[Any, Any]:
        wins = generator.random((games, bets), dtype=np.float32) < q
        fortune = coins + np.where(wins, np.int16(1), np.int16(-1)).cumsum(1, dtype=np.int16)
        decided = (fortune <= 0) | (fortune >= 2 * coins)
        last = decided.argmax(1)
        reached = np.take_along_axis(fortune, last[:, None], 1)[:, 0] >= 2 * coins
        won = (last + 1 + coins) // 2
        weights = np.where(reached, (p / q) ** won * ((1 - p) / (1 - q)) ** (won - coins), 0.0)
        return weights, weights.mean()

    return run


def _jax(place: Tensor, games: int, bets: int, coins: int) -> Call:
    jax = one_threaded_jax()
    jnp, p, q = jax.numpy, float(WIN), PROPOSAL

    def play(key: Any) -> tuple[Any, Any, Any]:
        key, use = jax.random.split(key)
        wins = jax.random.uniform(use, (games, bets)) < q
        fortune = coins + jnp.where(wins, 1, -1).cumsum(1)
        decided = (fortune <= 0) | (fortune >= 2 * coins)
        last = decided.argmax(1)
        reached = jnp.take_along_axis(fortune, last[:, None], 1)[:, 0] >= 2 * coins
        won = (last + 1 + coins) // 2
        logs = won * math.log(p / q) + (won - coins) * math.log((1 - p) / (1 - q))
        weights = jnp.where(reached, jnp.exp(logs), 0.0)
        return key, weights, weights.mean()

    state, compiled = [jax.random.key(1)], jax.jit(play)

    def run() -> Any:
        state[0], *found = compiled(state[0])
        return jax.block_until_ready(found)

    return run


def _drawing(bits: int) -> Contender:
    """The random numbers alone, of so many bits: what no code that draws one a bet can go below."""

    def prepare(place: Tensor, games: int, bets: int, coins: int) -> Call:
        generator = Generator(device=place.device).manual_seed(1)

        def run() -> Tensor:
            if bits == 32:
                return torch.rand(games, bets, generator=generator, device=place.device)
            words = torch.empty(games * bets // 4, dtype=torch.long, device=place.device)
            return words.random_(-(2**63), None, generator=generator).view(torch.int16)

        return run

    return Contender(prepare)


@functools.cache
def _exact(bets: int, coins: int) -> float:
    return float(hit_within(coins, 2 * coins, bets, WIN))


def _largest(bets: int, coins: int) -> float:
    """The weight of a game that reaches the target as soon, or as late, as it can: others lie between."""
    p, q = float(WIN), PROPOSAL
    ratio = p * (1 - p) / (q * (1 - q))
    return (p / q) ** coins * max(1.0, ratio ** ((bets - coins) // 2))


def _residuals(inputs: Inputs, result: Any) -> Iterator[Residual]:
    """The mean weight by betting against the exact probability; an estimate that is not the mean is refuted, too."""
    _, games, bets, coins = inputs
    if isinstance(result, Tensor):
        span = (0.0, 1.0) if result.dtype == torch.float32 else (-(2.0**15), 2.0**15 - 1)
        yield statistics.bounded_mean(result.flatten()[:100_000], sum(span) / 2, *span, what="random numbers")
        return
    weights = result[0].cpu() if isinstance(result[0], Tensor) else torch.from_numpy(np.array(result[0]))
    estimate = torch.as_tensor(float(result[1]), dtype=weights.dtype)
    # Logarithms of weights are sums of `bets` terms, or their powers are of that order: so many roundings.
    top = _largest(bets, coins) * (1 + bets * torch.finfo(weights.dtype).eps)
    yield statistics.bounded_mean(weights, _exact(bets, coins), 0.0, top, what="mean weight")
    yield close(estimate, weights.double().mean(), ulps=games, scale=weights.double().mean(), what="estimate")


RUIN = Kernel(
    "gamblers_ruin",
    "Gambler's ruin, importance sampling",
    "probability.gamblers_ruin",
    SIZES,
    _inputs,
    {
        OURS: Contender(_ours),
        PLAIN: Contender(_plain, devices=("cpu",)),
        "random numbers alone, 32 bits": _drawing(32),
        "random numbers alone, 16 bits": _drawing(16),
        "numpy": Contender(_numpy, needs=("numpy",), devices=("cpu",)),
        "jax": Contender(_jax, needs=("jax",), devices=("cpu",)),
    },
    _residuals,
    # A byte of random numbers a bet: two bits decide it on average, but a word of 64 bets draws until all are decided.
    lambda size: Work(size["games"] * size["bets"] / 8),
    card_sizes=({"games": 2**16, "bets": 600}, {"games": 2**19, "bets": 600}, {"games": 2**22, "bets": 600}),
    dtype=torch.float64,
)

KERNELS = (RUIN,)
