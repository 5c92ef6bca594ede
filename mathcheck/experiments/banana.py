r"""A posterior bent like a banana: three flows fitted by their ELBO, Hamiltonian Monte Carlo, and quadrature as the truth.

The notes' data are not printed: here they are a hundred of mean 3/2 and mean square deviation 4, which is all that the
posterior depends on. The gap between the evidence and the ELBO is the divergence of a fit from the posterior, known to a
few digits; the notes' estimate of it from nearest neighbours has a spread of its own when nothing differs at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor

from mathcheck.divergence.nearest_neighbour_kl import nearest_neighbour_kl, null_estimates
from mathcheck.experiments.lab import Lab, Noted
from mathcheck.markov.hamiltonian import Chain, hmc_chain
from mathcheck.models.banana import BananaPosterior, Flow, nice_flow, planar_flow, real_nvp_flow
from mathcheck.oracles import quadrature

POSTERIOR = BananaPosterior(count=100, mean=1.5, scatter=400.0)
RATE, DRAWS, BLOCK = 1e-3, 100, 100
NEIGHBOUR, NOTES_KL = 3, 0.0192
# Step size and leapfrog steps; the second is longer than the notes', where it matters what becomes of rejections.
WALKS = {"": (0.05, 100), ", step 0.12": (0.12, 40)}
MEANS: dict[str, Callable[[Tensor], Tensor]] = {
    "E theta1": lambda theta: theta[..., 0],
    "E theta2^2": lambda theta: theta[..., 1].square(),
    "P(|theta2| > 1.5)": lambda theta: (theta[..., 1].abs() > 1.5).to(theta),
}


def truth() -> dict[str, float]:
    """The log-evidence and the posterior means by quadrature over the second coordinate; the first is integrated out."""
    peak = float(POSTERIOR.log_joint(torch.tensor([0.5, 1.0], dtype=torch.float64)))

    def marginal(t: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance, _ = POSTERIOR.conditional(t)
        log_joint = POSTERIOR.log_joint(torch.stack([mean, t], -1))
        return mean, (log_joint + (2 * math.pi * variance).log() / 2 - peak).exp()

    def integral(f: Callable[[Tensor, Tensor], Tensor], low: float = 0.0) -> float:
        def weighted(x: Any) -> Any:
            t = torch.from_numpy(np.asarray(x))
            mean, weight = marginal(t)
            return (f(t, mean) * weight).numpy()

        return 2 * float(quadrature.integral(weighted, low, math.inf, points=[low + 1.0]).mid)

    mass = integral(lambda t, mean: torch.ones_like(t))
    return {
        "log-evidence": peak + math.log(mass),
        "E theta1": integral(lambda t, mean: mean) / mass,
        "E theta2^2": integral(lambda t, mean: t * t) / mass,
        "P(|theta2| > 1.5)": integral(lambda t, mean: torch.ones_like(t), 1.5) / mass,
    }


def _fit(lab: Lab, name: str, flow: Flow) -> list[float]:
    """Trains by the mean ELBO of `DRAWS` draws a step; returns the mean of every block of steps."""
    optimizer = torch.optim.Adam(flow.parameters(), lr=RATE)

    def block(generator: torch.Generator) -> dict[str, float]:
        noise = torch.randn(BLOCK, DRAWS, 2, generator=generator, dtype=torch.float64).to(lab.device)
        total = noise.new_zeros(())
        for rows in noise:
            value = flow.elbo(rows, POSTERIOR.log_joint).mean()
            optimizer.zero_grad()
            torch.autograd.backward(-value)
            optimizer.step()
            total += value.detach()
        return {"ELBO": float(total) / BLOCK}

    return [found["ELBO"] for found in lab.fit(name, flow, optimizer, lab.pick(100, 25, 1), block)]


def _walk(lab: Lab, known: Mapping[str, float]) -> Tensor:
    """Runs chains of Hamiltonian Monte Carlo; returns the last state of each draw, mixed, for a plot."""
    chains, burn_in, draws = lab.pick((100, 500, 500), (50, 100, 200), (10, 2, 4))
    for label, (step_size, steps) in WALKS.items():
        start = torch.zeros(chains, 2, dtype=torch.float64)
        chain = hmc_chain(
            POSTERIOR.log_joint,
            start,
            lab.generator("HMC", label),
            step_size,
            steps,
            draws=burn_in + draws,
            score=POSTERIOR.score,
        )
        _judge_walk(lab, label, chain, burn_in, known)
        lab.tell("HMC", len(lab.figures), len(lab.figures), "")
        if not label:
            shown = chain.states[burn_in:].flatten(0, 1)
    return shown[torch.randperm(len(shown), generator=lab.generator("HMC", "shown"))]


def _judge_walk(lab: Lab, label: str, chain: Chain, burn_in: int, known: Mapping[str, float]) -> None:
    states = chain.states[burn_in:]
    rates = chain.acceptance_rate
    lab.figure(
        f"HMC{label}, acceptance",
        float(rates.mean()),
        "share of trajectories accepted",
        error=float(rates.std()) / math.sqrt(len(rates)),
    )
    moved = (chain.states[burn_in - 1 : -1] != states).any(-1)
    for name, function in MEANS.items():
        values = function(states)
        means = values.mean(0)
        lab.figure(
            f"HMC{label}, {name}",
            float(means.mean()),
            f"mean over {len(means)} chains; {known[name]:.6g} by quadrature",
            error=float(means.std()) / math.sqrt(len(means)),
        )
    values, count = (states[..., 0] * moved).sum(0), moved.sum(0)
    if not bool(count.any()):
        return
    # A ratio of two sums over chains: its error is that of the linearised ratio.
    ratio = float(values.sum() / count.sum())
    spread = (values - ratio * count).std() / count.double().mean() / math.sqrt(len(values))
    lab.figure(
        f"HMC{label}, E theta1 if rejections are not recorded",
        ratio,
        "mean of the accepted states alone, as in the notes: another distribution",
        error=float(spread),
    )


def _judge_fits(lab: Lab, flows: Mapping[str, Flow], known: Mapping[str, float]) -> dict[str, Tensor]:
    """The divergence of every fit from the posterior, by its ELBO and by nearest neighbours; returns draws of the fits."""
    n, repetitions = lab.pick((10_000, 200), (10_000, 40), (300, 5))
    null = null_estimates(POSTERIOR.sample, n, n, NEIGHBOUR, repetitions, lab.generator("null"))
    middle, spread = float(null.mean()), float(null.std())
    what = f"kNN KL of two exact samples of {n:,}"
    lab.figure("kNN KL, null mean", middle, f"mean {what}, where the truth is 0", error=spread / math.sqrt(repetitions))
    lab.figure(
        "kNN KL, null spread",
        spread,
        f"standard deviation of the {what}",
        error=spread / math.sqrt(2 * (repetitions - 1)),
    )
    as_much = int((null >= NOTES_KL).sum())
    lab.figure(
        "kNN KL, null at least 0.0192",
        as_much / repetitions,
        "share of pairs of exact samples that differ as much as the notes' best fit from their chain",
        interval=tuple(binomtest(as_much, repetitions).proportion_ci()),
    )
    exact, drawn = POSTERIOR.sample(n, lab.generator("exact")), {}
    for name, flow in flows.items():
        noise = torch.randn(
            lab.pick(1_000_000, 200_000, 1000), 2, generator=lab.generator("fit", name), dtype=torch.float64
        ).to(lab.device)
        with torch.no_grad():
            values = torch.cat([flow.elbo(rows, POSTERIOR.log_joint) for rows in torch.split(noise, 50_000)])
            drawn[name] = flow(noise[:n])[0].cpu()
        lab.figure(
            f"KL, {name}",
            known["log-evidence"] - float(values.mean()),
            "log-evidence - ELBO = KL(fit || posterior), in nats",
            error=float(values.std()) / math.sqrt(len(values)),
        )
        lab.figure(
            f"kNN KL, {name}",
            float(nearest_neighbour_kl(drawn[name], exact, NEIGHBOUR)),
            "KL(fit || posterior) by nearest neighbours in 2 samples; its error is the null spread",
            error=spread,
            notes=_noted(name, middle, spread),
        )
    return drawn


def _noted(name: str, middle: float, spread: float) -> Noted | None:
    if name != "RealNVP":
        return None
    away = (NOTES_KL - middle) / spread
    return Noted(NOTES_KL, spread, f"other data; alone it is {away:.1f} null standard deviations from no difference")


def run(lab: Lab) -> None:
    """Integrates, walks, fits, compares, and plots samples over the contours of the truth."""
    known = truth()
    for name, value in known.items():
        lab.figure(f"{name}, quadrature", value, f"{name} of the posterior, by quadrature")
    flows: dict[str, Flow] = {}
    for name, build in (("planar", planar_flow), ("NICE", nice_flow), ("RealNVP", real_nvp_flow)):
        with lab.seeded("initial", name):
            flows[name] = build().double().to(lab.device)
    curves = {name: _fit(lab, name, flow) for name, flow in flows.items()}
    samples = {"HMC": _walk(lab, known), **_judge_fits(lab, flows, known)}
    _draw(lab, known["log-evidence"], curves, samples)


def _draw(lab: Lab, evidence: float, curves: Mapping[str, list[float]], samples: Mapping[str, Tensor]) -> None:
    first, second = (torch.linspace(*ends, 161, dtype=torch.float64) for ends in ((-3.0, 2.8), (-2.4, 2.4)))
    grid = torch.stack(torch.meshgrid(first, second, indexing="xy"), -1)
    density = (POSTERIOR.log_joint(grid) - evidence).exp()
    levels = list(_levels(density, float(first[1] - first[0]) * float(second[1] - second[0])))
    with lab.plot("samples", rows=2, columns=2, width=9, height=8) as axes:
        for panel, (name, points) in zip(axes.flat, samples.items(), strict=True):
            panel.contour(first, second, density, levels=levels, colors="0.4", linewidths=0.8)
            panel.plot(points[:1000, 0], points[:1000, 1], ".", ms=3, alpha=0.5, color="C0")
            panel.set(xlabel=r"$\theta_1$", ylabel=r"$\theta_2$", title=name, xlim=(-3.0, 2.8), ylim=(-2.4, 2.4))
    with lab.plot("elbo") as axes:
        for name, curve in curves.items():
            axes.plot([BLOCK * (k + 1) for k in range(len(curve))], [evidence - v for v in curve], label=name)
        axes.set(
            xlabel=f"steps (mean of {BLOCK})",
            ylabel="log-evidence - ELBO",
            yscale="log",
            title="The divergence of the fits from the posterior",
        )
        axes.legend()


def _levels(density: Tensor, cell: float) -> Iterator[float]:
    """The levels above which 99, 90, 50 and 10 % of the mass lie, rising."""
    ordered = density.flatten().sort(descending=True).values
    masses = ordered.cumsum(0) * cell
    for share in (0.99, 0.9, 0.5, 0.1):
        yield float(ordered[int((masses < share).sum())])
