r"""A generator of digits against a critic with the one-sided penalty: samples, moved coordinates, paths between two.

Nearest neighbours say whether the samples are copies (then they are nearer to the training images than new real images
are) and whether they leave something out (then new real images are far from them). What a critic reaches is no Wasserstein
distance: trained on few images it is above, on images it has not seen it is below what the best critic would find; beside it
stands the cheapest matching of as many samples as test images, whose mean is above $W_1$.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mathcheck.divergence.nearest_neighbour_kl import nearest_neighbour_kl
from mathcheck.experiments.data import Images, digits
from mathcheck.experiments.images import batches, sheet
from mathcheck.experiments.lab import Lab
from mathcheck.models.f_gan import Critics
from mathcheck.models.wgan import Wgan, between, penalised_gap, spherical_path, straight_path

LATENT, WIDTH, BATCH, WEIGHT = 100, 256, 64, 10.0
RATE, BETAS = 1e-3, (0.0, 0.9)
# Batches for the critic between two steps of the generator, and in an epoch: about one pass through MNIST's 7000.
CRITIC_STEPS, STEPS = 3, 111
MOVED, SHIFT = range(0, LATENT, 10), 5.0
ALPHA = torch.linspace(0, 1, 11)
COMPONENTS, NEIGHBOUR = 5, 3


def noise(n: int, generator: torch.Generator, like: Tensor) -> Tensor:
    """Standard normal noise `(n, LATENT)` on the device of `like`."""
    return torch.randn(n, LATENT, generator=generator).to(like.device)


def play(lab: Lab, model: Wgan, train: Tensor, validation: Tensor) -> list[dict[str, float]]:
    """Trains generator and critic against each other; returns what the critic reached in each epoch."""
    # One optimizer for both: Adam passes over weights without a gradient.
    optimizer = torch.optim.Adam(model.parameters(), RATE, betas=BETAS)
    players = {"critic": list(model.critic.parameters()), "generator": list(model.generator.parameters())}
    steps = lab.pick(STEPS, STEPS, 4)

    def step(player: str, loss: Tensor) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(loss, inputs=players[player])
        optimizer.step()

    def epoch(generator: torch.Generator) -> Mapping[str, float]:
        total = torch.zeros((), device=train.device)
        for number, real in enumerate(batches(train, BATCH, steps, generator)):
            with torch.no_grad():
                made = model(noise(len(real), generator, real))
            value = penalised_gap(model.critic, real, made, between(real, made, generator), WEIGHT).sum()
            step("critic", -value)
            total += value.detach()
            if number % CRITIC_STEPS == 0:
                step("generator", -model.critic(model(noise(BATCH, generator, real))).mean())
        with torch.no_grad():
            made = model(noise(len(validation), generator, validation))
        unseen = penalised_gap(model.critic, validation, made, between(validation, made, generator), WEIGHT)
        return {"training": float(total) / steps, "validation": float(unseen.detach())}

    return lab.fit("gan", model, optimizer, lab.pick(150, 25, 2), epoch)


def judge(
    lab: Lab, name: str, train: Tensor, unseen: Tensor, other: Callable[[int, torch.Generator], Tensor], fresh: Tensor
) -> tuple[float, float]:
    """What new critics reach between images that none of them was trained on, and its standard error.

    Args:
        lab: of the run.
        name: of what is judged.
        train: images `(n, d)`, and `other`: draws of the other kind, that the critics are trained on.
        unseen: images `(m, d)`, and `fresh`: as many of the other kind, that they are evaluated on.

    Returns:
        The mean over the critics, and an error that counts both their spread and that of the images.
    """
    repeats, epochs, steps = lab.pick((5, 20, 100), (3, 4, 75), (2, 1, 3))
    with lab.seeded(name, "weights"):
        critics = Critics(repeats, [train.shape[1], WIDTH, WIDTH]).to(lab.device)
    optimizer = torch.optim.Adam(critics.parameters(), RATE, betas=BETAS)

    def epoch(generator: torch.Generator) -> Mapping[str, float]:
        total = torch.zeros((), device=train.device)
        for real in batches(train, BATCH, steps, generator):
            made = other(len(real), generator)
            values = penalised_gap(critics, real, made, between(real, made, generator), WEIGHT)
            optimizer.zero_grad()
            torch.autograd.backward(-values.sum())
            optimizer.step()
            total += values.detach().mean()
        return {"value": float(total) / steps}

    lab.fit(name, critics, optimizer, epochs, epoch)
    points = between(unseen, fresh, lab.generator(name, "points"))
    values = penalised_gap(critics, unseen, fresh, points, WEIGHT).detach()
    with torch.no_grad():
        # Every critic sees the same images, so what an image is worth is averaged over critics first.
        worth = [critics(side).mean(0) for side in (unseen, fresh)]
    variance = values.var() / repeats + sum(side.var() / len(side) for side in worth)
    return float(values.mean()), float(variance) ** 0.5


def nearest(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The distance of each row of x to the nearest row of y, and which that is."""
    parts = [torch.cdist(part, y).argmin(dim=1) for part in x.tensor_split(-(-len(x) // 2000))]
    which = torch.cat(parts)
    # By differences, since `cdist` multiplies matrices and loses the digits of small distances.
    return (x - y[which]).norm(dim=1).cpu(), which.cpu()


def matching(x: Tensor, y: Tensor) -> float:
    """$W_1$ of two samples of n images each: the mean distance in the cheapest matching. Its own mean is above $W_1$."""
    cost = torch.cdist(x.cpu().double(), y.cpu().double())
    rows, columns = linear_sum_assignment(cost.numpy())
    return float(cost[torch.from_numpy(rows), torch.from_numpy(columns)].mean())


def _mean(lab: Lab, name: str, values: Tensor, what: str) -> None:
    """A mean over independent draws with its standard error."""
    lab.figure(name, float(values.mean()), what, error=float(values.std()) / math.sqrt(len(values)))


def run(lab: Lab) -> None:
    """Trains the pair, then looks at samples, neighbours, distances, moved coordinates and paths."""
    images = digits(lab.setting.data, lab.generator("data"))
    train, test = images.train.to(lab.device), images.test.to(lab.device)
    with lab.seeded("weights"):
        model = Wgan(LATENT, train.shape[1], WIDTH).to(lab.device)
    history = play(lab, model, train, images.validation.to(lab.device))
    model.requires_grad_(False)
    _training(lab, history)
    _samples(lab, model, images)
    _distances(lab, model, train, images.validation.to(lab.device), test)
    _moved(lab, model, train)
    _paths(lab, model, train)


def _training(lab: Lab, history: list[dict[str, float]]) -> None:
    last = history[-max(2, len(history) // 10) :]
    for name in ("training", "validation"):
        values = torch.tensor([record[name] for record in last])
        lab.figure(
            f"critic, {name} images",
            float(values.mean()),
            f"what the critic reaches on {name} images, mean over the last {len(last)} epochs with their spread",
            error=float(values.std()),
        )
    with lab.plot("training") as axes:
        for name in ("training", "validation"):
            axes.plot(range(1, len(history) + 1), [record[name] for record in history], label=f"{name} images")
        axes.set(
            xlabel="epoch",
            ylabel="mean over data - mean over samples - penalty",
            title="What the critic reaches",
            ylim=(0, None),
        )
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False)


def _samples(lab: Lab, model: Wgan, images: Images) -> None:
    train, test = images.train.to(lab.device), images.test.to(lab.device)
    made = model(noise(len(train), lab.generator("samples"), train))
    few = made[: len(test)]
    near, which = nearest(few, train)
    real, _ = nearest(test, train)
    _mean(lab, "sample to training image", near, "distance of a sample to the nearest training image")
    _mean(lab, "test to training image", real, "distance of a test image to the nearest training image")
    covered, _ = nearest(test, made)
    _mean(lab, "test image to sample", covered, f"distance of a test image to the nearest of {len(made)} samples")
    lab.figure(
        "copies",
        float((near < real.min()).double().mean()),
        "share of samples that are nearer to a training image than every test image is",
    )
    with lab.plot("samples", columns=2, width=9, height=4.8) as (left, right):
        for axes, shown, title in ((left, made, "samples"), (right, train, f"training images, from {images.name}")):
            axes.imshow(sheet(shown[:100], 10), cmap="gray_r", vmin=0, vmax=1)
            axes.set_title(title)
            axes.axis("off")
    with lab.plot("nearest", width=9, height=2.2) as axes:
        axes.imshow(sheet(torch.cat([few[:12], train.cpu()[which[:12]].to(few)]), 12), cmap="gray_r", vmin=0, vmax=1)
        axes.set_title("samples, and below each the nearest training image")
        axes.axis("off")
    with lab.plot("neighbours") as axes:
        bins = torch.linspace(0, float(torch.cat([near, real, covered]).max()), 41).tolist()
        for values, label in (
            (real, "test image to training images"),
            (near, "sample to training images"),
            (covered, "test image to samples"),
        ):
            axes.hist(values, bins, density=True, histtype="step", label=label)
        axes.set(xlabel="distance to the nearest", ylabel="density", title="Nearest neighbours")
        axes.legend(frameon=False)


def _distances(lab: Lab, model: Wgan, train: Tensor, validation: Tensor, test: Tensor) -> None:
    n = min(len(validation), len(test))
    validation, test = validation[:n], test[:n]

    def draw(size: int, generator: torch.Generator) -> Tensor:
        images: Tensor = model(noise(size, generator, train))
        return images

    half = len(train) // 2

    def others(size: int, generator: torch.Generator) -> Tensor:
        return train[half:].index_select(
            0, torch.randint(len(train) - half, (size,), generator=generator).to(train.device)
        )

    made = draw(n, lab.generator("judged"))
    value, error = judge(lab, "critics of samples", train, test, draw, made)
    lab.figure(
        "new critics, samples",
        value,
        error=error,
        what="what new critics reach between test images and samples that they were not trained on",
    )
    value, error = judge(lab, "critics of real images", train[:half], test, others, validation)
    lab.figure(
        "new critics, real images",
        value,
        error=error,
        what="what critics of two halves of the training images reach between test and validation images",
    )

    # The same images on one side for samples and for real ones: their figures have the same bias.
    repeats = lab.pick(10, 5, 2)
    both, mean = torch.cat([validation, test]), train.mean(0)
    axes = torch.linalg.svd(train - mean, full_matrices=False)[2][:COMPONENTS]
    found: dict[str, list[float]] = {
        name: [] for name in ("matching, samples", "matching, real images", "KL, samples", "KL, real images")
    }
    for number in range(repeats):
        generator = lab.generator("halves", number)
        left, right = both[torch.randperm(2 * n, generator=generator).to(both.device)].tensor_split(2)
        for name, other in (("samples", draw(n, generator)), ("real images", left)):
            found[f"matching, {name}"].append(matching(other, right))
            estimate = nearest_neighbour_kl((other - mean) @ axes.mT, (right - mean) @ axes.mT, NEIGHBOUR)
            found[f"KL, {name}"].append(float(estimate))
    what = {
        "matching": f"mean distance in the cheapest matching of {n} to {n} real images, above W1",
        "KL": f"nearest-neighbour KL to {n} real images in {COMPONENTS} principal components, which is at most that of images",
    }
    for name, values in found.items():
        spread = torch.tensor(values)
        lab.figure(
            name,
            float(spread.mean()),
            f"{what[name.split(',')[0]]}; mean of {repeats} with their spread",
            error=float(spread.std()),
        )


def _moved(lab: Lab, model: Wgan, train: Tensor) -> None:
    """One coordinate of the noise is moved by 5, off its law: P(|Z| > 5) is 5.7e-7. What changes shows sensitivity alone."""
    base = noise(lab.pick(1000, 500, 20), lab.generator("moved"), train)
    shifts = torch.zeros(len(MOVED) + 1, LATENT, device=base.device)
    shifts[torch.arange(len(MOVED)) + 1, torch.tensor(MOVED)] = SHIFT
    made = model((base[:, None] + shifts).flatten(0, 1)).reshape(len(base), len(shifts), -1)
    changes = (made[:, 1:] - made[:, :1]).norm(dim=-1).cpu()
    other = (made[:, 0] - made[:, 0].roll(1, 0)).norm(dim=-1).cpu()
    _mean(
        lab,
        "coordinate moved by 5",
        changes.mean(1),
        f"distance of the image to its baseline, over {len(MOVED)} coordinates",
    )
    _mean(lab, "two samples", other, "distance of two samples")
    with lab.plot("moved", width=10, height=4.3) as axes:
        shown = sheet(made[:4].flatten(0, 1), len(shifts))
        axes.imshow(shown, cmap="gray_r", vmin=0, vmax=1)
        axes.set_xticks(
            [shown.shape[1] * (i + 0.5) / len(shifts) for i in range(len(shifts))],
            ["baseline", *(f"z[{k}] + 5" for k in MOVED)],
            fontsize=8,
        )
        axes.set_yticks([])
        axes.set_title("One coordinate of the noise moved, four baselines")
        axes.tick_params(length=0)


def _paths(lab: Lab, model: Wgan, train: Tensor) -> None:
    """Paths between the same two images. Halfway on the straight one the noise is too short, on the spherical one it is not.

    The distance to a neighbour does not punish blur: of two images it is the mean that is nearest to the others.
    """
    start, end = noise(2 * lab.pick(1000, 400, 20), lab.generator("pairs"), train).reshape(2, -1, 1, LATENT)
    alpha = ALPHA.to(train.device)
    latent = {
        "straight in the noise": straight_path(start, end, alpha),
        "spherical in the noise": spherical_path(start, end, alpha),
    }
    made = {name: model(z) for name, z in latent.items()}
    made["between the pixels"] = straight_path(model(start), model(end), alpha)
    middle = len(ALPHA) // 2
    for name, z in latent.items():
        _mean(
            lab,
            f"|z|^2 halfway, {name}",
            z[:, middle].square().sum(-1).cpu(),
            f"squared length of the noise halfway, {LATENT} for a sample",
        )
    profiles = {}
    for name, path in made.items():
        near = nearest(path.flatten(0, 1), train)[0].reshape(-1, len(ALPHA))
        profiles[name] = near
        _mean(lab, f"neighbour halfway, {name}", near[:, middle], "distance to the nearest training image, halfway")
    with lab.plot("interpolation", rows=3, width=9, height=8) as axes:
        for row, (name, path) in zip(axes, made.items(), strict=True):
            row.imshow(sheet(path[:3].flatten(0, 1), len(ALPHA)), cmap="gray_r", vmin=0, vmax=1)
            row.set_title(name, fontsize=10)
            row.axis("off")
    with lab.plot("paths") as axes:
        for name, near in profiles.items():
            axes.errorbar(ALPHA, near.mean(0), near.std(0) / math.sqrt(len(near)), capsize=2, label=name)
        axes.set(
            xlabel="alpha", ylabel="distance to the nearest training image", title="On the way between two samples"
        )
        axes.legend(frameon=False)
