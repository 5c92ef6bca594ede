"""Do the statistical tests keep their word? False alarms on true nulls, and power at the error that they state."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from mathcheck.engine.residual import Residual
from mathcheck.oracles import statistics

Draw = Callable[[np.random.Generator], Tensor]


class Test(Protocol):
    """A statistical test with everything but its level fixed."""

    def __call__(self, sample: Tensor, alpha: float) -> Residual:
        """The residual, whose ratio exceeds 1 where the test rejects."""


# Probability that one rate is called out of bounds by chance.
_DOUBT = 1e-6


@dataclass(frozen=True)
class Trial:
    """One statistical test with a null that is true, and alternatives that are off by an error of a given size.

    Attributes:
        name: the test and what the draws follow.
        null: a sample under the null.
        test: `(sample, alpha)` -> residual, which rejects where its ratio exceeds 1.
        alternatives: the size of an error -> samples that are off by it.
        alpha: the false-alarm rate with which the test is used.
    """

    name: str
    null: Draw
    test: Test
    alternatives: tuple[Callable[[float], Draw], ...]
    alpha: float = statistics.ALPHA


@dataclass(frozen=True)
class Rate:
    """How often something happened in `runs`, and the probability that was promised for it.

    `most` says whether the promise is an upper bound, as for false alarms, or a lower one, as for power.
    """

    count: int
    runs: int
    promised: float
    most: bool

    @property
    def interval(self) -> tuple[float, float]:
        """Exact 95 % confidence interval of the probability (Clopper and Pearson)."""
        found = stats.binomtest(self.count, self.runs).proportion_ci(0.95)
        return float(found.low), float(found.high)

    @property
    def kept(self) -> bool:
        """False where the count is as far beyond the promise as chance takes it once in a million."""
        if self.most:
            return float(stats.binom.sf(self.count - 1, self.runs, self.promised)) >= _DOUBT
        return float(stats.binom.cdf(self.count, self.runs, self.promised)) >= _DOUBT


@dataclass(frozen=True)
class Calibration:
    """What the runs of one trial gave.

    Attributes:
        name: of the trial.
        alarms: level -> false alarms on the null at that level.
        alpha: the level with which the test is used, and `detectable` the smallest error that it states at that level.
        power: for each alternative, how often an error of that size was caught at that level.
    """

    name: str
    alarms: dict[float, Rate]
    alpha: float
    detectable: float
    power: tuple[Rate, ...]

    @property
    def kept(self) -> bool:
        """True if every rate is on the right side of what was promised."""
        return all(rate.kept for rate in (*self.alarms.values(), *self.power))


def rejections(draw: Draw, test: Callable[[Tensor], Residual], runs: int, seed: int) -> int:
    """How many of `runs` independent samples a test rejects."""
    rng = np.random.default_rng(seed)
    return sum(test(draw(rng)).ratio > 1 for _ in range(runs))


def calibrate(trial: Trial, *, levels: Sequence[float] = (0.05, 0.01), runs: int = 2000, seed: int = 0) -> Calibration:
    """Runs a trial: false alarms at levels that can be measured, power at the level with which the test is used.

    At that level, one in a million, false alarms are too rare to be counted: there the theorem speaks, which is the
    same at every level.

    Args:
        trial: what to run.
        levels: false-alarm rates to measure.
        runs: samples for each rate.
        seed: of the samples.

    Raises:
        ValueError: if `runs` is below 1 or a level is not between 0 and 1.
    """
    if runs < 1:
        raise ValueError(f"runs must be at least 1, got {runs}")
    if any(not 0 < level < 1 for level in levels):
        raise ValueError(f"levels must lie strictly between 0 and 1, got {list(levels)}")
    alarms = {
        level: Rate(rejections(trial.null, functools.partial(trial.test, alpha=level), runs, seed), runs, level, True)
        for level in levels
    }
    detectable = trial.test(trial.null(np.random.default_rng(seed)), trial.alpha).detectable
    assert detectable is not None
    power = tuple(
        Rate(
            rejections(off(detectable), functools.partial(trial.test, alpha=trial.alpha), runs, seed + 1),
            runs,
            1 - statistics.BETA,
            False,
        )
        for off in trial.alternatives
    )
    return Calibration(trial.name, alarms, trial.alpha, detectable, power)


def _uniform(n: int, low: float = 0.0, high: float = 1.0) -> Draw:
    return lambda rng: torch.from_numpy(rng.uniform(low, high, n))


def _bernoulli(n: int, p: float) -> Draw:
    return lambda rng: torch.from_numpy((rng.random(n) < p).astype(float))


def _multinomial(n: int, p: Sequence[float]) -> Draw:
    return lambda rng: torch.from_numpy(rng.multinomial(n, p))


def _normal(n: int, mean: float = 0.0) -> Draw:
    return lambda rng: torch.from_numpy(rng.normal(mean, size=n))


def _student(n: int, mean: float = 0.0) -> Draw:
    return lambda rng: torch.from_numpy(mean + rng.standard_t(3, n))


def _mass_moved(n: int, by: float) -> Draw:
    """A distribution function that exceeds the uniform one by `by` just above 0."""
    return lambda rng: torch.from_numpy(np.where(rng.random(n) < by, 1e-3, 1.0) * rng.random(n))


def _dkw_uniform(sample: Tensor, alpha: float) -> Residual:
    return statistics.dkw(sample, lambda v: v.clamp(0, 1), alpha=alpha)


def _dkw_coin(sample: Tensor, alpha: float) -> Residual:
    def right(v: Tensor) -> Tensor:
        return 0.3 * (v >= 0) + 0.7 * (v >= 1)

    def left(v: Tensor) -> Tensor:
        return 0.3 * (v > 0) + 0.7 * (v > 1)

    return statistics.dkw(sample, right, left_cdf=left, alpha=alpha)


def _binomial(n: int, p: float) -> Test:
    return lambda sample, alpha: statistics.binomial(int(sample.sum()), n, p, alpha=alpha)


def _bounded(mean: float, lower: float = 0.0, upper: float = 1.0) -> Test:
    return lambda sample, alpha: statistics.bounded_mean(sample, mean, lower, upper, alpha=alpha)


def _bernstein(mean: float, lower: float = 0.0, upper: float = 1.0) -> Test:
    return lambda sample, alpha: statistics.bernstein_mean(sample, mean, lower, upper, alpha=alpha)


def _halves(sample: Tensor, alpha: float) -> Residual:
    return statistics.dkw_two(sample[::2], sample[1::2], alpha=alpha)


def _every_other_moved(n: int, by: float) -> Draw:
    """Uniform numbers; at even places the distribution function exceeds that at odd places by `by` just above 0."""

    def draw(rng: np.random.Generator) -> Tensor:
        moved = (rng.random(n) < by) & (np.arange(n) % 2 == 0)
        return torch.from_numpy(np.where(moved, 1e-3, 1.0) * rng.random(n))

    return draw


def _catoni(variance: float) -> Test:
    return lambda sample, alpha: statistics.catoni_mean(sample, 0.0, variance, alpha=alpha)


def _category(p: Sequence[float]) -> Test:
    return lambda sample, alpha: statistics.discrete(sample, torch.tensor(p, dtype=torch.float64), alpha=alpha)


def trials(n: int = 2000) -> Iterator[Trial]:
    """The trials of every statistical test, on samples of n draws (Student's test on 10,000 at least)."""

    def coin(p: float, *signs: int) -> tuple[Callable[[float], Draw], ...]:
        return tuple((lambda d, s=s: _bernoulli(n, p + s * d)) for s in signs)

    yield Trial("dkw, continuous", _uniform(n), _dkw_uniform, (lambda d: _mass_moved(n, d),))
    yield Trial("dkw, atoms", _bernoulli(n, 0.7), _dkw_coin, coin(0.7, 1, -1))
    yield Trial("dkw, two samples", _uniform(n), _halves, (lambda d: _every_other_moved(n, d),))
    yield Trial("binomial", _bernoulli(n, 0.3), _binomial(n, 0.3), coin(0.3, 1, -1))
    yield Trial("binomial, rare", _bernoulli(n, 0.01), _binomial(n, 0.01), coin(0.01, 1))
    yield Trial("binomial, frequent", _bernoulli(n, 0.98), _binomial(n, 0.98), coin(0.98, -1))
    yield Trial("bounded mean, coin", _bernoulli(n, 0.5), _bounded(0.5), coin(0.5, 1, -1))
    yield Trial("bounded mean, rare", _bernoulli(n, 0.02), _bounded(0.02), coin(0.02, 1))
    narrow = tuple((lambda d, s=s: _uniform(n, 2.9 + s * d, 3.1 + s * d)) for s in (1, -1))
    yield Trial("bounded mean, narrow", _uniform(n, 2.9, 3.1), _bounded(3.0, -1.0, 5.0), narrow)
    yield Trial("Bernstein's mean, coin", _bernoulli(n, 0.5), _bernstein(0.5), coin(0.5, 1, -1))
    yield Trial("Bernstein's mean, narrow", _uniform(n, 2.9, 3.1), _bernstein(3.0, -1.0, 5.0), narrow)
    yield Trial("Catoni's mean, heavy tails", _student(n), _catoni(3.0), (lambda d: _student(n, d),))
    yield Trial("Catoni's mean, normal", _normal(n), _catoni(1.0), (lambda d: _normal(n, -d),))
    many = max(n, 10_000)
    yield Trial(
        "Student's mean",
        _normal(many),
        lambda sample, alpha: statistics.t_mean(sample, 0.0, alpha=alpha),
        (lambda d: _normal(many, d),),
        alpha=1e-4,
    )
    yield Trial(
        "categories, coin",
        _multinomial(n, [0.5, 0.5]),
        _category([0.5, 0.5]),
        (lambda d: _multinomial(n, [0.5 + d, 0.5 - d]),),
    )
    skewed = [0.2, 0.01, 0.79]
    yield Trial(
        "categories, skewed",
        _multinomial(n, skewed),
        _category(skewed),
        (lambda d: _multinomial(n, [0.2, 0.01 + d, 0.79 - d]),),
    )
