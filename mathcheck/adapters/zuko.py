r"""`zuko` as subjects: its transforms and distributions are torch's, and these functions add what zuko promises besides."""

from __future__ import annotations

import dataclasses
from typing import Any

from mathcheck.adapters import torch as of_torch
from mathcheck.engine.strategies import Interval
from mathcheck.flows.bijection import Bijection
from mathcheck.probability.density import Density

# Transforms whose log-determinant is zero by design.
_PRESERVING = (
    "IdentityTransform",
    "AdditiveTransform",
    "PermutationTransform",
    "RotationTransform",
    "CircularShiftTransform",
)


def bijection(transform: Any, **options: Any) -> Bijection:
    r"""A bijective transform of `zuko.transforms`.

    One that is inverted by bisection is searched on the interval that is bisected and keeps the promised tolerance there.

    Args:
        transform: the map.
        options: as for a transform of torch.
    """
    from zuko.transforms import MonotonicTransform

    bisected = isinstance(transform, MonotonicTransform)
    if bisected:
        options.setdefault("domain", Interval(-transform.bound, transform.bound, transform.bound))
    record = of_torch.bijection(transform, **options)
    if bisected:
        return dataclasses.replace(record, inverse_error=transform.eps, codomain=None)
    names = {base.__name__ for base in type(transform).__mro__}
    return dataclasses.replace(record, volume_preserving=record.volume_preserving or not names.isdisjoint(_PRESERVING))


def density(distribution: Any, *, support: Interval | None = None, reach: float = 10.0) -> Density:
    r"""A distribution of `zuko.distributions`; one that states no support has its transform's domain, or its base's support.

    Args:
        distribution: an instance.
        support: default as said.
        reach: bounds the magnitude of the points drawn.
    """
    from zuko.distributions import Maximum, Minimum, Mixture, NormalizingFlow

    if support is None and isinstance(distribution, NormalizingFlow):
        support = of_torch._box(distribution.transform.domain, reach)
    elif support is None and isinstance(distribution, (Maximum, Minimum, Mixture)):
        support = of_torch._box(distribution.base.support, reach)
    return of_torch.density(distribution, support=support, reach=reach)
