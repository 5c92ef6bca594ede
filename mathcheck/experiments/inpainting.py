r"""Missing pixels filled in by projected ascent of log p under NICE, beside the notes' update, which is no ascent.

The notes write the clamped gradient of -log p into the missing pixels and let gradients accumulate: that is no step from
where the pixels are, and points down. Here a step along the gradient of log p is projected onto the pictures that agree
with the observed pixels, $x^+ = P(x + \alpha\nabla\log p(x))$. The notes' layers are 1000 wide; here they are half as wide,
so that a processor trains them in minutes, and of all epochs the one counts whose validation images are likeliest.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from mathcheck.convex.projected_gradient import gradient, projected_gradient_ascent
from mathcheck.convex.segment import project_on_segment
from mathcheck.experiments.data import Images, digits
from mathcheck.experiments.lab import Lab
from mathcheck.models.nice import Nice

RATE, SCALE_RATE, BATCHES = 1e-3, 1e-2, 70
STEPS = 300
# The notes' step, and shorter ones at the end, since log p is steep.
STEP_SIZES = (1e-3, 1e-3, 2e-4)
# Noise of one grey value of 256 would leave the density of black pixels as all that there is to learn in a short time.
NOISE = 1 / 16
# The notes' hole in a picture of 28 x 28: rows and columns from and up to, not including.
HOLE = ((5, 12), (5, 20))


def observed(side: int) -> Tensor:
    """Where the pixels of a picture are known: `(side * side,)`, false in the notes' hole scaled to its side."""
    known = torch.ones(side, side, dtype=torch.bool)
    (top, bottom), (left, right) = ([round(edge * side / 28) for edge in edges] for edges in HOLE)
    known[top:bottom, left:right] = False
    return known.flatten()


