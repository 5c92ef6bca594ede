"""Distribution functions that go wrong outside the support, and quantiles of 0 and 1; and their right twins."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from mathcheck import Density, Interval, Quantile, Sampler, Settings
from mathcheck.engine.claim import verify
from mathcheck.engine.evidence import Evidence, Status
from mathcheck.probability import density, quantile, sampler

Map = Callable[[Tensor], Tensor]
QUICK = Settings(examples=20, shrink=False)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
POSITIVE = Interval(0.0, reach=50.0)


def outside(value: float, log_prob: Map, low: float = 0.0, high: float = math.inf) -> Map:
    return lambda x: torch.where((x < low) | (x > high), value, log_prob(x.clamp(low, high)))


def exponential(x: Tensor) -> Tensor:
    return -torch.expm1(-x.clamp(min=0))


def weibull(x: Tensor) -> Tensor:
    return -torch.expm1(-(x.clamp(min=0) ** 1.5))


def triangular(x: Tensor) -> Tensor:
    """On [-1, 1], with its mode at 0."""
    return torch.where(x <= 0, (x.clamp(-1, 0) + 1).square() / 2, 1 - (1 - x.clamp(0, 1)).square() / 2)


def mixture(x: Tensor) -> Tensor:
    return 0.25 * torch.special.ndtr(x + 1) + 0.75 * torch.special.ndtr((x - 2) / 0.5)


def log_mixture(x: Tensor) -> Tensor:
    terms = [math.log(0.25) - (x + 1) ** 2 / 2, math.log(0.75 / 0.5) - ((x - 2) / 0.5) ** 2 / 2]
    return torch.logaddexp(*terms) - 0.5 * math.log(2 * math.pi)


EXPONENTIAL = Density(outside(-math.inf, lambda x: -x), POSITIVE, cdf=exponential)
RIGHT: dict[str, tuple[Interval, Map]] = {
    "exponential": (POSITIVE, exponential),
    "weibull": (POSITIVE, weibull),
    "uniform": (Interval(-1.0, 3.0), lambda x: ((x + 1) / 4).clamp(0.0, 1.0)),
    "ends that are no floats": (Interval(0.1, 0.7), lambda x: ((x - 0.1) / 0.6).clamp(0.0, 1.0)),
    "triangular": (Interval(-1.0, 1.0), triangular),
    "mixture": (Interval(reach=20.0), mixture),
    "logistic": (Interval(reach=1e4), torch.sigmoid),
    "cauchy": (Interval(reach=1e4), lambda x: torch.atan2(torch.ones_like(x), -x) / math.pi),
    "gumbel": (Interval(reach=1e4), lambda x: (-(-x).exp()).exp()),
}
WRONG: dict[str, tuple[Interval, Map]] = {
    "negative below": (POSITIVE, lambda x: 1 - (-x).exp()),
    "not a number below": (POSITIVE, lambda x: -torch.expm1(-(x**1.5))),
    "rises again below": (Interval(-1.0, 1.0), lambda x: torch.where(x < 0, (x + 1) ** 2 / 2, triangular(x))),
    "falls again above": (Interval(-1.0, 1.0), lambda x: torch.where(x > 0, 1 - (1 - x) ** 2 / 2, triangular(x))),
    "above 1": (Interval(-1.0, 3.0), lambda x: ((x + 1) / 4).clamp(min=0.0)),
    "0 above": (Interval(-1.0, 3.0), lambda x: torch.where((x >= -1) & (x <= 3), (x + 1) / 4, 0.0)),
    "one half below": (POSITIVE, lambda x: torch.where(x < 0, 0.5, exponential(x))),
    "the mirror image below": (POSITIVE, lambda x: exponential(x.abs())),
    "not quite 1 at the end": (Interval(-1.0, 1.0), lambda x: 0.9 * triangular(x)),
    "weights that sum to more": (Interval(reach=20.0), lambda x: 1.01 * mixture(x)),
    "the wrong tail": (Interval(reach=20.0), lambda x: 1 - mixture(x)),
    "overflows": (Interval(reach=1e4), lambda x: x.exp() / (1 + x.exp())),
    "an unnormalised one": (Interval(reach=1e4), lambda x: torch.atan(x) / math.pi),
}


def of_density(interval: Interval, cdf: Map, dtype: torch.dtype) -> Evidence:
    return verify(
        density.cdf_rises_from_zero_to_one, Density(lambda x: -x * x, interval, cdf=cdf), dtype=dtype, settings=QUICK
    )


@DTYPES
@pytest.mark.parametrize("name", RIGHT)
def test_right_ones_hold(name: str, dtype: torch.dtype) -> None:
    evidence = of_density(*RIGHT[name], dtype)
    assert evidence.status in (Status.HOLDS, Status.INACCURATE), str(evidence)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_ones_are_refuted(name: str) -> None:
    interval, cdf = WRONG[name]
    assert of_density(interval, cdf, torch.float64).status is Status.REFUTED
    # Quantiles and draws do not say where the support ends, but what they come with is a distribution function, too.
    if name not in ("one half below", "not quite 1 at the end", "an unnormalised one"):
        pair = Quantile(lambda u: u, cdf, domain=interval)
        assert verify(quantile.cdf_rises_from_zero_to_one, pair, settings=QUICK).status is Status.REFUTED


def test_what_is_refused_outside_is_not_judged_there() -> None:
    def refusing(x: Tensor) -> Tensor:
        if bool((x < 0).any()):
            raise ValueError("outside the support")
        return exponential(x)

    assert of_density(POSITIVE, refusing, torch.float64).status is Status.HOLDS
    assert of_density(POSITIVE, lambda x: 2 * refusing(x), torch.float64).status is Status.REFUTED


def test_the_remedy_is_named() -> None:
    assert of_density(*WRONG["negative below"], torch.float64).diagnosis == "it is 0 below the support and 1 above"


@pytest.mark.parametrize(
    ("cdf", "bounds", "status"),
    [
        (exponential, None, Status.HOLDS),
        (lambda x: 1 - (-x).exp(), None, Status.REFUTED),
        (lambda x: torch.where(x > 50, 2.0, exponential(x)), None, Status.REFUTED),
        (exponential, (0.0, 100.0), Status.HOLDS),
        (lambda x: exponential(x + 1), (0.0, 100.0), Status.REFUTED),
    ],
    ids=["right", "negative below", "2 far above", "right with bounds", "moved"],
)
def test_draws(cdf: Map, bounds: tuple[float, float] | None, status: Status) -> None:
    def sample(n: int, generator: Generator) -> Tensor:
        return -torch.log1p(-torch.rand(n, generator=generator, dtype=torch.float64))

    subject = Sampler(sample, cdf, bounds=bounds, draws=1000)
    assert verify(sampler.cdf_rises_from_zero_to_one, subject, settings=QUICK).status is status


def clipped(eps: float) -> Map:
    return lambda u: torch.special.ndtri(u.clamp(eps, 1 - eps))


def refusing_levels(u: Tensor) -> Tensor:
    if bool(((u <= 0) | (u >= 1)).any()):
        raise ValueError("u must lie in (0, 1)")
    return torch.special.ndtri(u)


def atoms(u: Tensor) -> Tensor:
    """1, 2 or 3 with probability 1/4, 1/4 and 1/2."""
    return 1 + (u > 0.25).to(u) + (u > 0.5).to(u)


def atoms_cdf(x: Tensor, left: bool = False) -> Tensor:
    steps = [(x > k) if left else (x >= k) for k in (1, 2, 3)]
    return (steps[0].to(x) + steps[1].to(x) + 2 * steps[2].to(x)) / 4


NORMAL: dict[str, Any] = {"cdf": torch.special.ndtr, "domain": Interval(reach=8.0)}
WAITING: dict[str, Any] = {"cdf": exponential, "domain": Interval(0.0)}
EVEN: dict[str, Any] = {"cdf": lambda x: ((x + 1) / 4).clamp(0.0, 1.0), "domain": Interval(-1.0, 3.0)}
ATOMS: dict[str, Any] = {"cdf": atoms_cdf, "left_cdf": lambda x: atoms_cdf(x, left=True), "domain": Interval(reach=9.0)}


@pytest.mark.parametrize(
    ("function", "rest"),
    [
        (torch.special.ndtri, NORMAL),
        (lambda u: -torch.log1p(-u), WAITING),
        (lambda u: (-torch.log1p(-u)) ** (1 / 1.5), {"cdf": weibull, "domain": Interval(0.0)}),
        (lambda u: torch.where(u == 0, -math.inf, -torch.log1p(-u)), WAITING),
        (lambda u: 4 * u - 1, EVEN),
        (atoms, ATOMS),
        (lambda u: torch.where(u == 0, 0.0, atoms(u)), ATOMS),
    ],
    ids=["normal", "exponential", "weibull", "formal", "uniform", "atoms", "atoms as in scipy"],
)
@DTYPES
def test_right_ends_hold(function: Map, rest: dict[str, Any], dtype: torch.dtype) -> None:
    evidence = verify(quantile.no_probability_lies_beyond_the_ends, Quantile(function, **rest), dtype=dtype)
    assert evidence.status is Status.HOLDS, str(evidence)


@pytest.mark.parametrize(
    ("function", "rest"),
    [
        (clipped(1e-7), NORMAL),
        (lambda u: torch.where(u == 1, math.nan, torch.special.ndtri(u)), NORMAL),
        (lambda u: torch.where(u == 0, math.inf, torch.special.ndtri(u)), NORMAL),
        (lambda u: torch.where(u == 1, 0.0, torch.special.ndtri(u)), NORMAL),
        (lambda u: -torch.log(u), WAITING),
        (lambda u: torch.where(u == 1, 5.0, -torch.log1p(-u)), WAITING),
        (lambda u: u * torch.log(u) / torch.log(u) * 4 - 1, EVEN),
        (lambda u: torch.where(u == 1, math.inf, 4 * u - 1), EVEN),
        (lambda u: torch.where(u == 0, -0.9, 4 * u - 1), EVEN),
        (lambda u: torch.where(u == 1, 2.0, atoms(u)), ATOMS),
        (lambda u: torch.where(u == 0, 2.0, atoms(u)), ATOMS),
    ],
    ids=["clip", "nan", "sign", "0 for 1", "tail", "cut", "0 log 0", "no end", "inside", "last atom", "first atom"],
)
def test_wrong_ends_are_refuted(function: Map, rest: dict[str, Any]) -> None:
    evidence = verify(quantile.no_probability_lies_beyond_the_ends, Quantile(function, **rest))
    assert evidence.status is Status.REFUTED, str(evidence)


def test_refused_levels_are_not_judged() -> None:
    evidence = verify(quantile.no_probability_lies_beyond_the_ends, Quantile(refusing_levels, **NORMAL))
    assert evidence.status is Status.SKIPPED


@pytest.mark.parametrize("seed", range(3))
def test_a_slope_too_steep_for_floats_is_no_fault(seed: int) -> None:
    def log_normal(x: Tensor) -> Tensor:
        z = x.clamp(min=torch.finfo(x.dtype).tiny).log()
        return torch.where(x > 0, -z - z * z / 2 - 0.5 * math.log(2 * math.pi), -math.inf)

    law = density.minus_infinity_outside_the_support
    subject = Density(log_normal, Interval(0.0))
    assert verify(law, subject, settings=Settings(seed=seed)).status is Status.HOLDS
    inside, other = torch.tensor(2.3e-308, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    assert all(residual.ratio <= 1 for residual in law.residuals(subject, inside, other, 1.0, False))
