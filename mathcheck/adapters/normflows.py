r"""`normflows` as subjects: its flows are bijections, its distributions densities and samplers."""

from __future__ import annotations

from typing import Any

from mathcheck.adapters.pairs import Shape, bijection_of_pairs, dtype_of
from mathcheck.adapters.torch import seeded
from mathcheck.engine.strategies import Interval
from mathcheck.flows.bijection import Bijection, Map
from mathcheck.probability.density import Density
from mathcheck.probability.sampler import Sampler

# Flows whose log-determinant is zero by design.
_PRESERVING = ("Permute", "Squeeze", "PeriodicShift", "PeriodicWrap")


def bijection(
    flow: Any, *, event_shape: Shape | None = None, domain: Interval | None = None, reach: float = 10.0
) -> Bijection:
    r"""A `normflows.flows.Flow`, in evaluation mode.

    Several of them return one log-determinant for all rows, as the library's own models take it.

    Args:
        flow: the map, from the latent variable to the data.
        event_shape: of x; default the first that the flow takes.
        domain: default all reals.
        reach: bounds the magnitude of the points and targets drawn.

    Raises:
        TypeError: if `flow` is no module, or takes no small event.
    """
    names = {base.__name__ for base in type(flow).__mro__}
    return bijection_of_pairs(
        flow,
        event_shape=event_shape,
        domain=domain or Interval(reach=reach),
        reach=reach,
        volume_preserving=not names.isdisjoint(_PRESERVING),
    )


def density(distribution: Any, *, event_shape: Shape | None = None, support: Interval | None = None) -> Density:
    r"""A `normflows.distributions.BaseDistribution` without classes or context, or a `normflows.NormalizingFlow`.

    Args:
        distribution: of vectors.
        event_shape: of one vector; default the distribution's own `shape`, or one number.
        support: default all reals.
    """
    shape = getattr(distribution, "shape", (1,)) if event_shape is None else event_shape
    return Density(distribution.log_prob, support or Interval(reach=10.0), tuple(shape), dtype=dtype_of(distribution))


def sampler(distribution: Any, cdf: Map, *, statistic: Map | None = None) -> Sampler:
    r"""A `normflows.distributions.BaseDistribution`, with the distribution function of its draws.

    Args:
        distribution: an instance.
        cdf: of the numbers that are judged, `(k,)` -> `(k,)`.
        statistic: maps draws `(n, *shape)` to these numbers `(n,)`; default the first coordinate.
    """

    def draw(n: int) -> Any:
        drawn = distribution.sample(n)
        # A model gives the log-density of its draws along with them.
        draws = drawn[0] if isinstance(drawn, tuple) else drawn
        return draws.flatten(1)[:, 0] if statistic is None else statistic(draws)

    return Sampler(seeded(draw), cdf)
