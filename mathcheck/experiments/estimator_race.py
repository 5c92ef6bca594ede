r"""Two gradient estimators race on one objective: the score function against the sample path.

The objective is $\mathbb E[X\sin X] + (\mu - 1)^2/2 + \sigma - \log\sigma$ for $X \sim \mathcal N(\mu, \sigma^2)$. It has
two minima, and stochastic gradient descent from (0, 1) finds the one that is not the lowest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import optimize
from torch import Tensor

from mathcheck.experiments.lab import Lab, Noted
from mathcheck.inference import sine_objective
from mathcheck.oracles import arb

Array = Any
RATE, DRAWS = 1e-2, 300
# For how many steps noise is drawn at once.
BULK = 1000
NOTES = {"score function": (0.4430, 0.6080), "sample path": (0.4435, 0.6063)}
# Where descent and Newton's method are started for each stationary point.
STARTS = {"local minimum": (0.44, -0.5), "saddle": (0.86, 0.16), "global minimum": (1.37, 0.67)}


class Estimate(NamedTuple):
    """A gradient estimate in mu and log sigma: weighted means of a function of the draws, each with its factor.

    Attributes:
        function: of the draws x = mu + sigma z. `weights`: rows, of noise `(*batch, n)`, `(*batch, 2, n)`.
        factors: of sigma, one for each mean.
    """

    function: Callable[[Array], Array]
    weights: Callable[[Array], Array]
    factors: Callable[[float], tuple[float, float]]

    def gradient(self, mu: float, sigma: float, z: Array, weights: Array) -> tuple[float, float]:
        """The estimate for the whole objective from noise `(n,)` and its weights `(2, n)`."""
        first, second = weights.dot(self.function(mu + sigma * z)).tolist()
        share, shared = (factor / len(z) for factor in self.factors(sigma))
        return share * first + mu - 1, shared * second + sigma - 1


SCORE_FUNCTION = Estimate(
    lambda x: x * np.sin(x), lambda z: np.stack([z, z * z - 1], -2), lambda sigma: (1 / sigma, 1.0)
)
SAMPLE_PATH = Estimate(
    lambda x: np.sin(x) + x * np.cos(x), lambda z: np.stack([np.ones_like(z), z], -2), lambda sigma: (1.0, sigma)
)


def descend(estimate: Estimate, steps: int, generator: torch.Generator) -> Tensor:
    """The points (mu, sigma) that gradient descent visits, `(steps + 1, 2)`.

    Noise and draws are in single precision: their rounding, 1e-7, is nothing beside the spread of a mean of 300. The
    point, which adds up thousands of small steps, is in double precision.
    """
    mu, tau = 0.0, 0.0
    visited = [(mu, 1.0)]
    for done in range(0, steps, BULK):
        noise = torch.randn(min(BULK, steps - done), DRAWS, generator=generator).numpy()
        for z, weights in zip(noise, estimate.weights(noise), strict=True):
            in_mu, in_tau = estimate.gradient(mu, math.exp(tau), z, weights)
            mu, tau = mu - RATE * in_mu, tau - RATE * in_tau
            visited.append((mu, math.exp(tau)))
    return torch.tensor(visited, dtype=torch.float64)


def _slopes(theta: list[float]) -> list[float]:
    with arb.precision(128):
        mu, tau = (arb.exact(float(value)) for value in theta)
        first, second = sine_objective.mean_slopes((mu, tau))
        sigma = arb.exp(tau)
        return [float(first + mu - 1), float(second + sigma - 1)]


def _value(theta: list[float]) -> float:
    with arb.precision(128):
        return float(sine_objective.objective([arb.exact(float(value)) for value in theta]))


def _variances(theta: list[float]) -> dict[str, list[float]]:
    with arb.precision(256):
        point = [arb.exact(float(value)) for value in theta]
        return {
            "score function": [float(v) for v in sine_objective.score_variances(point)],
            "sample path": [float(v) for v in sine_objective.pathwise_variances(point)],
        }


def run(lab: Lab) -> None:
    """Finds the stationary points and the exact variances there, races the estimators, and plots where they go."""
    points = {}
    for name, start in STARTS.items():
        found = optimize.root(_slopes, start, tol=1e-14)
        points[name] = [float(value) for value in found.x]
        mu, sigma = points[name][0], float(torch.tensor(points[name][1], dtype=torch.float64).exp())
        lab.figure(f"{name}, mu", mu, f"mean at the {name}")
        lab.figure(f"{name}, sigma", sigma, f"standard deviation at the {name}")
        lab.figure(f"{name}, J", _value(points[name]), f"objective at the {name}")
    for where in ("local minimum", "global minimum"):
        for estimator, variances in _variances(points[where]).items():
            for parameter, variance in zip(("mu", "log sigma"), variances, strict=True):
                lab.figure(
                    f"variance in {parameter}, {estimator}, {where}",
                    variance,
                    f"exact variance of one draw of the {estimator}'s estimate",
                )

    steps, paths = lab.pick(10_000, 4000, 300), {}
    for estimator, estimate in (("score function", SCORE_FUNCTION), ("sample path", SAMPLE_PATH)):
        paths[estimator] = descend(estimate, steps, lab.generator(estimator))
        lab.tell(estimator, len(paths), 2, "")
        tail = paths[estimator][steps // 2 :]
        # Neighbouring points are alike: blocks of 500 steps, five times as long as the memory of the descent, are not.
        blocks = tail[: len(tail) // 10 * 10].reshape(10, -1, 2).mean(1)
        for i, parameter in enumerate(("mu", "sigma")):
            spread = float(tail[:, i].std())
            lab.figure(
                f"{estimator}, {parameter}",
                float(tail[:, i].mean()),
                f"mean {parameter} over the last half of {steps:,} steps",
                error=float(blocks[:, i].std()) / 10**0.5,
                notes=Noted(NOTES[estimator][i], spread, "a noisy point near the minimum that is only local"),
            )

    with lab.plot("paths", columns=2, width=11) as (wide, near):
        across, up = torch.linspace(-0.2, 2.2, 121).tolist(), torch.linspace(0.3, 2.6, 121).tolist()
        values = [[_value([m, math.log(d)]) for m in across] for d in up]
        wide.contour(across, up, values, levels=30, linewidths=0.5, colors="0.6")
        for estimator, path in paths.items():
            wide.plot(*path.T.numpy(), lw=0.8, label=estimator)
            near.plot(*path[steps // 2 :].T.numpy(), lw=0.3, label=estimator)
        for name, (m, tau) in points.items():
            wide.plot(m, math.exp(tau), {"saddle": "kx"}.get(name, "k*"), ms=9)
            wide.annotate(name, (m, math.exp(tau)), xytext=(6, 6), textcoords="offset points")
        local = points["local minimum"]
        near.plot(local[0], math.exp(local[1]), "k*", ms=9)
        wide.set(xlabel="mu", ylabel="sigma", title="Descent from (0, 1) stops at the nearer minimum")
        near.set(xlabel="mu", ylabel="sigma", title="The last half of the steps")
        for line in near.legend(loc="upper left").get_lines():
            line.set_linewidth(2)
