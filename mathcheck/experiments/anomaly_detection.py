r"""What is no digit? An autoencoder's error as a score, with a threshold three standard deviations above the mean.

The rule sounds as if it flagged 0.135 % of the digits. That is the share of a normal distribution; these scores are skewed,
and all that holds of any distribution is Cantelli's 10 %. So both error rates are counted, with exact intervals, and
several trainings show what the intervals of one leave out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from scipy.stats import binomtest
from torch import Tensor

from mathcheck.experiments import data
from mathcheck.experiments.data import Images
from mathcheck.experiments.images import batches, sheet
from mathcheck.experiments.lab import Lab, Noted
from mathcheck.models.autoencoder import Autoencoder
from mathcheck.probability.one_sided_bound import cantelli_bound, deviations_above

RATE, BATCH, DEVIATIONS = 1e-3, 100, 3
# The notes' ten epochs of 50,000 images are 5000 updates: as many here, however few images there are.
ROUND = 100
THEIRS = "they trained with 50,000 images and counted among 10,000"


@dataclass(frozen=True)
class Rates:
    """What the rule makes of new images.

    Attributes:
        threshold: above it an image is flagged. `threshold_error`: its standard error.
        digits, anomalies: scores of both kinds.
    """

    threshold: float
    threshold_error: float
    digits: Tensor
    anomalies: Tensor

    @property
    def counts(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Digits that are flagged, of how many; anomalies that are not, of how many."""
        false_alarms, misses = (self.digits > self.threshold).sum(), (self.anomalies <= self.threshold).sum()
        return (int(false_alarms), len(self.digits)), (int(misses), len(self.anomalies))


def judge(validation: Tensor, digits: Tensor, anomalies: Tensor) -> Rates:
    """Sets the threshold by the first scores and holds it against the others, each `(n,)`."""
    threshold = float(deviations_above(validation, DEVIATIONS))
    # The delta method: what one more score at s adds to the mean and to three times the standard deviation.
    off, deviation = validation - validation.mean(), validation.std(correction=0)
    influence = off + DEVIATIONS * (off.square() - deviation.square()) / (2 * deviation)
    return Rates(threshold, float(influence.std()) / len(validation) ** 0.5, digits, anomalies)


