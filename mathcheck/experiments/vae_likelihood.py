r"""The log-likelihood of a variational autoencoder by importance sampling: a bound like the ELBO, but a tighter one.

A hundred latent coordinates, and 200 samples for each image. The notes print $-$ELBO on one set, $\log p(x)$ by importance
sampling on another, and compare the two; the mean of that estimate is $L_{200}$, which lies below $\log p(x)$ as well. Here
both are of the same images and the same samples, so that their difference has an error of its own.
"""

from __future__ import annotations

import torch

from mathcheck.experiments import data
from mathcheck.experiments.lab import Lab, Noted
from mathcheck.experiments.vae import ascend, show_bounds, standard_error
from mathcheck.models.vae import binarise, deep

# The notes' epoch is 782 updates with 64 of 50,000 images: so it is here, however few images there are.
RATE, BATCH, UPDATES = 3e-4, 64, 782
NOTES = (
    167.8845,
    142.4417,
    129.1848,
    121.1112,
    115.9742,
    113.1268,
    110.8936,
    109.1838,
    107.7133,
    106.6328,
    105.8504,
    105.1081,
    104.2017,
    103.8463,
    102.8898,
    102.5954,
    102.3549,
    101.9560,
    101.5009,
    101.2808,
)
NOTES_BOUND = -95.54447174072266
SHOWN = (1, 2, 5, 10, 20)
REMARK = "50,000 images to train on, with pixels drawn once"


def run(lab: Lab) -> None:
    """Trains with a look at the validation images after each epoch, then bounds the test images' log-likelihood."""
    images = data.digits(lab.setting.data, lab.generator("data"))
    grey = images.train.to(lab.device)
    validation = binarise(images.validation, lab.generator("validation pixels")).to(lab.device)
    test = binarise(images.test, lab.generator("test pixels")).to(lab.device)
    with lab.seeded("weights"):
        model = deep(images.side**2).to(lab.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    updates = lab.pick(UPDATES, 80, 5)

    def epoch(generator: torch.Generator) -> dict[str, float]:
        bound = ascend(model, optimizer, grey, BATCH, updates, generator)
        noise = torch.randn(len(validation), model.latent, generator=lab.generator("validation noise"))
        with torch.no_grad():
            values = model.elbo(validation, noise.to(lab.device))
        return {"training": -bound, "validation": -float(values.mean()), "error": standard_error(values)}

    history = lab.fit("vae", model, optimizer, lab.pick(len(NOTES), len(NOTES), 2), epoch)
    epochs = range(1, len(history) + 1)
    theirs = lab.setting.data is not None
    for number in (number for number in SHOWN if number in epochs):
        found = history[number - 1]
        lab.figure(
            f"-ELBO, epoch {number}",
            found["validation"],
            f"nats, mean over {len(validation)} validation images after {number * updates} updates",
            error=found["error"],
            notes=Noted(NOTES[number - 1], remark=REMARK) if theirs and updates == UPDATES else None,
        )

    most = lab.pick(200, 200, 10)
    log_weights = model.many_log_weights(test, most, lab.generator("bounds"))
    with lab.plot("bounds", columns=2, width=9, height=3.6) as (left, right):
        for name, color in (("training", "C0"), ("validation", "C1")):
            steps = [number * updates for number in epochs]
            left.plot(steps, [found[name] for found in history], color, label=name)
        if theirs:
            steps = [number * UPDATES for number in range(1, len(NOTES) + 1)]
            left.plot(steps, NOTES, "k.", ms=4, label="notes, validation")
        left.set(
            xscale="log", xlabel=f"updates with {BATCH} images each", ylabel="nats", title="$-$ELBO while it learns"
        )
        left.legend()
        one, many = show_bounds(right, log_weights)
    what = f"mean over {len(test)} test images, in nats"
    lab.figure("ELBO", float(one.mean()), f"L_1, {what}", error=standard_error(one))
    noted = Noted(NOTES_BOUND, remark=f"an estimate of L_200 that they call log p(x); {REMARK}")
    lab.figure(
        f"L_{most}",
        float(many.mean()),
        f"importance sampling with {most} samples, a bound, {what}",
        error=standard_error(many),
        notes=noted if theirs else None,
    )
    lab.figure(
        f"L_{most} - ELBO",
        float((many - one).mean()),
        "by how much more samples tighten the bound, same images",
        error=standard_error(many - one),
    )
