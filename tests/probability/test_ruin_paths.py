"""Bits with given odds, and games walked eight bets at a time, beside the same bet by bet."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from mathcheck.oracles import statistics
from mathcheck.probability import ruin_paths
from mathcheck.probability.ruin_paths import _biased_bits, _log_weight, _walk, stopped_log_weight

CPU = torch.device("cpu")


def unpacked(words: Tensor) -> Tensor:
    """`(n, 8 bytes)` -> `(n, 64)` bits of bytes, the lowest first."""
    return ((words.unsqueeze(-1) >> torch.arange(8)) & 1).flatten(-2)


def drawn(odds: float, words: int = 4000) -> Tensor:
    return unpacked(_biased_bits(words, odds, Generator().manual_seed(5), CPU).view(torch.uint8).view(words, 8))


@pytest.mark.parametrize("odds", [0.5, 0.55, 1 / 3, 0.75, 2.0**-12, 1 - 2.0**-12, 1e-300, 0.9999999])
def test_bits_have_the_odds(odds: float) -> None:
    bits = drawn(odds)
    assert statistics.binomial(int(bits.sum()), bits.numel(), odds).ratio <= 1
    for place in (0, 31, 63):
        assert statistics.binomial(int(bits[:, place].sum()), len(bits), odds).ratio <= 1
    # Neighbours in a word, and the same place in neighbouring words, are independent.
    for both in (bits[:, ::2] & bits[:, 1::2], bits[::2] & bits[1::2]):
        assert statistics.binomial(int(both.sum()), both.numel(), odds**2).ratio <= 1


def test_a_hundredth_more_is_seen() -> None:
    bits = drawn(0.56)
    assert statistics.binomial(int(bits.sum()), bits.numel(), 0.55).ratio > 1


@pytest.mark.parametrize(("start", "target"), [(1, 2), (1, 5), (4, 6), (8, 16), (9, 18), (20, 60), (100, 3000)])
@pytest.mark.parametrize("odds", [0.5, 0.6, 0.1, 0.9])
def test_bytes_decide_a_game_where_bets_do(start: int, target: int, odds: float) -> None:
    n, words = 200, 3
    wins = _biased_bits(n * words, odds, Generator().manual_seed(7), CPU).view(torch.uint8).view(n, 8 * words)
    fortune, bets = _walk(wins, torch.full((n,), start, dtype=torch.int32), target)
    steps = unpacked(wins).bool()
    found = _log_weight(bets, fortune >= target, target - start, 0.45, odds)
    assert bool((found == stopped_log_weight(steps, start, target, 0.45, odds)).all())
    path = start + (2 * steps.long() - 1).cumsum(-1)
    undecided = ((path > 0) & (path < target)).all(-1)
    assert bool((fortune[undecided] == path[undecided, -1]).all())
    assert bool((bets[undecided] == 64 * words).all())


@pytest.mark.parametrize("horizon", [1, 63, 65, 300])
def test_bets_beyond_the_horizon_do_not_count(horizon: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ruin_paths._ROWS, "cpu", 100)
    # With odds of 1 - 1e-9 every bet is won: the target is reached after as many bets as coins are missing.
    for missing, reached in ((horizon, True), (horizon + 1, False)):
        found = ruin_paths.sample_log_weights(250, 1, 1 + missing, horizon, 0.5, 1 - 1e-9, Generator().manual_seed(1))
        assert found.shape == (250,)
        assert bool((found > -torch.inf).all()) == reached
        assert bool((found > -torch.inf).any()) == reached