def ascend(log_prob: Callable[[Tensor], Tensor], x: Tensor, known: Tensor, steps: int) -> Tensor:
    """The pictures `(k, n)` after `steps` of projected ascent in all, in legs of falling step size."""

    def project(y: Tensor) -> Tensor:
        return project_on_segment(y, known.expand_as(y), x)

    point = x
    for step_size in STEP_SIZES:
        point = projected_gradient_ascent(log_prob, point, project, step_size, steps // len(STEP_SIZES))
    return point


def notes_update(log_prob: Callable[[Tensor], Tensor], x: Tensor, known: Tensor, steps: int) -> Tensor:
    """What the notes do: the accumulated gradient of -log p, clamped to [0, 1], becomes the missing pixels."""
    total, point = torch.zeros_like(x), x
    for _ in range(steps):
        total = total - gradient(log_prob, point)
        point = torch.where(known, x, total.clamp(0, 1))
    return point


class _Kept(nn.Module):
    """A flow in training, and its state when it did best on validation images."""

    best_log_prob: Tensor

    def __init__(self, flow: Nice) -> None:
        super().__init__()
        self.flow, self.best = flow, copy.deepcopy(flow)
        self.register_buffer("best_log_prob", torch.tensor(-math.inf))

    def judge(self, log_prob: Tensor) -> None:
        """Keeps the present state if its validation log-likelihood is the highest so far."""
        if bool(log_prob > self.best_log_prob):
            self.best.load_state_dict(self.flow.state_dict())
            self.best_log_prob.copy_(log_prob)


def _spread(x: Tensor, generator: torch.Generator) -> Tensor:
    """Images with uniform noise: grey values lie on a grid, where a density could grow without end."""
    return (x + NOISE * torch.rand(x.shape, generator=generator).to(x)) / (1 + NOISE)


def _train(lab: Lab, images: Images) -> Nice:
    train, validation = images.train.to(lab.device), images.validation.to(lab.device)
    with lab.seeded("initial"):
        flow = Nice(images.side**2, *lab.pick((500, 5), (128, 5), (16, 2))).to(lab.device)
    with torch.no_grad():
        # A logistic variable has the standard deviation pi / sqrt 3: so every pixel begins at its own scale.
        deviation = _spread(train, lab.generator("scales")).std(0)
        flow.log_scales.copy_((math.pi / math.sqrt(3) / deviation).log())
    kept = _Kept(flow).to(lab.device)
    groups: list[dict[str, Any]] = [
        {"params": list(flow.shifts.parameters())},
        {"params": [flow.log_scales], "lr": SCALE_RATE},
    ]
    fixed = _spread(validation, lab.generator("validation"))

    def epoch(generator: torch.Generator) -> dict[str, float]:
        order, total = torch.randperm(len(train), generator=generator).to(train.device), train.new_zeros(())
        for rows in order.tensor_split(BATCHES):
            value = flow.log_prob(_spread(train.index_select(0, rows), generator)).mean()
            optimizer.zero_grad()
            torch.autograd.backward(-value)
            optimizer.step()
            total += value.detach()
        with torch.no_grad():
            found = flow.log_prob(fixed).mean()
        kept.judge(found)
        return {"train": float(total) / BATCHES, "validation": float(found)}

    optimizer = torch.optim.Adam(groups, lr=RATE)
    history = lab.fit("nice", kept, optimizer, lab.pick(60, 20, 1), epoch)
    lab.figure(
        "validation log p",
        float(kept.best_log_prob),
        f"mean log-density in nats of {len(validation)} validation images with noise",
    )
    _draw_training(lab, history)
    return kept.best


def run(lab: Lab) -> None:
    """Trains NICE, makes the hole, fills it both ways and compares log p, the distance to the original and pictures."""
    images = digits(lab.setting.data, lab.generator("data"))
    flow = _train(lab, images)
    flow.requires_grad_(False)

    def log_prob(x: Tensor) -> Tensor:
        """Of pictures in [0, 1]: the noise was above them, so they are moved to its middle."""
        return flow.log_prob((x + NOISE / 2) / (1 + NOISE))

    original = images.test[: lab.pick(500, 100, 8)].to(lab.device)
    known = observed(images.side).to(lab.device)
    damaged = torch.where(known, original, 1.0)
    steps = lab.pick(STEPS, STEPS, 30)
    pictures = {
        "original": original,
        "damaged": damaged,
        "notes": notes_update(log_prob, damaged, known, steps),
        "ascent": ascend(log_prob, damaged, known, steps),
    }
    values = {name: log_prob(x) for name, x in pictures.items()}
    what = {
        "original": "of the originals",
        "damaged": "at the start, with ones in the hole",
        "notes": "after the notes' update",
        "ascent": "after projected ascent",
    }
    root, lost = math.sqrt(len(original)), f"of the {int((~known).sum())} missing pixels from the original"
    for name, value in values.items():
        lab.figure(
            f"log p, {name}",
            float(value.mean()),
            f"mean log-density {what[name]}, in nats",
            error=float(value.std()) / root,
        )
    for name in ("damaged", "notes", "ascent"):
        squares = (pictures[name] - original)[:, ~known].square().mean(1)
        lab.figure(
            f"squared error, {name}",
            float(squares.mean()),
            f"mean squared difference {lost} {what[name]}",
            error=float(squares.std()) / root,
        )
    average = images.train.mean(0).to(lab.device)
    squares = (average - original)[:, ~known].square().mean(1)
    lab.figure(
        "squared error, average image",
        float(squares.mean()),
        "mean squared difference of the training images' mean there",
        error=float(squares.std()) / root,
    )
    for name in ("notes", "ascent"):
        risen = int((values[name] > values["damaged"]).sum())
        lab.figure(
            f"log p rises, {name}",
            risen / len(original),
            f"share of images with a higher log p {what[name]}",
            interval=tuple(binomtest(risen, len(original)).proportion_ci()),
        )
    _draw_pictures(lab, images.side, pictures, values)


def _draw_training(lab: Lab, history: list[dict[str, float]]) -> None:
    with lab.plot("training") as axes:
        for part in ("train", "validation"):
            axes.plot(range(1, len(history) + 1), [found[part] for found in history], label=part)
        axes.set(xlabel="epoch", ylabel="log p in nats", title="NICE: mean log-density")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False)


def _draw_pictures(lab: Lab, side: int, pictures: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    titles = {"original": "original", "damaged": "damaged", "notes": "notes' update", "ascent": "projected ascent"}
    with lab.plot("inpainting", rows=len(pictures), columns=8, width=10, height=6) as axes:
        for row, (name, x) in zip(axes, pictures.items(), strict=True):
            for k, panel in enumerate(row):
                panel.imshow(x[k].reshape(side, side).cpu().numpy(), cmap="gray", vmin=0, vmax=1)
                panel.set_title(f"log p = {float(values[name][k]):.0f}", fontsize="small")
                panel.set(xticks=[], yticks=[])
            row[0].set_ylabel(titles[name])