def train(lab: Lab, number: int, images: Images) -> tuple[Autoencoder, list[dict[str, float]]]:
    """One net, and its errors after every hundred updates."""
    with lab.seeded("weights", number):
        model = Autoencoder(images.side**2).to(lab.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    train, validation = images.train.to(lab.device), images.validation.to(lab.device)

    def updates(generator: torch.Generator) -> dict[str, float]:
        losses = []
        for batch in batches(train, BATCH, ROUND, generator):
            loss = model.score(batch).mean()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            losses.append(loss.detach())
        with torch.no_grad():
            return {"training": float(torch.stack(losses).mean()), "validation": float(model.score(validation).mean())}

    return model, lab.fit(f"autoencoder {number + 1}", model, optimizer, lab.pick(50, 20, 2), updates)


def _rate(lab: Lab, name: str, count: tuple[int, int], what: str, flagged: int) -> None:
    found = binomtest(*count)
    low, high = found.proportion_ci(0.95, method="exact")
    share = flagged / 10_000
    noted = Noted(share, (share * (1 - share) / 10_000) ** 0.5, THEIRS)
    lab.figure(
        name,
        found.statistic,
        f"{what}: {count[0]} of {count[1]}",
        interval=(float(low), float(high)),
        notes=noted if lab.setting.data else None,
    )


def _figures(lab: Lab, images: Images, model: Autoencoder, results: list[Rates]) -> None:
    """What was found; beside the notes' figures if it is about the same two kinds of images."""
    first, pixels = results[0], images.side**2

    def noted(value: float, remark: str) -> Noted | None:
        return Noted(value, remark=remark) if lab.setting.data else None

    with torch.no_grad():
        errors = model.score(images.train.to(lab.device))
    lab.figure(
        "training error",
        float(errors.mean()),
        "mean squared error of a pixel of the training images",
        error=float(errors.std()) / len(errors) ** 0.5,
        notes=noted(0.010582, "theirs is that of the last batch"),
    )
    lab.figure(
        "threshold",
        first.threshold,
        "mean + 3 standard deviations of the validation scores",
        error=first.threshold_error,
        notes=noted(0.0321, THEIRS),
    )
    lab.figure(
        "threshold of the sum",
        first.threshold * pixels,
        "the same for errors that are summed over the pixels",
        error=first.threshold_error * pixels,
        notes=noted(22.62565851211548, THEIRS),
    )
    alarms, misses = first.counts
    bound = float(cantelli_bound(Fraction(DEVIATIONS)))
    flagged = f"share of digits flagged (0.135 % of a normal distribution, at most {bound:.0%} of any)"
    passed = f"share of {images.anomalies_name} that pass"
    _rate(lab, "type I error", alarms, flagged, 87)
    _rate(lab, "type II error", misses, passed, 316)
    if lab.setting.data:
        _rate(lab, "type I error, second notes", alarms, flagged, 108)
        _rate(lab, "type II error, second notes", misses, passed, 244)
    if len(results) > 1:
        _trainings(lab, "type I", "of digits flagged", [one.counts[0] for one in results], (87, 108))
        _trainings(lab, "type II", "of anomalies that pass", [one.counts[1] for one in results], (316, 244))


def _trainings(lab: Lab, name: str, what: str, counts: list[tuple[int, int]], flagged: tuple[int, int]) -> None:
    """The rate of several nets, which are judged by the same images, beside that of the notes' two."""
    shares, images = torch.tensor([count / total for count, total in counts]), counts[0][1]
    mean, deviation = float(shares.mean()), float(shares.std())

    def error(trainings: int, total: int) -> float:
        return math.sqrt(deviation**2 / trainings + mean * (1 - mean) / total)

    theirs = Noted(sum(flagged) / 20_000, error(2, 20_000), f"the mean of their two nets; {THEIRS}")
    lab.figure(
        f"{name} error, mean of trainings",
        mean,
        f"mean share {what} by {len(counts)} nets, which differ in chance",
        error=error(len(counts), images),
        notes=theirs if lab.setting.data else None,
    )
    lab.figure(
        f"{name} error, deviation between trainings",
        deviation,
        f"standard deviation of the share {what} between {len(counts)} nets",
    )


def _plot_scores(lab: Lab, images: Images, found: Rates) -> None:
    with lab.plot("scores", height=4) as axes:
        both = torch.cat([found.digits, found.anomalies])
        bins = torch.logspace(float(both.min().log10()), float(both.max().log10()), 61).tolist()
        (alarms, digits), (misses, anomalies) = found.counts
        for scores, label, color in (
            (found.digits, f"digits: {alarms / digits:.2%} above", "C0"),
            (found.anomalies, f"{images.anomalies_name}: {misses / anomalies:.2%} below", "C1"),
        ):
            weights = [1 / len(scores)] * len(scores)
            axes.hist(
                scores.tolist(), bins, weights=weights, histtype="stepfilled", alpha=0.5, color=color, label=label
            )
        axes.axvline(found.threshold, color="k", lw=1, label=f"mean + 3 sd of validation: {found.threshold:.3g}")
        axes.set(
            xscale="log",
            xlabel="mean squared error of a pixel",
            ylabel="share of the images",
            title="What an autoencoder of digits makes of digits, and of something else",
        )
        axes.legend(loc="upper left")
        axes.set_ylim(0, axes.get_ylim()[1] * 1.3)


def _plot_images(lab: Lab, images: Images, model: Autoencoder, found: Rates) -> None:
    groups = {
        "digits that pass": images.test[found.digits <= found.threshold],
        "digits that are flagged (type I)": images.test[found.digits > found.threshold],
        "anomalies that are flagged": images.anomalies[found.anomalies > found.threshold],
        "anomalies that pass (type II)": images.anomalies[found.anomalies <= found.threshold],
    }
    columns = 8
    with lab.plot("reconstructions", rows=2, columns=2, width=9, height=3.6) as grid:
        for axes, (title, group) in zip(grid.flat, groups.items(), strict=True):
            shown = torch.zeros(2 * columns, images.side**2)
            some = group[:columns]
            with torch.no_grad():
                back = model(some.to(lab.device)).cpu()
            shown[: len(some)], shown[columns : columns + len(some)] = some, back
            axes.imshow(sheet(shown, columns), cmap="gray_r", vmin=0, vmax=1)
            axes.set_title(f"{title}: {len(group)}", fontsize=10)
            axes.axis("off")
        figure = grid[0, 0].get_figure()
        figure.get_layout_engine().set(wspace=0.06, hspace=0.06)
        figure.supxlabel("above: the image; below: what the autoencoder makes of it", fontsize=9)


def run(lab: Lab) -> None:
    """Trains, sets the threshold, counts both errors and looks at them."""
    images = data.digits(lab.setting.data, lab.generator("data"))
    results, models, histories = [], [], []
    for number in range(lab.pick(5, 2, 1)):
        model, history = train(lab, number, images)
        with torch.no_grad():
            parts = (images.validation, images.test, images.anomalies)
            results.append(judge(*(model.score(part.to(lab.device)).cpu() for part in parts)))
        models.append(model)
        histories.append(history)
    _figures(lab, images, models[0], results)
    with lab.plot("training", height=3.5) as axes:
        for name, color in (("training", "C0"), ("validation", "C1")):
            for history in histories:
                steps = [ROUND * (k + 1) for k in range(len(history))]
                label = name if history is histories[0] else None
                axes.plot(steps, [found[name] for found in history], color, lw=1, alpha=0.7, label=label)
        axes.set(
            ylim=(0, None),
            xlabel=f"updates with {BATCH} images each",
            ylabel="mean squared error of a pixel",
            title="The autoencoder's error while it learns",
        )
        axes.legend()
    _plot_scores(lab, images, results[0])
    _plot_images(lab, images, models[0], results[0])
