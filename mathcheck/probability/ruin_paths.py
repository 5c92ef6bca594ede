r"""Paths of the gambler's ruin, drawn with other odds and weighted up to the bet that decides them.

The logarithm of a weight is a sum over bets, so that no horizon underflows; a path that gained g coins in t bets won
$(t + g)/2$ of them, so that the sum needs only t.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from mathcheck import arguments
from mathcheck.probability.log_mean_exp import log_mean_exp

# How many bets are drawn at once.
_BLOCK = 256


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
    r"""Independent values of `stopped_log_weight`, of paths of K bets with odds q; in memory of n x 256 bets at any horizon.

    Args:
        n: at least 1.
        start: i, from 1 to N - 1.
        target: N.
        horizon: K, at least 1.
        win: p, strictly between 0 and 1.
        proposal: q, strictly between 0 and 1.
        generator: source of the randomness.

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
    fortune, bets = torch.full((n,), start), torch.zeros(n, dtype=torch.long)
    for done in range(0, horizon, _BLOCK):
        playing = ((fortune > 0) & (fortune < target)).nonzero().squeeze(-1)
        if not len(playing):
            break
        wins = (
            torch.rand(len(playing), min(_BLOCK, horizon - done), generator=generator, dtype=torch.float64) < proposal
        )
        path = fortune[playing].unsqueeze(-1) + (2 * wins.long() - 1).cumsum(-1)
        decided = (path <= 0) | (path >= target)
        last = torch.where(decided.any(-1), decided.to(torch.uint8).argmax(-1), path.shape[-1] - 1)
        fortune[playing] = path.gather(-1, last.unsqueeze(-1)).squeeze(-1)
        bets[playing] += last + 1
    return _log_weight(bets, fortune >= target, target - start, win, proposal)


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
