"""The flows of the models keep the laws of a bijection, and what they make those of a density and a sampler."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mathcheck import Refuted, Settings, check_bijection, check_density, check_sampler
from mathcheck.engine.strategies import Interval
from mathcheck.experiments import banana as banana_experiment
from mathcheck.experiments import inpainting, mixture_flow
from mathcheck.flows.bijection import Bijection
from mathcheck.flows.rescaling import rescaling
from mathcheck.markov.banana_posterior import banana_energy
from mathcheck.models.banana import BananaPosterior, Flow, nice_flow, planar_flow, real_nvp_flow
from mathcheck.models.composition import compose
from mathcheck.models.mixture_flow import BoundedMap, MixtureFlow
from mathcheck.models.nice import Nice
from mathcheck.oracles import quadrature
from mathcheck.probability.density import Density
from mathcheck.probability.sampler import Sampler

# Few inputs for maps that are composed of verified ones: a wrong order or a lost sign shows at once. Fewer than these
# need not hold two points between which a folded map would have folded.
FEW = Settings(examples=12, shrink=False)
EPS = torch.finfo(torch.float64).eps
# Enough for both tails: of fewer, those beyond the cuts are too few to be missed when they are cut off.
DRAWS = 20_000


def perturbed(build: Callable[[], nn.Module], size: float = 0.2, seed: int = 3) -> nn.Module:
    """The module in double precision with noise on every parameter: as built, sign errors would not show."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build().double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += size * torch.randn_like(parameter)
    return model.requires_grad_(False)


FLOWS: dict[str, Callable[[], nn.Module]] = {
    "planar": lambda: planar_flow(3),
    "nice, plane": lambda: nice_flow(2, 4),
    "real_nvp": lambda: real_nvp_flow(2, 4),
    "nice, images": lambda: Nice(5, width=6, depth=2),
}


def bijection_of(name: str) -> Bijection:
    model = perturbed(FLOWS[name])
    assert isinstance(model, Flow | Nice)
    # Beyond a few units the composed maps stretch by orders of magnitude, and the search is of no use there.
    return replace(model.bijection, domain=Interval(reach=3.0), codomain=Interval(reach=3.0), dtype=torch.float64)


@pytest.mark.parametrize("name", FLOWS)
def test_flows_are_bijections(name: str) -> None:
    check_bijection(bijection_of(name), settings=FEW)


@pytest.mark.parametrize("name", FLOWS)
def test_a_wrong_log_determinant_of_a_flow_is_refuted(name: str) -> None:
    flow = bijection_of(name)
    original = flow.log_abs_det_jacobian
    assert original is not None
    with pytest.raises(Refuted):
        check_bijection(replace(flow, log_abs_det_jacobian=lambda x: original(x) * (1 + 1e-3)), settings=FEW)


def test_composition_names_bad_input() -> None:
    with pytest.raises(ValueError, match="one event shape"):
        compose([])
    with pytest.raises(ValueError, match="one event shape"):
        compose([rescaling(torch.zeros(2)), rescaling(torch.zeros(3))])
    with pytest.raises(ValueError, match="layers must be at least 1"):
        planar_flow(0)


def mixture() -> MixtureFlow:
    model = perturbed(lambda: MixtureFlow(torch.tensor([-1.0, 0.5, 2.0])), 0.3)
    assert isinstance(model, MixtureFlow)
    return model


def mixture_cdf(model: MixtureFlow, x: Tensor) -> Tensor:
    t = (x.unsqueeze(-1) - model.means) * torch.exp(-model.log_scales)
    return (model.logits.softmax(0) * torch.special.ndtr(t)).sum(-1)


def test_the_mixture_flow_has_a_density() -> None:
    model = mixture()
    check_density(Density(model.log_prob, points=tuple(sorted(model.means.tolist())), dtype=torch.float64))


def test_the_bounded_map_has_none() -> None:
    model = perturbed(lambda: BoundedMap(torch.tensor([-1.0, 0.5, 2.0])), 0.0)
    assert isinstance(model, BoundedMap)
    model.log_weights.data -= 1.0
    with pytest.raises(Refuted, match="integrates to one"):
        check_density(Density(model.log_prob, points=(-1.0, 0.5, 2.0), dtype=torch.float64))
    # W = 3: the mass is erf(3 / (2 sqrt 2)); quadrature says how sure it is by itself.
    assert abs(mixture_flow.mass(model) - math.erf(3 / 8**0.5)) <= EPS**0.75
    # Beyond the range there is no root, and bisection ends at an end.
    assert float(model.bisect(torch.tensor([1.6], dtype=torch.float64))) == pytest.approx(3.0, abs=6 / 2**30)


