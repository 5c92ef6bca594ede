"""Tests of samples against what they are by definition; their calibration by simulation is in test_self_test."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from mathcheck.engine.residual import Kind, Residual
from mathcheck.oracles import statistics
from mathcheck.oracles.calibration import Trial, trials

ALPHA, BETA = 0.05, 0.01


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Thousands of small tensors: threads cost more than they save."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("trial", list(trials(400)), ids=lambda trial: trial.name)
def test_every_residual_says_what_it_is(trial: Trial) -> None:
    r = trial.test(trial.null(np.random.default_rng(0)), ALPHA)
    assert r.kind is (Kind.ASYMPTOTIC if trial.name.startswith("Student") else Kind.STATISTICAL)
    assert r.alpha == ALPHA
    assert r.source
    assert r.what


def test_dkw_is_the_supremum_over_the_line() -> None:
    rng = np.random.default_rng(1)
    grid = torch.linspace(-0.5, 2.5, 30_001, dtype=torch.float64)

    def cdf(v: Tensor) -> Tensor:  # half an atom at 1, half uniform on [0, 2]
        return 0.25 * v.clamp(0, 2) + 0.5 * (v >= 1)

    def left(v: Tensor) -> Tensor:
        return 0.25 * v.clamp(0, 2) + 0.5 * (v > 1)

    for n in (1, 2, 7, 50):
        sample = torch.from_numpy(np.where(rng.random(n) < 0.5, 1.0, np.round(rng.uniform(0, 2, n), 1)))
        empirical = (sample <= grid[:, None]).double().mean(1)
        supremum = float((empirical - cdf(grid)).abs().max())
        found = statistics.dkw(sample, cdf, left_cdf=left).error
        # The grid may miss the supremum by the rise of F over one step.
        assert supremum - 1e-12 <= found <= supremum + 0.25 * 1e-4 + 1e-12


def test_dkw_counts_ties_at_atoms_exactly() -> None:
    sample = torch.tensor([0.0, 1.0] * 50)
    fair = statistics.dkw(
        sample, lambda v: 0.5 * (v >= 0) + 0.5 * (v >= 1), left_cdf=lambda v: 0.5 * (v > 0) + 0.5 * (v > 1)
    )
    assert fair.error == 0.0
    # Draws that are all alike are no sample of a continuous distribution.
    stuck = statistics.dkw(torch.full((100,), 0.5), lambda v: v)
    assert stuck.error == 0.5
    assert stuck.ratio > 1


def test_dkw_nan_refutes_and_infinities_count() -> None:
    sample = torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert statistics.dkw(sample, lambda v: v).ratio < 1
    broken = sample.clone()
    broken[3] = math.nan
    assert statistics.dkw(broken, lambda v: v).ratio == math.inf
    broken = sample.clone()
    broken[:200], broken[200:400] = math.inf, -math.inf
    found = statistics.dkw(broken, lambda v: v)
    assert found.error >= 0.2
    assert statistics.dkw(torch.full((100,), math.inf), lambda v: v).error == 1.0


def test_dkw_samples_is_the_smallest_number() -> None:
    for detectable in (0.5, 0.1, 0.013):
        n = statistics.dkw_samples(detectable)
        of = {m: statistics.dkw(torch.zeros(m), torch.sigmoid).detectable for m in (n - 1, n)}
        assert of[n] <= detectable < of[n - 1]  # type: ignore[operator]


def test_two_samples_are_compared_over_the_line() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = (torch.from_numpy(np.round(rng.normal(size=n), 1)) for n in (40, 90))
    grid = torch.cat((ours, theirs))
    shares = [(x <= grid[:, None]).double().mean(1) for x in (ours, theirs)]
    found = statistics.dkw_two(ours, theirs)
    assert found.error == pytest.approx(float((shares[0] - shares[1]).abs().max()), abs=1e-12)
    assert statistics.dkw_two(torch.tensor([math.nan, 0.0]), theirs).ratio == math.inf
    # The bounds of both samples, each at half of alpha.
    assert found.bound == pytest.approx(sum(math.sqrt(math.log(4 / 1e-6) / (2 * n)) for n in (40, 90)))


def test_bernstein_follows_the_spread_of_the_draws() -> None:
    rng = np.random.default_rng(3)
    wide = torch.from_numpy(rng.uniform(-1, 1, 10_000))
    narrow = wide / 100
    loose, tight = (statistics.bernstein_mean(x, 0.0, -1.0, 1.0) for x in (wide, narrow))
    assert loose.ratio <= 1
    assert tight.ratio <= 1
    # What is left is the term of the interval's width.
    assert tight.bound < loose.bound / 4
    assert statistics.bernstein_mean(wide + 0.1, 0.0, -2.0, 2.0).ratio > 1
    assert statistics.bernstein_mean(torch.tensor([0.0, math.nan]), 0.0, -1.0, 1.0).ratio == math.inf
    assert statistics.bernstein_mean(torch.tensor([0.0, 3.0]), 0.0, -1.0, 1.0).ratio == math.inf


def test_looks_share_alpha() -> None:
    for most in (10, 1250, 30_000, 10**8):
        looks = list(statistics.rungs(most))
        assert looks[-1][0] == most
        assert sum(share for _, share in looks) < statistics.ALPHA
        assert [count for count, _ in looks] == sorted({count for count, _ in looks})


def test_a_climb_stops_where_it_is_refuted_and_short_ones_begin_long_ones() -> None:
    made: list[int] = []

    def climb(most: int, shift: float) -> list[Residual]:
        generator = torch.Generator().manual_seed(1)
        made.clear()

        def draw(count: int) -> statistics.Draws:
            made.append(count)
            return (torch.rand(count, generator=generator, dtype=torch.float64) + shift,)

        def judge(draws: statistics.Draws, alpha: float) -> list[Residual]:
            return [statistics.dkw(draws[0], lambda v: v.clamp(0, 1), alpha=alpha)]

        return list(statistics.climb(draw, judge, most))

    (held,) = climb(20_000, 0.0)
    assert held.ratio <= 1
    assert held.alpha == statistics.ALPHA
    assert sum(made) == 20_000
    # At a shift of 0.03 the second look refutes, or the third: the same however far the climb might go.
    refuted = [climb(most, 0.03)[0] for most in (20_000, 80_000, 320_000)]
    assert refuted[0].ratio > 1
    assert all(r.error == refuted[0].error and r.bound == refuted[0].bound for r in refuted)
    assert sum(made) <= 20_000


@pytest.mark.parametrize(("n", "p"), [(1, 0.5), (5, 0.0), (5, 1.0), (20, 0.3), (50, 0.01), (200, 0.77)])
@pytest.mark.parametrize("alpha", [0.9, 0.05, 1e-6])
def test_binomial_is_exact(n: int, p: float, alpha: float) -> None:
    for k in range(n + 1):
        upper, lower = scipy.stats.binom.sf(k - 1, n, p), scipy.stats.binom.cdf(k, n, p)
        r = statistics.binomial(k, n, p, alpha=alpha)
        if k / n == p:
            continue  # an error of 0 is within every bound
        tail = upper if k / n > p else lower
        assert (r.error > r.bound) == (tail <= alpha / 2)


@pytest.mark.parametrize(("n", "p"), [(20, 0.3), (50, 0.01), (200, 0.77), (100, 1.0)])
def test_binomial_detectable_has_exactly_the_power(n: int, p: float) -> None:
    found = [statistics.binomial(k, n, p, alpha=ALPHA) for k in range(n + 1)]
    rejected = np.array([r.error > r.bound for r in found])
    detectable = found[0].detectable
    assert detectable is not None

    def power(q: float) -> float:
        return float(scipy.stats.binom.pmf(np.arange(n + 1), n, q)[rejected].sum())

    sides = [q for q in (p + detectable, p - detectable) if 0 <= q <= 1]
    # The other side's rejections, which the formula leaves out, have a probability below eps.
    assert sides
    assert all(power(q) >= 1 - BETA - 1e-12 for q in sides)
    nearer = [q for q in (p + 0.99 * detectable, p - 0.99 * detectable) if 0 <= q <= 1]
    assert any(power(q) < 1 - BETA for q in nearer)


def test_binomial_that_cannot_reject_says_so() -> None:
    assert statistics.binomial(1, 2, 0.5).detectable == math.inf


def test_bounded_mean_is_valid_at_every_prefix_and_refutes_impossible_draws() -> None:
    sample = torch.tensor([0.2, 0.4, 0.9] * 100)
    assert statistics.bounded_mean(sample, 0.5, 0.0, 1.0).ratio < 1
    for stray in (math.nan, -0.01, 1.01, math.inf):
        broken = sample.clone()
        broken[7] = stray
        assert statistics.bounded_mean(broken, 0.5, 0.0, 1.0).ratio == math.inf
    # A mean at an end leaves only one distribution.
    assert statistics.bounded_mean(torch.zeros(10), 0.0, 0.0, 1.0).ratio == 0
    assert statistics.bounded_mean(torch.tensor([0.0, 0.1]), 0.0, 0.0, 1.0).ratio == math.inf
    assert statistics.bounded_mean(torch.tensor([1.0, 0.9]), 1.0, 0.0, 1.0).ratio == math.inf
    # The capital reached its bound on the way: later draws do not bring the mean back.
    crooked = torch.cat((torch.ones(200), torch.zeros(200)))
    assert statistics.bounded_mean(crooked, 0.5, 0.0, 1.0).ratio > 1


def test_bounded_mean_expected_capital_is_one() -> None:
    # Enumerated: under the null the mean of the final capital is at most 1, whatever the distribution of mean m.
    for m, values, chances in ((0.5, (0.0, 1.0), (0.5, 0.5)), (0.2, (0.0, 0.2, 1.0), (0.4, 0.5, 0.1))):
        stakes = {s: statistics._stakes(6, m if s > 0 else 1 - m, 0.05) for s in (1, -1)}
        capital = 0.0
        for draws in itertools.product(range(len(values)), repeat=6):
            chance = math.prod(chances[d] for d in draws)
            bets = [math.prod(1 + s * b * (values[d] - m) for d in draws) for s, side in stakes.items() for b in side]
            assert min(bets) > 0
            capital += chance * sum(bets) / len(bets)
        assert capital == pytest.approx(1.0, abs=len(values) ** 6 * 2**-50)


def test_bounded_mean_is_unchanged_by_a_change_of_units() -> None:
    sample = torch.rand(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one = statistics.bounded_mean(sample, 0.6, 0.0, 1.0)
    other = statistics.bounded_mean(-3 + 8 * sample, -3 + 8 * 0.6, -3.0, 5.0)
    # 1e3 roundings in a sum of 500 logarithms.
    assert other.error == pytest.approx(one.error, rel=1e3 * 2**-52 * 10)
    assert other.detectable == pytest.approx(8 * one.detectable, rel=1e-9)  # type: ignore[operator]


def test_catoni_shrugs_off_outliers_and_refutes_nonsense() -> None:
    sample = torch.from_numpy(np.random.default_rng(0).normal(size=1000))
    sample[0] = 300.0  # which moves the plain mean by 0.3
    assert float(sample.mean()) > statistics.catoni_mean(sample, 0.0, 1.0).bound
    assert statistics.catoni_mean(sample, 0.0, 1.0).ratio < 1
    sample[1] = 1e300  # no draw of a variable of variance 1
    assert 1 < statistics.catoni_mean(sample, 0.0, 1.0).ratio < math.inf
    sample[1] = 0.0
    assert statistics.catoni_mean(sample + 1.0, 0.0, 1.0).ratio > 1
    for bad in (math.nan, math.inf):
        sample[0] = bad
        assert statistics.catoni_mean(sample, 0.0, 1.0).ratio == math.inf
    assert statistics.catoni_mean(torch.full((1000,), 0.25), 0.25, 1.0).error == 0.0


def test_t_test_refutes_nan_and_refuses_what_it_cannot_promise() -> None:
    sample = torch.from_numpy(np.random.default_rng(0).normal(size=10_000))
    assert statistics.t_mean(sample, 0.0).ratio < 1
    assert statistics.t_mean(torch.full((10_000,), 0.1), 0.1 + 1e-9).ratio == math.inf
    with pytest.raises(ValueError, match="n >= 10000 and alpha >= 1e-4"):
        statistics.t_mean(sample[1:], 0.0)
    with pytest.raises(ValueError, match="n >= 10000 and alpha >= 1e-4"):
        statistics.t_mean(sample, 0.0, alpha=1e-6)
    sample[5] = math.nan
    assert statistics.t_mean(sample, 0.0).ratio == math.inf


@pytest.mark.parametrize("k", [2, 3])
def test_discrete_evidence_has_mean_one_and_the_stated_regret(k: int) -> None:
    n = 12
    p = torch.tensor([0.3, 0.7] if k == 2 else [0.2, 0.3, 0.5], dtype=torch.float64)
    mean, regret = 0.0, -math.inf
    for c in itertools.product(range(n + 1), repeat=k):
        if sum(c) != n:
            continue
        r = statistics.discrete(torch.tensor(c), p)
        mean += math.exp(r.error) * float(scipy.stats.multinomial.pmf(c, n, p.numpy()))
        divergence = sum(x * math.log(x / n / float(q)) for x, q in zip(c, p, strict=True) if x)
        regret = max(regret, divergence - r.error)
        stated = (2 * n) * (r.detectable - math.sqrt(math.log(100) / (2 * n))) ** 2 - math.log(1e6)  # type: ignore[operator]
    assert mean == pytest.approx(1.0, abs=1e-10)  # a sum of at most 91 terms near 1, each to 1e-13
    assert regret == pytest.approx(stated, abs=1e-10)


def test_discrete_refutes_a_draw_of_mass_zero_at_once() -> None:
    p = torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64)
    fair, impossible = torch.tensor([50, 0, 50]), torch.tensor([50, 1, 50])
    assert statistics.discrete(fair, p).ratio < 1
    assert statistics.discrete(impossible, p).error == math.inf
    assert statistics.discrete(torch.tensor([10]), torch.ones(1)).error == pytest.approx(0.0, abs=1e-12)


ones = torch.ones(100)
BAD: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: statistics.dkw(torch.ones(2, 2), torch.sigmoid), ValueError, r"sample must have shape \(n,\)"),
    (lambda: statistics.dkw(torch.ones(0), torch.sigmoid), ValueError, "sample must have shape"),
    (lambda: statistics.dkw([1.0], torch.sigmoid), TypeError, "sample must be a tensor"),  # type: ignore[arg-type]
    (lambda: statistics.dkw(ones * 1j, torch.sigmoid), TypeError, "sample must be real"),
    (lambda: statistics.dkw(ones, torch.sigmoid, alpha=1.0), ValueError, "alpha must lie"),
    (lambda: statistics.dkw(ones, torch.sigmoid, beta=0.0), ValueError, "beta must lie"),
    (lambda: statistics.dkw(ones, torch.exp), ValueError, "cdf must be increasing"),
    (lambda: statistics.dkw(torch.rand(9), lambda v: 1 - v), ValueError, "cdf must be increasing"),
    (lambda: statistics.dkw(ones, lambda v: v * math.nan), ValueError, "cdf must be increasing"),
    (lambda: statistics.dkw(ones, lambda v: v.sum()), ValueError, "cdf must map"),
    (lambda: statistics.dkw_samples(0.0), ValueError, "detectable must lie"),
    (lambda: statistics.binomial(3, 2, 0.5), ValueError, "successes must lie"),
    (lambda: statistics.binomial(0, 0, 0.5), ValueError, "successes must lie"),
    (lambda: statistics.binomial(1.0, 2, 0.5), TypeError, "successes must be an integer"),  # type: ignore[arg-type]
    (lambda: statistics.binomial(1, 2, 1.5), ValueError, "p must lie"),
    (lambda: statistics.binomial(1, 2, math.nan), ValueError, "p must lie"),
    (lambda: statistics.bounded_mean(ones, 2.0, 0.0, 1.0), ValueError, "lower <= mean <= upper"),
    (lambda: statistics.bounded_mean(ones, 0.0, 0.0, math.inf), ValueError, "lower <= mean <= upper"),
    (lambda: statistics.catoni_mean(ones, 0.0, 0.0), ValueError, "variance must be positive"),
    (lambda: statistics.catoni_mean(ones, math.nan, 1.0), ValueError, "mean must be finite"),
    (lambda: statistics.catoni_mean(ones[:20], 0.0, 1.0), ValueError, "sample must hold more than"),
    (lambda: statistics.discrete(ones, ones / 100), TypeError, "counts must be a tensor of integers"),
    (lambda: statistics.discrete(ones.long(), ones.long()), TypeError, "probabilities must be a floating tensor"),
    (lambda: statistics.discrete(ones.long(), ones[:99] / 99), ValueError, "must both have shape"),
    (lambda: statistics.discrete(ones.long(), ones / 99), ValueError, "sum to 1"),
    (lambda: statistics.discrete(-ones.long(), ones / 100), ValueError, "counts must be at least 0"),
    (lambda: statistics.discrete(0 * ones.long(), ones / 100), ValueError, "not all 0"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_input_is_named(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
