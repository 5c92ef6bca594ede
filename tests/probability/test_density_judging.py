"""Densities: which law is meant, parameters and conditions as inputs, and masses wherever they lie."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.distributions import Cauchy, Laplace, LogNormal, MultivariateNormal, Normal, Pareto, StudentT

from mathcheck import Density, Interval, Parameter, Refuted, Settings, Status, check_density, verify
from mathcheck.engine.residual import Undecided
from mathcheck.probability import density
from mathcheck.probability.density.mass import mass
from mathcheck.probability.named import Named

FEW = Settings(examples=12)
LOG_2_PI = math.log(2 * math.pi)
LOCATION_SCALE = {"loc": Interval(reach=10.0), "scale": Interval(0.0, math.inf, reach=10.0)}
PLACE = {"context": Parameter((2,))}


def of(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def normal(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    return -0.5 * (((x - loc) / scale) ** 2 + LOG_2_PI) - scale.log()


def laplace(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    return -(x - loc).abs() / scale - (2 * scale).log()


def around(x: Tensor, context: Tensor) -> Tensor:
    return -0.5 * ((x - context) ** 2 + LOG_2_PI).sum(-1)


def fate(law: str, subject: Density, settings: Settings = FEW) -> Status:
    return verify(getattr(density, law), subject, settings=settings).status


# Which law is meant.


@pytest.mark.parametrize("like", [Laplace(0.0, 1.0), scipy.stats.laplace(), lambda x: -x.abs() - math.log(2)])
def test_a_law_may_be_named_in_three_ways(like: object) -> None:
    right = Density(lambda x: -x.abs() - math.log(2), like=like)
    assert fate("is_the_distribution_named", right) is Status.HOLDS
    wrong = Density(lambda x: -0.5 * (x**2 + LOG_2_PI), like=like)
    with pytest.raises(Refuted):
        check_density(wrong, settings=FEW)
    assert fate("integrates_to_one", wrong) is Status.HOLDS


@pytest.mark.parametrize(
    ("log_prob", "slip"),
    [
        (lambda x: normal(x, of(0.0), of(2.0)) + LOG_2_PI / 2, "the constant n/2 log 2 pi is subtracted"),
        (lambda x: normal(x, of(0.0), of(4.0)), "its argument is doubled (a law half as wide)"),
        (lambda x: normal(x, of(1e-3), of(2.0)), "its argument is moved by a thousandth"),
    ],
)
def test_a_neighbour_of_the_law_is_refuted_and_named(log_prob: Callable[[Tensor], Tensor], slip: str) -> None:
    found = verify(density.is_the_distribution_named, Density(log_prob, like=scipy.stats.norm(0, 2)), settings=FEW)
    assert (found.status, found.diagnosis) == (Status.REFUTED, slip)


def test_a_variance_where_the_scale_belongs_is_named() -> None:
    wrong = Density(lambda x, loc, scale: normal(x, loc, scale.sqrt()), parameters=LOCATION_SCALE, like=Normal)
    found = verify(density.is_the_distribution_named, wrong, settings=FEW)
    assert (found.status, found.diagnosis) == (Status.REFUTED, "its positive parameters are squared")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("like", [Laplace, scipy.stats.laplace])
def test_a_family_may_be_named(like: object, dtype: torch.dtype) -> None:
    right = Density(laplace, parameters=LOCATION_SCALE, like=like)
    assert verify(density.is_the_distribution_named, right, dtype=dtype, settings=FEW).status is Status.HOLDS
    wrong = Density(normal, parameters=LOCATION_SCALE, like=like)
    assert verify(density.is_the_distribution_named, wrong, dtype=dtype, settings=FEW).status is Status.REFUTED


def test_a_distribution_in_single_precision_knows_its_own_error() -> None:
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)
    ball = Named(Normal(0.1, 0.3)).log_prob(x)
    for loc in (0.1, float(torch.tensor(0.1))):
        assert bool(((normal(x, of(loc), of(0.3)) - ball.mid).abs() <= ball.radius).all())
    assert float(ball.radius.max()) < 1e-4
    exact = Named(Normal(of(0.1), of(0.3))).log_prob(x)
    assert float(exact.radius.max()) < 1e-11


def test_a_law_named_that_underflows_is_not_believed() -> None:
    def underflowing(x: Tensor) -> Tensor:
        return ((-0.5 * x**2).exp() / math.sqrt(2 * math.pi)).log()

    right = Density(lambda x: normal(x, of(0.0), of(1.0)), Interval(reach=60.0), like=underflowing)
    assert fate("is_the_distribution_named", right, Settings(examples=60)) is Status.HOLDS
    outside = Named(LogNormal(0.0, 1.0)).log_prob(torch.tensor([-1.0, 1.0]))
    assert outside.mid.tolist()[0] == -math.inf
    assert float(outside.radius[0]) == 0


def test_the_distribution_function_is_that_of_the_law_named() -> None:
    def log_prob(x: Tensor) -> Tensor:
        return -x.abs() - math.log(2)

    def cdf(x: Tensor) -> Tensor:
        return torch.where(x < 0, x.exp() / 2, 1 - (-x).exp() / 2)

    right = Density(log_prob, cdf=cdf, like=scipy.stats.laplace())
    assert fate("is_the_distribution_named", right) is Status.HOLDS
    wrong = Density(log_prob, cdf=lambda x: cdf(x - 1e-3), like=scipy.stats.laplace())
    assert fate("is_the_distribution_named", wrong) is Status.REFUTED


def test_what_is_no_law_is_refused() -> None:
    with pytest.raises(TypeError, match="like must be a distribution"):
        Density(torch.exp, like=3)
    with pytest.raises(TypeError, match="parameters must be a mapping"):
        Density(normal, parameters=Interval())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"parameters\['scale'\] must be an Interval"):
        Density(normal, parameters={"scale": 1.0})  # type: ignore[dict-item]


# Parameters and conditions.


def test_right_densities_with_parameters_hold() -> None:
    check_density(Density(laplace, parameters=LOCATION_SCALE), settings=FEW)
    check_density(Density(around, event_shape=(2,), parameters=PLACE), settings=FEW)


def test_a_constant_that_forgets_a_parameter_is_refuted() -> None:
    wrong = Density(lambda x, loc, scale: normal(x, loc, scale) + scale.log(), parameters=LOCATION_SCALE)
    found = verify(density.integrates_to_one_at_all_parameters, wrong, settings=FEW)
    assert found.status is Status.REFUTED
    assert found.counterexample is not None
    assert set(found.counterexample.inputs) == {"x", "loc", "scale"}
    assert fate("score_has_mean_zero", wrong) is Status.REFUTED


@pytest.mark.parametrize(
    "log_prob",
    [
        lambda x, loc, scale: normal(x, loc, scale.detach()),
        lambda x, loc, scale: normal(x, loc.detach(), scale),
        lambda x, loc, scale: normal(x.detach(), loc, scale),
        lambda x, loc, scale: normal(x, loc, scale).detach() + (scale.log() - scale.log().detach()) / 2,
    ],
)
def test_a_wrong_gradient_in_a_parameter_is_refuted(log_prob: Callable[..., Tensor]) -> None:
    wrong = Density(log_prob, parameters=LOCATION_SCALE)
    assert fate("gradient_is_that_of_differences", wrong) is Status.REFUTED


def test_a_cached_transform_loses_the_gradient_in_its_parameter() -> None:
    """X = B^t for B exponential; the cache answers B without the graph in which it depends on t."""

    def log_prob(x: Tensor, t: Tensor, *, cached: bool) -> Tensor:
        base = x ** (1 / t)
        base = base.detach() if cached else base
        return -base - t.log() - (t - 1) * base.log()

    inside, exponent = Interval(1e-3, math.inf, reach=5.0), {"t": Interval(0.5, 2.0)}
    for cached, status in ((False, Status.HOLDS), (True, Status.REFUTED)):
        subject = Density(lambda x, t, c=cached: log_prob(x, t, cached=c), inside, parameters=exponent)  # type: ignore[misc]
        assert fate("gradient_is_that_of_differences", subject) is status


def test_the_mass_of_another_condition_is_refuted() -> None:
    def own(c: Tensor) -> Tensor:
        return (1 + c.norm(dim=-1)).log()

    for taken in (torch.amin, torch.mean):

        def smallest(x: Tensor, context: Tensor, taken: Callable[[Tensor], Tensor] = taken) -> Tensor:
            return around(x, context) + own(context) - taken(own(context))

        assert fate("rows_are_independent", Density(smallest, event_shape=(2,), parameters=PLACE)) is Status.REFUTED
    mixed = Density(lambda x, c: around(x, c.roll(1, 0)), event_shape=(2,), parameters=PLACE)
    assert fate("rows_are_independent", mixed) is Status.REFUTED


def test_a_condition_for_all_rows_is_broadcast_or_refused() -> None:
    def refusing(x: Tensor, context: Tensor) -> Tensor:
        return around(*torch.unbind(torch.stack([x, context])))

    def averaging(x: Tensor, context: Tensor) -> Tensor:
        value = around(x, context)
        return value if context.shape == x.shape else value.mean().expand(value.shape)

    expected = {around: Status.HOLDS, refusing: Status.SKIPPED, averaging: Status.REFUTED}
    for log_prob, status in expected.items():
        subject = Density(log_prob, event_shape=(2,), parameters=PLACE)
        assert fate("one_parameter_serves_many_points", subject) is status


# Masses.


def _mixture(*parts: tuple[float, float, float], n: int = 1) -> Callable[[Tensor], Tensor]:
    def log_prob(x: Tensor) -> Tensor:
        terms = (
            [math.log(w) + normal(x, of(m), of(s)) for w, m, s in parts]
            if n == 1
            else [math.log(w) + normal(x, of(m), of(s)).sum(-1) for w, m, s in parts]
        )
        return torch.stack(terms).logsumexp(0)

    return log_prob


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("place", [0.0, 3.7, -1e4])
@pytest.mark.parametrize("family", [Normal, Cauchy, Laplace])
def test_the_mass_of_a_narrow_wide_or_far_density_is_one(family: type, place: float, scale: float) -> None:
    found = mass(family(of(place), of(scale)).log_prob, of(0.0), -math.inf, math.inf)
    assert 1.0 in found
    assert float(found.radius) < 1e-4


@pytest.mark.parametrize(
    ("distribution", "low"),
    [
        (StudentT(of(1.0)), -math.inf),
        (StudentT(of(0.3)), -math.inf),
        (LogNormal(of(0.0), of(10.0), validate_args=False), 0.0),
        (LogNormal(of(20.0), of(0.01), validate_args=False), 0.0),
        (Pareto(of(1.0), of(0.1), validate_args=False), 1.0),
        (Pareto(of(1e6), of(2.0), validate_args=False), 1e6),
    ],
)
def test_the_mass_of_a_heavy_tail_is_one(distribution: torch.distributions.Distribution, low: float) -> None:
    found = mass(distribution.log_prob, of(0.0), low, math.inf, middle=0.0 if low < 0 else low + 1)  # type: ignore[arg-type]
    assert 1.0 in found
    assert float(found.radius) < 1e-6


def test_several_peaks_far_apart_are_found() -> None:
    for parts in (
        [(0.5, -5, 1e-4), (0.5, 5, 1e-4)],
        [(0.2, -500, 0.1), (0.3, 0, 1), (0.5, 1000, 3)],
        [(0.5, 0, 1e-6), (0.5, 0, 1e6)],
    ):
        found = mass(_mixture(*parts), of(0.0), -math.inf, math.inf)
        assert 1.0 in found
        assert float(found.radius) < 1e-6
    found = mass(_mixture((0.3, -20, 0.1), (0.7, 10, 1), n=2), of(0.0), -math.inf, math.inf, event_shape=(2,))
    assert 1.0 in found


@pytest.mark.parametrize("n", [2, 3])
def test_a_mass_in_the_plane_or_in_space_is_one(n: int) -> None:
    eye = torch.eye(n, dtype=torch.float64)
    for place, covariance in ((50.0, 1e-6 * eye), (0.0, 1e12 * eye), (-3.0, 0.999 + 0.001 * eye), (1e6, eye)):
        log_prob = MultivariateNormal(torch.full((n,), place, dtype=torch.float64), covariance).log_prob
        found = mass(log_prob, of(0.0), -math.inf, math.inf, event_shape=(n,))  # type: ignore[arg-type]
        assert 1.0 in found
        assert float(found.radius) < 1e-4
        double = mass(lambda x, f=log_prob: f(x) + math.log(2), of(0.0), -math.inf, math.inf, event_shape=(n,))  # type: ignore[misc]
        assert 2.0 in double
    for low, high, log_density in ((0.0, 1.0, 0.0), (0.0, math.inf, 1.0)):
        found = mass(lambda x, rate=log_density: -rate * x.sum(-1), of(0.0), low, high, event_shape=(n,), middle=0.5)  # type: ignore[misc]
        assert 1.0 in found


def test_a_curved_ridge_is_followed() -> None:
    def banana(x: Tensor) -> Tensor:
        return normal(x[..., 0], of(0.0), of(1.0)) + normal(x[..., 1], x[..., 0] ** 2, of(0.3))

    assert 1.0 in mass(banana, of(0.0), -math.inf, math.inf, event_shape=(2,))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_an_infinite_mass_is_refuted(n: int) -> None:
    """Each component sees one coordinate; a constant; all but one coordinate forgotten; a tail that is too heavy."""

    def one_each(x: Tensor) -> Tensor:
        terms = [normal(x[..., k], of(0.0), of(1.0)) for k in range(n)]
        return torch.stack(terms).logsumexp(0) - math.log(n)

    improper: list[Callable[[Tensor], Tensor]] = [lambda x: 0 * x.sum(-1), lambda x: -torch.log1p(x.abs()).sum(-1)]
    if n > 1:
        improper += [one_each, lambda x: normal(x[..., 0], of(0.0), of(1.0))]
    for log_prob in improper:
        assert fate("integrates_to_one", Density(log_prob, event_shape=(n,))) is Status.REFUTED


def test_a_mass_that_cannot_be_told_is_not_guessed() -> None:
    with pytest.raises(Undecided):  # x^-1.001, of which a third lies beyond the largest float
        mass(lambda x: math.log(5e-4) - 1.001 * torch.log1p(x.abs()), of(0.0), -math.inf, math.inf)
    with pytest.raises(ValueError, match="event_shape"):
        mass(lambda x: x.sum(-1), of(0.0), 0.0, 1.0, event_shape=(4,))
