"""Training: a step of a variational autoencoder, and an epoch's batches."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.dlpack import from_dlpack

from mathcheck.bench import jax as with_jax
from mathcheck.bench.kernel import COMPILED, OURS, PLAIN, Call, Contender, Inputs, Kernel, Size, Work
from mathcheck.bench.nets import SURE, Rounded, after_adam, back, drawn, exactly, net, through
from mathcheck.bench.training import Objective, our_compiled_step, our_step, plain_step
from mathcheck.engine.residual import Residual, close
from mathcheck.engine.residual import exactly as same
from mathcheck.experiments.images import batches
from mathcheck.linear.affine import Affine
from mathcheck.models.vae import VAE

PIXELS, HIDDEN, LATENT, RATE, BATCH = 784, 512, 2, 1e-3, 100
SIZES = ({"batch": 10}, {"batch": 100}, {"batch": 1000})
CARD_SIZES = ({"batch": 1000}, {"batch": 2**14}, {"batch": 2**16})


def _inputs(size: Size, generator: torch.Generator, dtype: torch.dtype) -> Inputs:
    """Binary images, noise, and the weights of encoder and decoder."""
    images = (torch.rand(size["batch"], PIXELS, generator=generator) < 0.3).to(dtype)
    noise = torch.randn(size["batch"], LATENT, generator=generator).to(dtype)
    encoder = drawn((PIXELS, HIDDEN, 2 * LATENT), generator, dtype, last=0.1)
    return images, noise, *encoder, *drawn((LATENT, HIDDEN, PIXELS), generator, dtype)


def _model(*weights: Tensor, linear: type[nn.Linear] = nn.Linear) -> VAE:
    return VAE(net(weights[:4], nn.ReLU, linear), net(weights[4:], nn.ReLU, linear), LATENT)


def _ours(take: Callable[..., Call]) -> Contender:
    def prepare(images: Tensor, noise: Tensor, *weights: Tensor) -> Call:
        objective = Objective(_model(*weights, linear=Affine), lambda model, x, e: -model.elbo(x, e).mean())
        return take(objective, images, noise, rate=RATE)

    return Contender(prepare)


def _notebook(images: Tensor, noise: Tensor, *weights: Tensor) -> Call:
    return plain_step(Objective(_model(*weights), _plain), images, noise, rate=RATE)


def _plain(model: VAE, images: Tensor, noise: Tensor) -> Tensor:
    """Probabilities from a logistic function, their cross-entropy, and the divergence as one finds it."""
    mean, log_variance = model.posterior(images)
    z = mean + (log_variance / 2).exp() * noise
    likelihood = functional.binary_cross_entropy(model.logits(z).sigmoid(), images, reduction="sum")
    return (likelihood - (1 + log_variance - mean**2 - log_variance.exp()).sum() / 2) / len(images)


def _with_pyro(images: Tensor, noise: Tensor, *weights: Tensor) -> Call:
    """Stochastic variational inference of pyro, with the closed-form divergence and this noise."""
    pyro: Any = importlib.import_module("pyro")
    distributions: Any = importlib.import_module("pyro.distributions")
    pyro.clear_param_store()
    model, rows = _model(*weights), len(images)

    class Given(distributions.Normal):  # type: ignore[misc]
        def rsample(self, sample_shape: Any = None) -> Tensor:
            return self.loc + self.scale * noise  # type: ignore[no-any-return]

    def generative(x: Tensor) -> None:
        pyro.module("decoder", model.decoder)
        with pyro.plate("images", rows), pyro.poutine.scale(scale=1 / rows):
            z = pyro.sample("z", distributions.Normal(x.new_zeros(rows, LATENT), 1.0).to_event(1))
            pyro.sample("x", distributions.Bernoulli(logits=model.logits(z)).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("encoder", model.encoder)
        with pyro.plate("images", rows), pyro.poutine.scale(scale=1 / rows):
            mean, log_variance = model.posterior(x)
            pyro.sample("z", Given(mean, (log_variance / 2).exp()).to_event(1))

    svi = pyro.infer.SVI(generative, guide, pyro.optim.Adam({"lr": RATE}), pyro.infer.TraceMeanField_ELBO())

    def run() -> list[Any]:
        return [torch.tensor(svi.step(images)).to(images), *map(Tensor.detach, model.parameters())]

    return run


def _jitted(images: Tensor, noise: Tensor, *weights: Tensor) -> Call:
    jax = with_jax.module()
    optax: Any = importlib.import_module("optax")
    jnp, optimizer = jax.numpy, optax.adam(RATE)

    def through(weights: Any, x: Any) -> Any:
        return jax.nn.relu(x @ weights[0].T + weights[1]) @ weights[2].T + weights[3]

    def loss(weights: Any, x: Any, e: Any) -> Any:
        mean, log_variance = jnp.split(through(weights[:4], x), 2, -1)
        logits = through(weights[4:], mean + jnp.exp(log_variance / 2) * e)
        likelihood = (x * logits - jax.nn.softplus(logits)).sum()
        return ((jnp.exp(log_variance) + mean**2 - 1 - log_variance).sum() / 2 - likelihood) / len(x)

    @jax.jit  # type: ignore[untyped-decorator]
    def update(weights: Any, state: Any, x: Any, e: Any) -> Any:
        value, gradient = jax.value_and_grad(loss)(weights, x, e)
        change, state = optimizer.update(gradient, state)
        return value, optax.apply_updates(weights, change), state

    double = images.dtype == torch.float64
    with jax.enable_x64(double):
        x, e, *start = (jnp.asarray(t.numpy()) for t in (images, noise, *weights))
        held = [start, optimizer.init(start)]

    def run() -> list[Tensor]:
        with jax.enable_x64(double):
            value, *held[:] = jax.block_until_ready(update(*held, x, e))
        return [from_dlpack(value), *map(from_dlpack, held[0])]

    return run


def _residuals(inputs: Inputs, result: Any) -> Iterator[Residual]:
    """The loss, and the parameters after the step, beside the same in double precision."""
    images, noise, *weights = (t.detach().double() for t in inputs)
    eps, rows = torch.finfo(inputs[0].dtype).eps, len(images)
    encoder = through(weights[:4], exactly(images), torch.relu)
    (mean, mean_off), (log_variance, log_variance_off) = (
        pair for pair in zip(*(t.chunk(2, -1) for t in encoder[-1][1]), strict=True)
    )
    deviation = Rounded((log_variance / 2).exp(), log_variance.exp() * (log_variance_off / 4 + 16))
    decoder = through(weights[4:], deviation.times(noise).plus(Rounded(mean, mean_off)), torch.relu)
    logits, logits_off = decoder[-1][1]
    # Slopes of the loss in the logits, of which the logistic function changes by at most a quarter as much.
    slope = Rounded((logits.sigmoid() - images) / rows, (logits_off / 16 + 16) / rows**2)
    of_decoder, at_z = back(weights[4:], decoder, slope, eps)
    half = deviation.times(noise / 2)
    spread = Rounded(
        (log_variance.exp() - 1) / 2 / rows, log_variance.exp().square() * (log_variance_off + 16) / rows**2
    )
    at_variance = Rounded(at_z.value * half.value, at_z.variance * half.value**2 + at_z.value**2 * half.variance)
    at_mean, at_variance = at_z.plus(Rounded(mean / rows, mean_off / rows**2)), at_variance.plus(spread)
    both = Rounded(*(torch.cat(pair, -1) for pair in zip(at_mean, at_variance, strict=True)))
    of_encoder, _ = back(weights[:4], encoder, both, eps)
    loss = _plain(_model(*weights), images, noise).detach()
    terms = ((1 + logits.abs()).sum() + (log_variance.exp() + 1 + log_variance.abs() + mean**2).sum()) / rows
    off = logits_off.sum().sqrt() / rows + (PIXELS * rows) ** 0.5 * terms
    value, *parameters = result
    yield close(value, loss, ulps=SURE, scale=off, what="the loss")
    yield from after_adam(weights, of_encoder + of_decoder, parameters, RATE, eps)


def _work(size: Size) -> Work:
    # Of the two large layers the first needs the gradient of its weights, the last that of its input, too.
    rows, large, small = size["batch"], PIXELS * HIDDEN, 3 * LATENT * HIDDEN
    return Work(rows * PIXELS + 7 * (2 * large + small), 2 * rows * (5 * large + 3 * small))


def _rows(size: Size, generator: torch.Generator, dtype: torch.dtype) -> Inputs:
    """Images that are numbered by their first pixel."""
    images = torch.rand(size["images"], PIXELS, generator=generator).to(dtype)
    images[:, 0] = torch.arange(size["images"]).to(dtype)
    return (images,)


def _epoch(draw: Callable[[Tensor], Iterator[Tensor]]) -> Contender:
    """The batches of one epoch, each of which somebody holds for a moment; the result is which images came."""

    def prepare(images: Tensor) -> Call:
        # A copy of the numbers: a view of them would keep every batch.
        return lambda: torch.cat([batch[:, 0].clone() for batch in draw(images)])

    return Contender(prepare)


def _our_batches(images: Tensor) -> Iterator[Tensor]:
    return batches(images, BATCH, math.ceil(len(images) / BATCH), torch.Generator().manual_seed(0))


def _loaded(images: Tensor) -> Iterator[Tensor]:
    return (batch for (batch,) in DataLoader(TensorDataset(images), batch_size=BATCH, shuffle=True))


def _each_once(inputs: Inputs, result: Tensor) -> Iterator[Residual]:
    yield same(result.sort().values, inputs[0][:, 0], what="the images that came, each once")


STEP = Kernel(
    "vae_step",
    "Step of a variational autoencoder 784-512-2",
    "probability.bernoulli",
    SIZES,
    _inputs,
    {
        OURS: _ours(our_step),
        COMPILED: _ours(our_compiled_step),
        PLAIN: Contender(_notebook),
        "pyro": Contender(_with_pyro, needs=("pyro",)),
        "JAX (jit)": Contender(_jitted, needs=("jax", "optax"), devices=("cpu",)),
    },
    _residuals,
    _work,
    CARD_SIZES,
)

KERNELS = (
    STEP,
    Kernel(
        "epoch",
        "Shuffled batches of 100 images, an epoch",
        "probability.bernoulli",
        ({"images": 100}, {"images": 1000}, {"images": 10_000}),
        _rows,
        {OURS: _epoch(_our_batches), PLAIN: _epoch(_loaded)},
        _each_once,
        lambda size: Work(2 * size["images"] * PIXELS),
    ),
)
