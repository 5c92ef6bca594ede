r"""A variational autoencoder with a latent plane: its bound, the bound with 1000 samples, and digits that are samples.

Pixels are made binary by drawing them, since the cross-entropy of grey pixels is no log-likelihood. The bound with one
sample, however many images are in a batch, is the ELBO $L_1$; $L_{1000}$ averages 1000 weights of the same image under the
logarithm and lies nearer to $\log p(x)$. A sample begins with z from the prior; an image that was encoded and decoded again
is a reconstruction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mathcheck.experiments import data
from mathcheck.experiments.images import batches, sheet
from mathcheck.experiments.lab import Lab, Noted
from mathcheck.models.vae import VAE, binarise, bounds, flat
from mathcheck.probability.bernoulli import continuous_bernoulli_log_prob

# The notes' epoch is 60 updates with 1000 of 60,000 images: so it is here, however few images there are.
RATE, BATCH, UPDATES = 1e-3, 1000, 60


def standard_error(values: Tensor) -> float:
    """Of the mean of `(n,)` independent values."""
    return float(values.std()) / math.sqrt(len(values))


def ascend(
    model: VAE, optimizer: torch.optim.Optimizer, images: Tensor, size: int, updates: int, generator: torch.Generator
) -> float:
    """Updates with one draw of the latent for each image, whose pixels are drawn anew; returns the mean bound."""
    values = []
    for grey in batches(images, size, updates, generator):
        noise = torch.randn(len(grey), model.latent, generator=generator).to(grey)
        value = model.elbo(binarise(grey, generator), noise).mean()
        optimizer.zero_grad()
        torch.autograd.backward(-value)
        optimizer.step()
        values.append(value.detach())
    return float(torch.stack(values).mean())


def draws_up_to(most: int) -> list[int]:
    """1, 2, 5, 10, 20, 50, ..., and `most`."""
    steps = [digit * 10**power for power in range(7) for digit in (1, 2, 5)]
    return [*(step for step in steps if step < most), most]


def show_bounds(axes: Any, log_weights: Tensor) -> Tensor:
    """Draws $L_K$ against K with the standard error over images; returns the estimates for the first and the last K."""
    draws = draws_up_to(log_weights.shape[1])
    found = bounds(log_weights, draws)
    means, errors = found.mean(1).numpy(), np.array([standard_error(row) for row in found])
    axes.plot(draws, means, "C1.-")
    axes.fill_between(draws, means - errors, means + errors, color="C1", alpha=0.2, lw=0)
    axes.set(xscale="log", xlabel="K, samples for each image", ylabel="nats", title="$L_K$ at the end, test images")
    return found[[0, -1]]


def _train(lab: Lab, model: VAE, grey: Tensor, test: Tensor) -> list[dict[str, float]]:
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    few = lab.pick(20, 10, 5)

    def epoch(generator: torch.Generator) -> dict[str, float]:
        bound = ascend(model, optimizer, grey, lab.pick(BATCH, 200, 100), lab.pick(UPDATES, UPDATES, 5), generator)
        one, more = bounds(model.many_log_weights(test, few, lab.generator("test noise")), [1, few]).mean(1).tolist()
        return {"L_1, training": bound, "L_1, test": one, f"L_{few}, test": more}

    return lab.fit("vae", model, optimizer, lab.pick(100, 20, 2), epoch)


def _bounds(lab: Lab, model: VAE, history: Sequence[dict[str, float]], test: Tensor) -> None:
    most = lab.pick(1000, 200, 10)
    log_weights = model.many_log_weights(test, most, lab.generator("bounds"))
    with lab.plot("bounds", columns=2, width=9, height=3.6) as (left, right):
        one, many = show_bounds(right, log_weights)
        epochs = range(1, len(history) + 1)
        for name in history[0]:
            bound, kind = name.removeprefix("L_").split(", ")
            left.plot(epochs, [found[name] for found in history], label=f"$L_{{{bound}}}$, {kind}")
        left.errorbar(
            len(history),
            float(many.mean()),
            standard_error(many),
            fmt="k.",
            capsize=3,
            label=f"$L_{{{most}}}$, test, at the end",
        )
        left.set(xlabel=f"epoch of {UPDATES} updates", ylabel="nats", title="The bounds while it learns")
        # The first epochs climb out of the figure: the differences are what is to be seen.
        left.set_ylim(min(found["L_1, test"] for found in history[len(history) // 10 :]) - 2)
        left.legend(fontsize=8)
    images = f"mean over {len(test)} test images, in nats"
    lab.figure("ELBO", float(one.mean()), f"L_1, {images}", error=standard_error(one))
    lab.figure(f"L_{most}", float(many.mean()), f"bound with {most} samples, {images}", error=standard_error(many))
    lab.figure(
        f"L_{most} - ELBO",
        float((many - one).mean()),
        "by how much more samples tighten the bound, same images",
        error=standard_error(many - one),
    )


@torch.no_grad()
def _grey(lab: Lab, model: VAE, grey: Tensor) -> None:
    """How far the cross-entropy of grey pixels is from a log-likelihood of them."""
    logits = model.logits(model.posterior(grey)[0])
    entropy = functional.binary_cross_entropy_with_logits(logits, grey, reduction="none").sum(-1)
    missing = continuous_bernoulli_log_prob(grey, logits) + entropy
    lab.figure(
        "normalisation of grey pixels",
        float(missing.mean()),
        "nats that the cross-entropy of grey pixels lacks to be a log-density, mean over test images",
        error=standard_error(missing),
    )


@torch.no_grad()
def _digits(lab: Lab, model: VAE, test: Tensor) -> None:
    count = 100
    samples, probabilities = model.sample(count, lab.generator("samples"))
    panels = {
        "test digits, made binary": test[:count],
        "samples: z from the prior, then x": samples,
        "the pixels' probabilities for them": probabilities,
    }
    with lab.plot("samples", columns=3, width=10.5, height=3.8) as row:
        for axes, (title, images) in zip(row, panels.items(), strict=True):
            axes.imshow(sheet(images, 10), cmap="gray_r", vmin=0, vmax=1)
            axes.set_title(title, fontsize=10)
            axes.axis("off")


@torch.no_grad()
def _latent(lab: Lab, model: VAE, test: Tensor, labels: Tensor) -> None:
    means = model.posterior(test)[0].cpu()
    lab.figure(
        "reach of the latent",
        float(means.abs().max()),
        f"largest coordinate of q's mean, {len(test)} test images",
        notes=Noted(3.0, remark="set by hand as the range of their grid"),
    )
    with lab.plot("latent", width=6.2, height=5.5) as axes:
        points = axes.scatter(*means.T.numpy(), c=labels.numpy(), cmap="tab10", vmin=-0.5, vmax=9.5, s=8)
        axes.get_figure().colorbar(points, ticks=range(10), label="digit")
        angle = np.linspace(0, 2 * math.pi, 201)
        for share, style in ((0.5, "k-"), (0.95, "k--")):
            radius = math.sqrt(-2 * math.log(1 - share))
            axes.plot(radius * np.cos(angle), radius * np.sin(angle), style, lw=0.8, label=f"{share:.0%} of the prior")
        axes.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal", title="Means of $q(z|x)$, test images")
        axes.legend(loc="upper right", fontsize=8)


@torch.no_grad()
def _grid(lab: Lab, model: VAE) -> None:
    side = 20
    levels = torch.special.ndtri((torch.arange(side, dtype=torch.float64) + 0.5) / side).float().to(lab.device)
    # The second coordinate grows upwards, and images are laid out from the top.
    up, across = torch.meshgrid(levels.flip(0), levels, indexing="ij")
    probabilities = model.logits(torch.stack([across, up], -1).flatten(0, 1)).sigmoid()
    with lab.plot("grid", width=6.5, height=6.5) as axes:
        page = sheet(probabilities, side)
        axes.imshow(page, cmap="gray_r", vmin=0, vmax=1)
        step = (page.shape[0] + 1) / side
        shown = (0, 2, 5, 8, 11, 14, 17, 19)
        axes.set_xticks([step * (k + 0.5) for k in shown], [f"{float(levels[k]):.2f}" for k in shown])
        axes.set_yticks([step * (side - k - 0.5) for k in shown], [f"{float(levels[k]):.2f}" for k in shown])
        axes.set(xlabel="$z_1$", ylabel="$z_2$", title="Decoded at the prior's quantiles 0.025, 0.075, ..., 0.975")


def run(lab: Lab) -> None:
    """Trains, bounds the test images' log-likelihood, and looks at samples and at the latent plane."""
    images = data.digits(lab.setting.data, lab.generator("data"))
    test = binarise(images.test, lab.generator("test pixels")).to(lab.device)
    with lab.seeded("weights"):
        model = flat(images.side**2).to(lab.device)
    history = _train(lab, model, images.train.to(lab.device), test)
    _bounds(lab, model, history, test)
    _grey(lab, model, images.test.to(lab.device))
    _digits(lab, model, test)
    _latent(lab, model, test, images.test_labels)
    _grid(lab, model)
