"""Slips of Kullback-Leibler divergences between normals, as a variational autoencoder needs them."""

from __future__ import annotations

import math

from torch import Tensor

from mathcheck import Settings, check_divergence, normals
from mathcheck.divergence.divergence import Divergence
from museum.exhibit import Exhibit

# The textbook formula cancels where the arguments are nearly equal, and overflows for extreme spreads.
APART = normals(near_equal=False, reach=20)
LOG_STD = normals("log_std", near_equal=False, reach=20)


# The certified integral takes its time.
FEW = Settings(examples=12, shrink=False)


def terms(mean_q: Tensor, log_variance_q: Tensor, mean_p: Tensor, log_variance_p: Tensor) -> Tensor:
    log_ratio = log_variance_q - log_variance_p
    return 0.5 * (log_ratio.exp() - 1 - log_ratio + (mean_q - mean_p) ** 2 / log_variance_p.exp())


def kl(*x: Tensor) -> Tensor:
    return terms(*x).sum(-1)


def kl_log_std(mean_q: Tensor, log_std_q: Tensor, mean_p: Tensor, log_std_p: Tensor) -> Tensor:
    ratio = (2 * (log_std_q - log_std_p)).exp()
    return (log_std_p - log_std_q + 0.5 * (ratio + ((mean_q - mean_p) / log_std_p.exp()) ** 2 - 1)).sum(-1)


def without_half_the_dimension(mq: Tensor, lq: Tensor, mp: Tensor, lp: Tensor) -> Tensor:
    return 0.5 * ((lq - lp).exp() + (mq - mp) ** 2 / lp.exp() + lp - lq).sum(-1)


def detached_prior(mq: Tensor, lq: Tensor, mp: Tensor, lp: Tensor) -> Tensor:
    return kl(mq, lq, mp.detach(), lp.detach())


RIGHT = Divergence(kl, APART)
RIGHT_LOG_STD = Divergence(kl_log_std, LOG_STD)

EXHIBITS = [
    Exhibit(
        "a KL summed over the batch",
        check_divergence,
        Divergence(lambda *x: terms(*x).sum(), APART),
        RIGHT,
        named="the rows of a batch are kept apart",
        settings=FEW,
    ),
    Exhibit(
        "a KL that takes log sigma for log sigma^2",
        check_divergence,
        Divergence(kl, LOG_STD),
        RIGHT_LOG_STD,
        named="it takes variances for standard deviations",
        settings=FEW,
    ),
    Exhibit(
        "a KL that takes log sigma^2 for log sigma",
        check_divergence,
        Divergence(kl_log_std, APART),
        RIGHT,
        named="it takes standard deviations for variances",
        settings=FEW,
    ),
    Exhibit(
        "a KL without -d/2",
        check_divergence,
        Divergence(without_half_the_dimension, APART),
        RIGHT,
        named="n/2 is subtracted",
        settings=FEW,
    ),
    Exhibit(
        "the KL of p to q for that of q to p",
        check_divergence,
        Divergence(lambda a, b, c, d: kl(c, d, a, b), APART),
        RIGHT,
        named="the arguments are swapped",
        settings=FEW,
    ),
    Exhibit(
        "a KL in bits",
        check_divergence,
        Divergence(lambda *x: kl(*x) / math.log(2), APART),
        RIGHT,
        named="from bits to nats",
        settings=FEW,
    ),
    Exhibit(
        "a KL averaged over the latent dimensions",
        check_divergence,
        Divergence(lambda *x: terms(*x).mean(-1), APART),
        RIGHT,
        named="a sum for a mean",
        settings=FEW,
    ),
    Exhibit(
        "a KL to a prior that is detached",
        check_divergence,
        Divergence(detached_prior, APART),
        RIGHT,
        named="gradients flow to every argument",
        settings=FEW,
    ),
]
