r"""Two distances of parallel segments, by critics: squared Hellinger does not see how far apart they are, Wasserstein does.

P is uniform on $\{0\} \times [0, 1]$ and Q on $\{\theta\} \times [0, 1]$. The squared Hellinger distance
$\int(\sqrt p - \sqrt q)^2$ is 2 for every $\theta \ne 0$, since the segments do not meet, and 0 at 0; $W_1 = |\theta|$. A
critic with a one-sided penalty at points uniform between the segments reaches $d + d^2/(4\lambda)$ for $d = |\theta|$.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mathcheck.divergence.variational_f_divergence import squared_hellinger
from mathcheck.divergence.wasserstein import penalised_optimum
from mathcheck.experiments.lab import Lab
from mathcheck.models.f_gan import Critics, divergence_bound
from mathcheck.models.wgan import penalised_gap

WEIGHTS = (1.0, 10.0)
WIDTH, BATCH = 64, 128
Objective = Callable[[Critics, Tensor, Tensor, Tensor], Tensor]


def draw(theta: Tensor, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Draws n points of P, of Q, and of the rectangle between the segments, each `(c, n, 2)` for theta `(c,)`.

    The cheapest transport moves every point along its height, so the points between pairs that it matches are uniform on the
    rectangle; only there is the penalised optimum that of two points.
    """
    height = torch.rand(3, len(theta), n, generator=generator)
    share = torch.rand(len(theta), n, generator=generator)
    across = theta.cpu()[:, None] * torch.stack([torch.zeros_like(share), torch.ones_like(share), share])
    x, y, points = torch.stack([across, height], dim=-1).to(theta.device)
    return x, y, points


def hellinger(critics: Critics, x: Tensor, y: Tensor, points: Tensor) -> Tensor:
    """The bound of the squared Hellinger distance, `(c,)`; `points` are for the other objective."""
    return divergence_bound(squared_hellinger, critics(x), critics(y))


def wasserstein(weight: float) -> Objective:
    """What a critic of slope at most about 1 raises, with this weight of the penalty."""
    return lambda critics, x, y, points: penalised_gap(critics, x, y, points, weight)


def train(lab: Lab, name: str, objective: Objective, theta: Tensor, repeats: int) -> tuple[Tensor, Tensor]:
    """Trains `repeats` critics for each theta at once and evaluates them on new points.

    Returns:
        The objective on new points, and the critics' gap there, `(len(theta), repeats)` each.
    """
    each = theta.repeat_interleave(repeats)
    with lab.seeded(name, "weights"):
        critics = Critics(len(each), [2, WIDTH, WIDTH]).to(lab.device)
    optimizer = torch.optim.Adam(critics.parameters(), 2e-3, betas=(0.5, 0.9))
    epochs, steps = lab.pick((30, 100), (10, 60), (2, 3))

    def epoch(generator: torch.Generator) -> Mapping[str, float]:
        total = torch.zeros(len(each), device=lab.device)
        for _ in range(steps):
            values = objective(critics, *draw(each, BATCH, generator))
            optimizer.zero_grad()
            torch.autograd.backward(-values.sum())
            optimizer.step()
            total += values.detach()
        return {"mean": float(total.mean()) / steps, "largest": float(total.max()) / steps}

    lab.fit(name, critics, optimizer, epochs, epoch)
    parts = lab.pick(64, 32, 2)
    generator = lab.generator(name, "new points")
    found, gaps = torch.zeros_like(each), torch.zeros_like(each)
    for _ in range(parts):
        x, y, points = draw(each, BATCH, generator)
        found += objective(critics, x, y, points).detach() / parts
        gaps += (critics(x).mean(-1) - critics(y).mean(-1)).detach() / parts
    return found.reshape(-1, repeats).cpu(), gaps.reshape(-1, repeats).cpu()


def run(lab: Lab) -> None:
    """Trains critics for both distances at many theta, several for each, and plots what they reach beside the exact values."""
    count, repeats = lab.pick((21, 5), (21, 3), (3, 2))
    theta = torch.arange(-(count // 2), count // 2 + 1, device=lab.device) / (count // 2)
    places, size = theta.cpu(), theta.cpu().abs()
    zero = count // 2
    shown = sorted({0, zero, zero + 1, count - 1})

    found, _ = train(lab, "squared Hellinger", hellinger, theta, repeats)
    exact = torch.where(size > 0, 2.0, 0.0)
    for i in shown:
        _figure(lab, f"squared Hellinger, theta = {float(places[i]):g}", found[i], "variational bound", float(exact[i]))

    penalised = {}
    for weight in WEIGHTS:
        name = f"lambda = {weight:g}"
        optimum = penalised_optimum(size, torch.full_like(size, weight))
        reached, gaps = train(lab, f"Wasserstein, {name}", wasserstein(weight), theta, repeats)
        for i in shown:
            _figure(
                lab,
                f"penalised, {name}, theta = {float(places[i]):g}",
                reached[i],
                f"what the penalised critic reaches where W1 = {float(size[i]):g}",
                float(optimum[i]),
            )
        _figure(
            lab,
            f"gap, {name}, theta = 1",
            gaps[-1],
            "mean of the critic over P less that over Q, without the penalty",
            1 + 1 / (2 * weight),
        )
        worst = (reached.mean(1) - optimum).abs().max()
        lab.figure(
            f"largest distance, {name}", float(worst), "of the mean over critics to d + d^2/(4 lambda), over theta"
        )
        penalised[weight] = reached

    with lab.plot("distances", columns=2, width=10) as (left, right):
        left.plot([-1, 1], [2, 2], "k", lw=1, label="exact: 2, but 0 at 0")
        left.plot(0, 2, "o", ms=9, mfc="white", mec="k")
        left.errorbar(places, found.mean(1), found.std(1), fmt="C0o", ms=4, capsize=2, label="critics")
        left.set(ylabel="squared Hellinger distance", ylim=(-0.15, 2.15), title="It jumps at 0")
        fine = torch.linspace(-1, 1, 201)
        right.plot(fine, fine.abs(), "k", lw=1, label="exact W1")
        for (weight, reached), colour in zip(penalised.items(), ("C1", "C0"), strict=True):
            right.plot(
                fine,
                penalised_optimum(fine.abs(), torch.full_like(fine, weight)),
                colour + "--",
                lw=1,
                label=rf"penalised optimum, $\lambda$ = {weight:g}",
            )
            right.errorbar(
                places,
                reached.mean(1),
                reached.std(1),
                fmt=colour + "o",
                ms=4,
                capsize=2,
                label=rf"critics, $\lambda$ = {weight:g}",
            )
        right.set(ylabel="Wasserstein distance", title=r"It grows with $|\theta|$; penalised optima are above it")
        for axes in (left, right):
            axes.set(xlabel=r"$\theta$, where the second segment is")
            axes.legend(frameon=False)


def _figure(lab: Lab, name: str, values: Tensor, what: str, exact: float) -> None:
    spread = float(values.std())
    lab.figure(
        name,
        float(values.mean()),
        f"{what}, mean of {len(values)} critics with spread {spread:.1g}; exact {exact:g}",
        error=spread / math.sqrt(len(values)),
    )