def test_the_mixture_flow_samples_itself() -> None:
    model = mixture()
    check_sampler(Sampler(model.sample, lambda x: mixture_cdf(model, x), draws=DRAWS, dtype=torch.float64))
    moved = mixture()
    moved.means.data += 0.5
    with pytest.raises(Refuted, match="follow the distribution function"):
        check_sampler(Sampler(moved.sample, lambda x: mixture_cdf(model, x), draws=2000, dtype=torch.float64))


def test_the_data_are_of_equal_parts() -> None:
    x = mixture_flow.draw(5000, torch.Generator().manual_seed(0))
    assert len(x) == 5000
    means = [float(part.mean()) for part in x.split([1666, 1666, 1668])]
    # Six standard errors of a mean of 1666 draws with deviation 1/4: alpha about 1e-8 for the three.
    assert all(abs(m - true) <= 6 * 0.25 / 1666**0.5 for m, true in zip(means, mixture_flow.MEANS, strict=True))
    assert round(mixture_flow.best_nll(), 5) == 1.10756


Y = torch.randn(40, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 + 1.5
POSTERIOR = BananaPosterior(len(Y), float(Y.mean()), float((Y - Y.mean()).square().sum()))


def test_sufficient_statistics_are_sufficient() -> None:
    theta = torch.randn(200, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 2
    constants = len(Y) / 2 * math.log(8 * math.pi) + math.log(2 * math.pi)
    true = -banana_energy(theta, Y) - constants
    # Both sum squares of terms of this size, n of them, each with a few roundings.
    reach = (Y.abs().max() + theta[:, 0].abs() + theta[:, 1].square()).square() * len(Y) + constants
    assert bool(((POSTERIOR.log_joint(theta) - true).abs() <= 16 * len(Y) * EPS * reach).all())
    leaf = theta.clone().requires_grad_()
    (slope,) = torch.autograd.grad(POSTERIOR.log_joint(leaf).sum(), leaf)
    steep = (reach * (1 + theta.abs().amax(-1))).unsqueeze(-1)
    assert bool(((POSTERIOR.score(theta) - slope).abs() <= 16 * len(Y) * EPS * steep).all())


def second_cdf(x: Tensor) -> Tensor:
    """The distribution function of theta2 by the trapezium rule, whose error on a smooth peak is far below 1e-8."""
    grid = torch.linspace(-5, 5, 20_001, dtype=torch.float64)
    weight = POSTERIOR.conditional(grid)[2].exp()
    below = torch.cat([weight.new_zeros(1), ((weight[1:] + weight[:-1]) / 2).cumsum(0)])
    place = ((x.double() + 5) / 10 * 20_000).clamp(0, 20_000)
    left = place.floor().long().clamp(max=19_999)
    between = below[left] + (place - left) * (below[left + 1] - below[left])
    return (between / below[-1]).clamp(0, 1)


def test_the_posterior_is_sampled_exactly() -> None:
    check_sampler(Sampler(lambda n, g: POSTERIOR.sample(n, g)[:, 1], second_cdf, draws=DRAWS, dtype=torch.float64))

    def standardised(n: int, g: torch.Generator) -> Tensor:
        theta = POSTERIOR.sample(n, g)
        mean, variance, _ = POSTERIOR.conditional(theta[:, 1])
        return (theta[:, 0] - mean) / variance.sqrt()

    check_sampler(Sampler(standardised, torch.special.ndtr, draws=DRAWS, dtype=torch.float64))
    with pytest.raises(Refuted):
        check_sampler(
            Sampler(lambda n, g: POSTERIOR.sample(n, g)[:, 1] + 0.05, second_cdf, draws=DRAWS, dtype=torch.float64)
        )


def test_the_evidence_is_that_of_the_plane() -> None:
    known = banana_experiment.truth()
    posterior = banana_experiment.POSTERIOR

    def density(theta: object) -> object:
        points = torch.as_tensor(theta)
        return (posterior.log_joint(points) - known["log-evidence"]).exp().numpy()

    total = quadrature.cubature(density, [-12.0, 0.0], [3.5, 3.5])
    # Half of the plane; outside the box the posterior has less than 1e-9 of its mass.
    assert abs(2 * float(total.mid) - 1) <= 2 * float(total.radius) + 1e-9


def test_ascent_goes_up_and_the_notes_update_does_not() -> None:
    model = perturbed(lambda: Nice(64, width=8, depth=1), 0.05)
    assert isinstance(model, Nice)
    known = inpainting.observed(8)
    x = torch.rand(4, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    damaged = torch.where(known, x, 1.0)
    filled = inpainting.ascend(model.log_prob, damaged, known, 60)
    assert bool((filled[:, known] == x[:, known]).all())
    assert bool(((filled >= 0) & (filled <= 1)).all())
    before = model.log_prob(damaged)
    assert bool((model.log_prob(filled) > before).all())
    assert bool((model.log_prob(inpainting.notes_update(model.log_prob, damaged, known, 60)) <= before).all())
