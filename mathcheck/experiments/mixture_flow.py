r"""A flow of one number fitted to three normals: the notes' bounded map, which loses mass, and the normalised flow.

The data are equal parts of N(-1, 1/16), N(0.2, 1/16) and N(1.5, 1/16). No density can have a smaller negative
log-likelihood on average than their own, 1.10756 nats; what the notes minimise is not that of a density, as the mass is
below 1, and their sampler by bisection on [-3, 3] piles up at the ends whatever the map does not reach.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor

from mathcheck.experiments.lab import Lab
from mathcheck.flows.mixture_cdf import mass_of_the_bounded_map
from mathcheck.models.mixture_flow import BoundedMap, MixtureFlow
from mathcheck.oracles import arb, quadrature

MEANS, DEVIATION, COMPONENTS, REACH = (-1.0, 0.2, 1.5), 0.25, 5, 3.0
RATE, BATCH = 5e-2, 128
Model = BoundedMap | MixtureFlow
FLOW, NOTES = "normalised flow", "notes' map"


def draw(n: int, generator: torch.Generator) -> Tensor:
    """`(n,)` draws of which each third is from one of the three normals; n - 2 * (n // 3) from the last."""
    sizes = torch.tensor([n // 3, n // 3, n - 2 * (n // 3)])
    means = torch.tensor(MEANS, dtype=torch.float64).repeat_interleave(sizes)
    return means + DEVIATION * torch.randn(n, generator=generator, dtype=torch.float64)


def true_log_prob(x: Tensor) -> Tensor:
    """The log-density that the data are drawn from."""
    means = x.new_tensor(MEANS)
    terms = -(((x.unsqueeze(-1) - means) / DEVIATION) ** 2) / 2
    return terms.logsumexp(-1) - math.log(len(MEANS) * DEVIATION) - math.log(2 * math.pi) / 2


def _integral(f: Any, places: Any) -> float:
    """The integral of a function of a tensor over the whole line."""
    with torch.no_grad():
        points = sorted({round(float(p), 6) for p in places})
        ball = quadrature.integral(
            lambda x: f(torch.from_numpy(np.asarray(x))).numpy(), -math.inf, math.inf, points=points
        )
    return float(ball.mid)


def best_nll() -> float:
    """The entropy of the data's distribution, below which no density's mean negative log-likelihood lies."""
    return _integral(lambda x: -true_log_prob(x).exp() * true_log_prob(x), MEANS)


def mass(model: Model) -> float:
    """The integral of what the model calls its density."""
    log_prob = model.log_prob
    return _integral(lambda x: log_prob(x.to(model.means)).exp().cpu(), (*model.means.tolist(), -8.0, 8.0))


def lost_mass(total_weight: float) -> float:
    r"""$1 - \mathrm{erf}(W/(2\sqrt2))$, what the notes' density lacks."""
    with arb.precision(128):
        return float(1 - mass_of_the_bounded_map(arb.exact(total_weight)))


def nll(model: Model) -> float:
    """The mean of minus the model's log-density under the distribution of the data."""
    return _integral(lambda x: -true_log_prob(x).exp() * model.log_prob(x.to(model.means)).cpu(), MEANS)


def _fit(lab: Lab, name: str, model: Model, train: Tensor, test: Tensor) -> list[dict[str, float]]:
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)

    def epoch(generator: torch.Generator) -> dict[str, float]:
        order, total = torch.randperm(len(train), generator=generator).to(train.device), train.new_zeros(())
        for rows in torch.split(order, BATCH):
            values = -model.log_prob(train.index_select(0, rows))
            optimizer.zero_grad()
            torch.autograd.backward(values.mean())
            optimizer.step()
            total += values.detach().sum()
        with torch.no_grad():
            found = {"train": float(total) / len(train), "test": float(-model.log_prob(test).mean())}
        return {**found, "W": model.total_weight} if isinstance(model, BoundedMap) else found

    return lab.fit("flow" if name == FLOW else "bounded", model, optimizer, lab.pick(100, 50, 3), epoch)


def run(lab: Lab) -> None:
    """Fits both, compares them with the best possible, integrates them, samples them and plots what came of it."""
    sizes = lab.pick((5000, 1000), (5000, 1000), (500, 100))
    train, test = (
        draw(n, lab.generator(part)).to(lab.device) for n, part in zip(sizes, ("train", "test"), strict=True)
    )
    start = torch.randn(COMPONENTS, generator=lab.generator("means"), dtype=torch.float64)
    flow, bounded = MixtureFlow(start).to(lab.device), BoundedMap(start).to(lab.device)
    models: dict[str, Model] = {FLOW: flow, NOTES: bounded}
    before = lost_mass(bounded.total_weight)
    curves = {name: _fit(lab, name, model, train, test) for name, model in models.items()}

    best = best_nll()
    lab.figure("NLL, best possible", best, "entropy of the data's distribution in nats, by quadrature")
    with torch.no_grad():
        values = {"true density": -true_log_prob(test), **{n: -m.log_prob(test) for n, m in models.items()}}
    for name, value in values.items():
        lab.figure(
            f"test NLL, {name}",
            float(value.mean()),
            f"mean over {len(test)} test points, in nats",
            error=float(value.std()) / math.sqrt(len(test)),
        )
    lab.figure(
        f"excess, {FLOW}",
        nll(flow) - best,
        "its mean NLL over the best possible, by quadrature: the divergence of the truth from the fit",
    )
    lab.figure(
        f"excess, {NOTES}",
        nll(bounded) - best,
        "the same of what is no density: too large by minus the logarithm of its mass",
    )
    lab.figure(f"mass, {FLOW}", mass(flow), "the integral of its density, by quadrature")
    lab.figure(f"mass, {NOTES}", mass(bounded), "the integral of what it calls its density, by quadrature")
    lab.figure(f"mass, {NOTES}, formula", 1 - lost_mass(bounded.total_weight), "erf(W / (2 sqrt 2))")
    lab.figure(f"lost mass, {NOTES}, at the start", before, "1 - mass before training, where W = 5e")
    lab.figure(f"W, {NOTES}", bounded.total_weight, "its total weight: it reaches (-W/2, W/2)")

    draws = {FLOW: flow.sample(len(train), lab.generator("samples")).cpu()}
    noise = torch.randn(len(train), generator=lab.generator("samples"), dtype=torch.float64).to(lab.device)
    draws[NOTES] = bounded.bisect(noise, REACH).cpu()
    stuck = int((draws[NOTES].abs() > REACH - 1e-6).sum())
    lab.figure(
        f"samples at the ends, {NOTES}",
        stuck / len(train),
        "share of the bisected samples that are -3 or 3",
        interval=tuple(binomtest(stuck, len(train)).proportion_ci()),
    )
    _draw_plots(lab, curves, models, draws, train.cpu(), best)


def _draw_plots(
    lab: Lab,
    curves: dict[str, list[dict[str, float]]],
    models: dict[str, Model],
    draws: dict[str, Tensor],
    train: Tensor,
    best: float,
) -> None:
    x = torch.linspace(-REACH, REACH, 601, dtype=torch.float64)
    bins, colours, bounded = np.linspace(-REACH, REACH, 81), {FLOW: "C0", NOTES: "C1"}, models[NOTES]
    assert isinstance(bounded, BoundedMap)
    with torch.no_grad():
        density = {name: model.log_prob(x.to(lab.device)).exp().cpu() for name, model in models.items()}
        image, carried = (
            {name: model(points.to(lab.device)).cpu() for name, model in models.items()} for points in (x, train)
        )
    with lab.plot("mixture_flow", rows=2, columns=3, width=13, height=7) as axes:
        (nlls, densities, maps), (lost, bases, samples) = axes
        for name, curve in curves.items():
            epochs = range(1, len(curve) + 1)
            nlls.plot(epochs, [c["train"] for c in curve], colours[name], label=f"{name}, train")
            nlls.plot(epochs, [c["test"] for c in curve], colours[name], ls=":", label=f"{name}, test")
            densities.plot(x, density[name], colours[name], label=name)
            maps.plot(x, image[name], colours[name], label=name)
            for panel, data in ((bases, carried), (samples, draws)):
                panel.hist(data[name], bins, density=True, histtype="step", color=colours[name], label=name)
        nlls.axhline(best, color="k", lw=1, label="best possible")
        nlls.set(xlabel="epoch", ylabel="NLL in nats", title="Training", ylim=(best - 0.05, best + 0.5))
        densities.hist(train, bins, density=True, color="0.85", label="data")
        densities.set(xlabel="x", ylabel="density", title="Density")
        for end, label in ((-1, None), (1, "ends of the bounded range")):
            maps.axhline(end * bounded.total_weight / 2, color="C1", lw=1, ls="--", label=label)
        maps.set(xlabel="x", ylabel="z = f(x)", title="The map")
        lost.plot(range(1, len(curves[NOTES]) + 1), [lost_mass(c["W"]) for c in curves[NOTES]], "C1")
        lost.set(xlabel="epoch", ylabel="1 - mass", yscale="log", title="Mass that the notes' map loses")
        bases.plot(x, torch.exp(-x * x / 2) / math.sqrt(2 * math.pi), "k", lw=1, label="N(0, 1)")
        bases.set(xlabel="z", ylabel="density", title="f(data)")
        samples.plot(x, true_log_prob(x).exp(), "k", lw=1, label="true density")
        samples.set(xlabel="x", ylabel="density", title="Samples by inversion")
        for panel in (nlls, densities, maps, bases, samples):
            panel.legend(fontsize="x-small", frameon=False)
