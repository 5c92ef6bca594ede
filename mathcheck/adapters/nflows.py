r"""`nflows` as subjects: its transforms are bijections, its distributions densities and samplers."""

from __future__ import annotations

from typing import Any

from torch.distributions import Distribution

from mathcheck.adapters import torch as of_torch
from mathcheck.adapters.pairs import Shape, bijection_of_pairs, dtype_of
from mathcheck.engine.strategies import Interval
from mathcheck.flows.bijection import Bijection, Map
from mathcheck.probability.density import Density
from mathcheck.probability.sampler import Sampler

# Transforms whose log-determinant is zero by design.
_PRESERVING = (
    "IdentityTransform",
    "Permutation",
    "SqueezeTransform",
    "HouseholderSequence",
    "AdditiveCouplingTransform",
)


def bijection(
    transform: Any, *, event_shape: Shape | None = None, domain: Interval | None = None, reach: float = 10.0
) -> Bijection:
    r"""An `nflows.transforms.Transform`, in evaluation mode.

    Domain and codomain are the widest of $\mathbb R$, $(-1, 1)$ and $(0, 1)$ that it does not call outside its domain.

    Args:
        transform: the map.
        event_shape: of x; default the first that the transform takes.
        domain: default the one that it takes.
        reach: bounds the magnitude of the points and targets drawn.

    Raises:
        TypeError: if `transform` is no module, or takes no small event.
    """
    from nflows.transforms import InverseNotAvailable

    names = {base.__name__ for base in type(transform).__mro__}
    return bijection_of_pairs(
        transform,
        event_shape=event_shape,
        domain=domain,
        reach=reach,
        volume_preserving=not names.isdisjoint(_PRESERVING),
        missing=(InverseNotAvailable,),
    )


def density(distribution: Any, *, event_shape: Shape = (1,), support: Interval | None = None) -> Density:
    r"""An `nflows.distributions.Distribution` without context, or an `nflows.flows.Flow`, of vectors.

    Args:
        distribution: of vectors; the default is a distribution of one number.
        event_shape: of one vector; a distribution that is also torch's has its own.
        support: default all reals.
    """
    if isinstance(distribution, Distribution):
        return of_torch.density(distribution, support=support)
    support = support or Interval(reach=10.0)
    return Density(distribution.log_prob, support, tuple(event_shape), dtype=dtype_of(distribution))


def sampler(distribution: Any, cdf: Map, *, statistic: Map | None = None) -> Sampler:
    r"""An `nflows.distributions.Distribution` without context, with the distribution function of its draws.

    Args:
        distribution: an instance.
        cdf: of the numbers that are judged, `(k,)` -> `(k,)`.
        statistic: maps draws `(n, *event_shape)` to these numbers `(n,)`; default the first coordinate.
    """
    number = statistic or (lambda draws: draws.flatten(1)[:, 0])
    return Sampler(of_torch.seeded(lambda n: number(distribution.sample(n))), cdf)
