"""Ways in which a sampler goes wrong: the mutants of its laws, and what undoes them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Generator, Tensor

from mathcheck.probability.sampler.record import Sampler

# The far ends that the tail tests look at: beyond them lies at most this much probability on either side.
TAIL = 1e-3


Slip = Callable[[Sampler], Sampler]


def then(change: Callable[[Tensor], Tensor]) -> Slip:
    """The slip that puts `change(draws)` in place of the draws."""
    return lambda s: replace(s, sample=lambda n, generator: change(s.sample(n, generator)))


def _stretched(factor: float) -> Slip:
    def change(x: Tensor) -> Tensor:
        centre = x.double().mean()
        return (centre + (x.double() - centre) * factor).to(x.dtype)

    return then(change)


def clipped(s: Sampler) -> Sampler:
    if s.left_cdf is not None:
        raise NotImplementedError("a distribution with jumps may have no tails to lose")

    def change(x: Tensor) -> Tensor:
        ordered = x.sort().values
        cut = max(1, round(4 * TAIL * len(x)))
        return x.clamp(float(ordered[cut - 1]), float(ordered[-cut])) if len(x) > 2 * cut else x

    return then(change)(s)


def doubled(x: Tensor) -> Tensor:
    return x.repeat_interleave(2)[: len(x)]


def forgetful(s: Sampler) -> Sampler:
    count = itertools.count()
    return replace(s, sample=lambda n, generator: s.sample(n, Generator().manual_seed(next(count))))


def from_global_generator(s: Sampler) -> Sampler:
    def sample(n: int, generator: Generator) -> Tensor:
        return s.sample(n, Generator().manual_seed(int(torch.randint(2**31, ()))))

    return replace(s, sample=sample)


def cdf(change: Callable[[Tensor], Tensor]) -> Slip:
    """The slip that puts `change(level)` in place of the distribution function and of its left limits."""

    def slip(s: Sampler) -> Sampler:
        right, left = s.cdf, s.left_cdf
        if right is None:
            raise NotImplementedError("the sampler has no cdf")
        return replace(s, cdf=lambda x: change(right(x)), left_cdf=None if left is None else lambda x: change(left(x)))

    return slip


DISTRIBUTION: dict[str, Slip] = {
    "the probability of the other side is taken (1 - F)": cdf(lambda level: 1 - level),
    "half is added to the distribution function": cdf(lambda level: level + 0.5),
    "half is subtracted from the distribution function": cdf(lambda level: level - 0.5),
}
SPREAD: dict[str, Slip] = {
    "deviations from the mean are halved": _stretched(0.5),
    "deviations from the mean are doubled": _stretched(2.0),
    "deviations from the mean are multiplied by 1.5": _stretched(1.5),
}
PLACE: dict[str, Slip] = {
    "one is added to every draw": then(lambda x: x + 1),
    "one is subtracted from every draw": then(lambda x: x - 1),
    "the draws are squared": then(lambda x: x * x + (x == x * x)),
}
