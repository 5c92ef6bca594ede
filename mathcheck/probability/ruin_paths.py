r"""Paths of the gambler's ruin, drawn with other odds and weighted up to the bet that decides them.

The logarithm of a weight is a sum over bets, so that no horizon underflows; a path that gained g coins in t bets won
$(t + g)/2$ of them, so that the sum needs only t.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Generator, Tensor

from mathcheck.engine import arguments
from mathcheck.probability.log_mean_exp import log_mean_exp

# How many bets of a path are drawn at once at most, and of how many paths so that they stay in the cache.
_BLOCK = 1024
_ROWS = {"cpu": 4096, "cuda": 2**20}


def check_game(start: int, target: int, horizon: int = 0) -> None:
    """Refuses a game that is none.

    Args:
        start: from 0 to `target`.
        target: at least 1.
        horizon: at least 0.

    Raises:
        TypeError: if one of them is no integer.
        ValueError: if one of them is out of range.
    """
    arguments.at_least(0, start=start, horizon=horizon)
    arguments.at_least(1, target=target)
    if start > target:
        raise ValueError(f"start must be at most target, {target}, got {start}")


def _log_ratios(win: float, proposal: float) -> tuple[float, float]:
    """log(p/q) and log((1-p)/(1-q)), accurate for odds that nearly agree."""
    arguments.between(0, 1, win=win, proposal=proposal)
    near = abs(win - proposal) < min(proposal, 1 - proposal) / 2
    if near:
        return math.log1p((win - proposal) / proposal), math.log1p((proposal - win) / (1 - proposal))
    return math.log(win) - math.log(proposal), math.log1p(-win) - math.log1p(-proposal)


def _log_weight(bets: Tensor, reached: Tensor, gain: int, win: float, proposal: float) -> Tensor:
    """Of paths that gained `gain` coins in `bets` bets, so that wins and losses need no counting."""
    for_win, for_loss = _log_ratios(win, proposal)
    wins = torch.div(bets + gain, 2, rounding_mode="floor")
    return torch.where(reached, wins.double() * for_win + (wins - gain).double() * for_loss, -math.inf)


def stopped_log_weight(steps: Tensor, start: int, target: int, win: float, proposal: float) -> Tensor:
    r"""$u\log\frac pq + d\log\frac{1-p}{1-q}$ over the u wins and d losses until the target; $-\infty$ if it is not reached.

    The mean of $e^{\ell}$ over paths with odds q is the probability under p. Bets after the decision do not count: they
    would leave the mean alone and add variance.

    Args:
        steps: `(*batch, horizon)`, True for a win.
        start: i, from 1 to N - 1.
        target: N.
        win: p, strictly between 0 and 1.
        proposal: q, strictly between 0 and 1.

    Returns:
        `(*batch,)` in float64.

    Raises:
        TypeError, ValueError: for steps that are not boolean, or arguments out of range.
    """
    check_game(start, target)
    arguments.masks(steps=steps)
    if steps.ndim < 1 or steps.shape[-1] < 1:
        raise ValueError(f"steps must have shape (*batch, horizon) with horizon >= 1, got {tuple(steps.shape)}")
    if not 0 < start < target:
        raise ValueError(f"start must lie strictly between 0 and target={target}, got {start}")
    fortune = start + (2 * steps.long() - 1).cumsum(-1)
    decided = (fortune <= 0) | (fortune >= target)
    bets = decided.to(torch.uint8).argmax(-1, keepdim=True)
    reached = (fortune.gather(-1, bets) >= target).squeeze(-1)
    return _log_weight(bets.squeeze(-1) + 1, reached, target - start, win, proposal)


def sample_log_weights(
    n: int, start: int, target: int, horizon: int, win: float, proposal: float, generator: Generator | None = None
) -> Tensor:
    r"""Independent values of `stopped_log_weight`, of paths of K bets with odds q; at any horizon in memory for 1024 bets.

    A bet is won with probability q to the last digit of the double, and costs nine random bits or so, not 64.

    Args:
        n: at least 1.
        start: i, from 1 to N - 1.
        target: N.
        horizon: K, at least 1.
        win: p, strictly between 0 and 1.
        proposal: q, strictly between 0 and 1.
        generator: source of the randomness; the result is on its device.

    Returns:
        `(n,)` in float64.

    Raises:
        TypeError, ValueError: for arguments out of range.
    """
    check_game(start, target, horizon)
    arguments.at_least(1, n=n, horizon=horizon)
    arguments.between(0, 1, win=win, proposal=proposal)
    if generator is not None:
        arguments.instances(Generator, generator=generator)
    if not 0 < start < target:
        raise ValueError(f"start must lie strictly between 0 and target={target}, got {start}")
    device = torch.device("cpu") if generator is None else generator.device
    rows = _ROWS.get(device.type, n)
    weights = []
    for first in range(0, n, rows):
        fortune, bets = _play(min(rows, n - first), start, target, horizon, proposal, generator, device)
        # Bets are drawn in words of 64: the last may reach beyond the horizon.
        reached = (fortune >= target) & (bets <= horizon)
        weights.append(_log_weight(bets, reached, target - start, win, proposal))
    return torch.cat(weights)


def _play(
    n: int, start: int, target: int, horizon: int, odds: float, generator: Generator | None, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The fortunes `(n,)` where games ended, and after how many bets; undecided ones go on for `horizon` bets at least."""
    fortune = torch.full((n,), start, dtype=torch.int32, device=device)
    bets = torch.zeros_like(fortune)
    # A fair game takes as many bets on average as the product of the distances to both ends.
    block = min(_BLOCK, 64 * math.ceil(start * (target - start) / 64))
    for done in range(0, horizon, block):
        playing = ((fortune > 0) & (fortune < target)).nonzero().squeeze(-1)
        if not len(playing):
            break
        words = math.ceil(min(block, horizon - done) / 64)
        bits = _biased_bits(len(playing) * words, odds, generator, device)
        fortune[playing], more = _walk(bits.view(torch.uint8).view(-1, 8 * words), fortune[playing], target)
        bets[playing] += more
    return fortune, bets


