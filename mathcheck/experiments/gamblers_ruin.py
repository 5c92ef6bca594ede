"""The gambler's ruin: an estimate by importance sampling beside the exact value.

A gambler with 100 coins wants 200 within 600 bets of one coin, at the odds of roulette, 18/37. That happens about twice
in a million games, so the games are played with odds of 0.55 and weighted.
"""

from __future__ import annotations

import math
from fractions import Fraction

from mathcheck.experiments.lab import Lab, Noted
from mathcheck.probability.gamblers_ruin import hit_within
from mathcheck.probability.ruin_paths import sample_log_weights

START, TARGET, HORIZON = 100, 200, 600
WIN, PROPOSAL = Fraction(18, 37), 0.55
NOTES_PLAYS = 3000


def run(lab: Lab) -> None:
    """Estimates with as many games as the notes, then with more; plots both errors against the number of games."""
    exact = float(hit_within(START, TARGET, HORIZON, WIN))
    lab.figure("exact", exact, "the probability, by enumeration", notes=Noted(2.388383450607e-06))
    plays = lab.pick(1_000_000, 100_000, NOTES_PLAYS)
    weights = sample_log_weights(plays, START, TARGET, HORIZON, float(WIN), PROPOSAL, lab.generator("games")).exp()
    deviation = float(weights.std())
    lab.figure("deviation", deviation, "standard deviation of one weight that stops when the game is decided")
    few = weights[:NOTES_PLAYS]
    lab.figure(
        "estimate as in the notes",
        float(few.mean()),
        f"mean of {NOTES_PLAYS} weights",
        error=float(few.std()) / math.sqrt(len(few)),
        notes=Noted(2.01061199926214e-06, 2.943e-07, "they let the wealth go below 0 and weighted all bets"),
    )
    lab.figure("estimate", float(weights.mean()), f"mean of {plays:,} weights", error=deviation / math.sqrt(plays))

    steps = sorted({round(10 ** (k / 20)) for k in range(40, math.floor(20 * math.log10(plays)) + 1)})
    running = weights.cumsum(0)
    with lab.plot("estimate") as axes:
        axes.plot(steps, [float(running[n - 1]) / n for n in steps], label="estimate")
        for sign, label in ((1, "one standard error"), (-1, None)):
            axes.plot(steps, [exact + sign * deviation / math.sqrt(n) for n in steps], "C1--", lw=1, label=label)
        axes.axhline(exact, color="k", lw=1, label="exact")
        axes.set(xscale="log", xlabel="games", ylabel="probability", title="From 100 coins to 200 within 600 bets")
        axes.legend()