def _biased_bits(words: int, odds: float, generator: Generator | None, device: torch.device) -> Tensor:
    """Independent bits, 64 in each of `(words,)` integers, each 1 with probability `odds` exactly.

    A bit is 1 where a uniform number lies below the odds. They are compared digit by digit, the numbers of a word at
    once; each digit decides half of them, and after the eighth only words with an undecided bit draw on.
    """
    ones = torch.zeros(words, dtype=torch.long, device=device)
    undecided, place = ~ones, torch.arange(words, device=device)
    for count, digit in enumerate(_binary_digits(odds), 1):
        drawn = torch.empty_like(undecided).random_(-(2**63), None, generator=generator)
        if digit == "1":
            # Undecided bits are still 0 in `ones`: adding sets them.
            ones.index_add_(0, place, undecided & ~drawn)
            undecided &= drawn
        else:
            undecided &= ~drawn
        if count >= 8 and count % 2 == 0:
            left = undecided.nonzero().squeeze(-1)
            if not len(left):
                break
            place, undecided = place[left], undecided[left]
    return ones


def _binary_digits(odds: float) -> str:
    """All digits after the point, of a number between 0 and 1."""
    numerator, denominator = float(odds).as_integer_ratio()
    return f"{numerator:0{denominator.bit_length() - 1}b}"


@functools.cache
def _paths_of_bytes(device: torch.device) -> Tensor:
    """What 8 bets gain after each of them, `(256, 8)`; the lowest bit is the first bet, and 1 is a win."""
    bits = torch.arange(256, device=device).unsqueeze(-1) >> torch.arange(8, device=device) & 1
    return (2 * bits - 1).cumsum(-1, dtype=torch.int32)


def _walk(wins: Tensor, fortune: Tensor, target: int) -> tuple[Tensor, Tensor]:
    """The fortunes `(n,)` after the bet that decides, or after all; and its number. `wins` `(n, bytes)` holds 8 bets each."""
    paths = _paths_of_bytes(wins.device)
    gain = paths[:, -1].index_select(0, wins.flatten().int()).view(wins.shape)
    after = fortune.unsqueeze(-1) + gain.cumsum(-1, dtype=torch.int32)
    last, bets = after[:, -1].clone(), torch.full_like(fortune, 8 * wins.shape[-1])
    # Eight bets of which one decides end less than 8 coins from where it did: few paths need a closer look.
    low, high = after.aminmax(dim=-1)
    near = ((low < 8) | (high > target - 8)).nonzero().squeeze(-1)
    if len(near):
        before, code = after[near] - gain[near], wins[near].int()
        byte = _first((before + paths.amin(-1)[code] <= 0) | (before + paths.amax(-1)[code] >= target))
        path = before.gather(-1, byte) + paths[code.gather(-1, byte).squeeze(-1)]
        bet = _first((path <= 0) | (path >= target))
        last[near] = path.gather(-1, bet).squeeze(-1)
        bets[near] = (8 * byte + bet + 1).squeeze(-1).int()
    return last, bets


def _first(mask: Tensor) -> Tensor:
    """The place `(n, 1)` of the first True of every row, or of the last entry."""
    found, place = mask.view(torch.uint8).max(-1)
    return torch.where(found > 0, place, mask.shape[-1] - 1).unsqueeze(-1)


def log_estimate(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    r"""The logarithm of the mean weight, and the relative standard error $s/(\bar w\sqrt n)$ of that mean.

    Args:
        log_weights: `(n,)`, n at least 2, of `sample_log_weights`.

    Returns:
        Two tensors without dimensions; the error is infinite where no path reached the target.

    Raises:
        TypeError, ValueError: for another type or shape.
    """
    arguments.floating(log_weights=log_weights)
    if log_weights.ndim != 1 or len(log_weights) < 2:
        raise ValueError(f"log_weights must have shape (n,) with n >= 2, got {tuple(log_weights.shape)}")
    log_mean = log_mean_exp(log_weights)
    if bool(log_mean == -math.inf):
        return log_mean, torch.full_like(log_mean, math.inf)
    return log_mean, (log_weights - log_mean).exp().std() / math.sqrt(len(log_weights))
