r"""`torch.distributions` as subjects: its transforms are bijections, its distributions densities, samplers and quantiles.

Libraries that build on its classes, Pyro and zuko among them, are judged by what is here.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Distribution, Transform, constraints, kl_divergence, transforms
from torch.distributions.utils import tril_matrix_to_vec

from mathcheck.adapters.pairs import bijection_of_pairs, dtype_of
from mathcheck.divergence.divergence import Divergence
from mathcheck.engine import strategies
from mathcheck.engine.strategies import Interval
from mathcheck.flows.bijection import Bijection, Map, Points
from mathcheck.probability.density import Density
from mathcheck.probability.families import Normals
from mathcheck.probability.quantile import Quantile
from mathcheck.probability.sampler import Sample, Sampler

Shape = tuple[int, ...]
# Sizes to try along an event dimension: what a transform takes is found out by calling it.
_SIZES = (3, 2, 4, 1, 5, 6, 7, 8, 9, 10)
# How the constructors of torch call a spread of `Normals`.
_SPREADS = {
    "Normal": {"std": "scale"},
    "MultivariateNormal": {"covariance": "covariance_matrix", "scale_tril": "scale_tril"},
}


def bijection(
    transform: Any,
    *,
    event_shape: Shape | None = None,
    domain: Interval | None = None,
    reach: float = 10.0,
    points: Points | None = None,
) -> Bijection:
    r"""A bijective `torch.distributions.Transform`, or a `torch.nn.Module` whose functions return pairs.

    The log-determinant is summed over those coordinates of an event that the transform counts as batch, as
    `TransformedDistribution` does. A cache is never asked, since it answers $f^{-1}(f(x))$ with the very x that it was
    given: every function gets a copy of its argument. Where f(x) has another shape than x, the codomain is left open;
    where the transform has no inverse but its cache, as several of Pyro's, the laws that need one are skipped.

    Any other module is taken for a flow whose `forward` and `inverse` return the value and the log-determinant.

    Args:
        transform: the map.
        event_shape: of x; default the first that the transform takes, sizes of 3 before others.
        domain: where to look for x; default the transform's own domain within `reach`.
        reach: bounds the magnitude of the points and targets drawn.
        points: strategy of x as in `Bijection`, for a domain that is no box.

    Raises:
        TypeError: if `transform` is no transform, or not bijective by its own account, or its domain is no box and
            neither `domain` nor `points` is given.
    """
    if isinstance(transform, nn.Module) and not isinstance(transform, Transform):
        return bijection_of_pairs(transform, event_shape=event_shape, domain=domain, reach=reach)
    if not isinstance(transform, Transform):
        what = (
            transform.__qualname__ if isinstance(transform, type) else f"an object of type {type(transform).__name__}"
        )
        raise TypeError(f"transform must be a torch.distributions.Transform or a torch.nn.Module, got {what}")
    t: Any = transform
    if not t.bijective:
        raise TypeError(f"transform must be bijective, but {_name(t)}.bijective is False")
    box, coordinates, dtype = domain or _box(t.domain, reach), _coordinates(t.codomain), _dtype(t)
    if box is None and points is None:
        raise TypeError(f"transform must have a box as its domain, got {t.domain}: give domain or points")
    box = box or Interval(reach=reach)
    shape = _event_shape(t, box, dtype) if event_shape is None else tuple(event_shape)
    image = tuple(t.forward_shape(shape))
    if coordinates is None and math.prod(image) != math.prod(shape):
        raise TypeError(f"transform must keep the number of coordinates, but {_name(t)} makes {image} of {shape}")
    summed = functools.partial(_summed, count=len(shape) - t.domain.event_dim)
    return Bijection(
        lambda x: t(x.clone()),
        lambda y: _inverse(t, y),
        lambda x: summed(t.log_abs_det_jacobian(x, t(x.clone()))),
        shape,
        lambda y: summed(t.inv.log_abs_det_jacobian(y, _inverse(t, y))),
        domain=box,
        codomain=_box(t.codomain, reach) if image == shape else None,
        batch_shapes=strategies.BATCH_SHAPES,
        coordinates=coordinates,
        points=points,
        volume_preserving=_preserves_volume(t),
        dtype=dtype,
    )


def density(distribution: Any, *, support: Interval | None = None, reach: float = 10.0) -> Density:
    r"""A continuous `torch.distributions.Distribution` of a number or a vector, or a `torch.nn.Module` with a `log_prob`.

    Of a module a copy is judged, in evaluation mode, at events of the first size that it takes.

    The log-density is summed over a batch of the distribution, which becomes its event. The mean and the mode, if they
    are known, are told to the integration. Where the distribution refuses values outside its support, as torch does by
    default, it is not judged there.

    Args:
        distribution: an instance.
        support: default the distribution's own within `reach`.
        reach: bounds the magnitude of the points drawn.

    Raises:
        TypeError: if it is no distribution, or discrete, or of matrices, or its support is no box and none is given.
    """
    if isinstance(distribution, nn.Module) and not isinstance(distribution, Distribution):
        return _density_of_module(distribution, support or Interval(reach=reach))
    d, box = _instance(distribution), support or _support(distribution, reach)
    shape = (*d.batch_shape, *d.event_shape)
    if len(shape) > 1:
        raise TypeError(f"distribution must be one of numbers or vectors, got {_name(d)} of shape {tuple(shape)}")
    places = {p for name in ("mean", "mode") for p in _known(d, name).flatten().tolist() if box.lower < p < box.upper}

    def inside(function: str, x: Tensor) -> Tensor:
        try:
            value: Tensor = getattr(d, function)(x)
        except ValueError as refusal:
            if bool(((x > box.lower) & (x < box.upper)).all()):
                raise
            raise NotImplementedError("the distribution refuses values outside its support") from refusal
        return _summed(value, len(d.batch_shape))

    return Density(
        lambda x: inside("log_prob", x),
        box,
        tuple(shape),
        (lambda x: inside("cdf", x)) if not shape else None,
        points=tuple(sorted(places)),
        batch_shapes=strategies.BATCH_SHAPES,
        dtype=_drawn(d).dtype,
    )


def _density_of_module(module: nn.Module, box: Interval) -> Density:
    flow: Any = copy.deepcopy(module).eval()
    if not callable(getattr(flow, "log_prob", None)):
        raise TypeError(f"density must have a function log_prob, but {type(module).__name__} has none")
    dtype, why = dtype_of(flow), ""
    for shape in [(2,), *((n,) for n in _SIZES if n != 2), ()]:
        x = torch.full((5, *shape), 0.5, dtype=dtype)
        try:
            if flow.log_prob(x).shape == (5,):
                return Density(flow.log_prob, box, shape, dtype=dtype)
        except Exception as error:
            why = why or f": {type(error).__name__}: {error}"
    raise TypeError(
        f"{type(module).__name__}.log_prob gives no number for each of five small events{why}; give a Density"
    )


def sampler(distribution: Any, *, cdf: Map | None = None, statistic: Map | None = None) -> Sampler:
    r"""A `torch.distributions.Distribution` of a number with a distribution function, or with a mean and a variance.

    Its draws come from torch's global generator, which is seeded for them and put back.

    Args:
        distribution: an instance.
        cdf: of the draws, `(k,)` -> `(k,)`; default the distribution's own.
        statistic: maps draws `(n, *shape)` to the numbers that are judged, `(n,)`; `cdf` is to be theirs.

    Raises:
        TypeError: if it is no distribution, or not of numbers while `cdf` and `statistic` are missing, or nothing is
            known of it.
    """
    d = _instance(distribution)
    shape = (*d.batch_shape, *d.event_shape)
    if shape and (cdf is None or statistic is None):
        raise TypeError(f"distribution must be one of numbers, got shape {shape}: give cdf and statistic")
    dtype = _drawn(d).dtype
    sample = seeded(lambda n: d.sample((n,)) if statistic is None else statistic(d.sample((n,))))
    with contextlib.suppress(NotImplementedError):
        if cdf is None:
            d.cdf(_drawn(d))
            cdf = functools.partial(_cdf, d)
    mean, variance = (float(_known(d, name).sum()) for name in ("mean", "variance"))
    moments = statistic is None and math.isfinite(mean) and 0 < variance < math.inf
    if cdf is None and not moments:
        raise TypeError(f"distribution must have a cdf, or a mean and a variance, but {_name(d)} has none: give cdf")
    if not moments:
        return Sampler(sample, cdf, dtype=dtype)
    return Sampler(sample, cdf, mean=mean, variance=variance, dtype=dtype)


def quantile(distribution: Any) -> Quantile:
    r"""A `torch.distributions.Distribution` of a number with its `icdf` and `cdf`."""
    d = _instance(distribution)
    if d.batch_shape or d.event_shape:
        raise TypeError(f"distribution must be one of numbers, got shape {(*d.batch_shape, *d.event_shape)}")
    for function, at in (("cdf", _drawn(d)), ("icdf", torch.full_like(_drawn(d), 0.5))):
        try:
            getattr(d, function)(at)
        except NotImplementedError as missing:
            raise TypeError(f"distribution must have a cdf and an icdf, but {_name(d)} has no {function}") from missing
    return Quantile(
        d.icdf,
        functools.partial(_cdf, d),
        domain=_support(d, 10.0),
        batch_shapes=strategies.BATCH_SHAPES,
        dtype=_drawn(d).dtype,
    )


def seeded(draw: Callable[[int], Tensor]) -> Sample:
    """A sampler's function of n and a generator, made of one that draws n times from torch's global generator."""

    def sample(n: int, generator: Generator) -> Tensor:
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return draw(n)

    return sample


def divergence(distribution: Any, domain: Normals | None = None) -> Divergence:
    r"""`torch.distributions.Normal` or `MultivariateNormal`, or a pair of one of them, for q and p.

    $\mathrm{KL}(q\,\|\,p)$ by `torch.distributions.kl_divergence`, summed over those coordinates that the distributions
    count as batch.

    Args:
        distribution: a class, or a function (mean, spread) -> distribution; or a pair of these, for q and p.
        domain: the family; default normals by mean and standard deviation for `Normal`, by mean and covariance for
            `MultivariateNormal`. Needed with a function.

    Raises:
        TypeError: if it is none of these.
    """
    pair = distribution if isinstance(distribution, tuple) and len(distribution) == 2 else (distribution, distribution)
    spreads = [_SPREADS.get(make.__name__, {}) for make in pair if _is_distribution(make)]
    domain = domain or (Normals(next(iter(spreads[0]))) if spreads and spreads[0] else None)
    if domain is None or not all(map(callable, pair)) or not all(domain.spread in names for names in spreads):
        expected = "torch.distributions.Normal, MultivariateNormal, or a function with a domain"
        raise TypeError(f"distribution must be {expected}, got {distribution!r} with domain {domain}")
    q_of, p_of = (_constructor(make, domain.spread) for make in pair)

    def kl(mean_q: Tensor, spread_q: Tensor, mean_p: Tensor, spread_p: Tensor) -> Tensor:
        value = kl_divergence(q_of(mean_q, spread_q), p_of(mean_p, spread_p))
        return _summed(value, value.ndim - mean_q.ndim + 1)

    return Divergence(kl, domain, batch_shapes=strategies.BATCH_SHAPES)


def _instance(distribution: Any) -> Any:
    if not isinstance(distribution, Distribution):
        name = distribution.__qualname__ if isinstance(distribution, type) else type(distribution).__name__
        raise TypeError(f"distribution must be a torch.distributions.Distribution, got {name}")
    return distribution


def _support(distribution: Any, reach: float) -> Interval:
    """The box of the distribution's support."""
    try:
        stated = distribution.support
    except NotImplementedError:
        stated = None
    box = None if stated is None else _box(stated, reach)
    if box is None:
        raise TypeError(
            f"distribution must be continuous on a box, but {_name(distribution)} is on {stated}: give support"
        )
    return box


def _known(distribution: Any, name: str) -> Tensor:
    """A moment or the mode; NaN where the distribution does not know it."""
    try:
        return torch.as_tensor(getattr(distribution, name), dtype=torch.float64)
    except (NotImplementedError, AttributeError):
        return torch.tensor(math.nan, dtype=torch.float64)


def _drawn(distribution: Any) -> Tensor:
    """One draw, which tells the dtype; the global generator is left as it was."""
    with torch.random.fork_rng():
        drawn: Tensor = distribution.sample()
        return drawn


def _cdf(distribution: Any, x: Tensor) -> Tensor:
    """The distribution function, 0 below and 1 above the support, where the distribution itself may refuse to answer."""
    box = _support(distribution, 1.0)
    inside = (x > box.lower) & (x < box.upper)
    value = distribution.cdf(torch.where(inside, x, _drawn(distribution).to(x.dtype)))
    return torch.where(inside, value, (x >= box.upper).to(value.dtype))


def _inverse(transform: Any, y: Tensor) -> Tensor:
    try:
        x: Tensor = transform.inv(y.clone())
    except KeyError as missing:
        raise NotImplementedError(f"{_name(transform)} has no inverse but its cache") from missing
    return x


def _name(transform: Any) -> str:
    return " ".join(str(transform).split())


def _is_distribution(make: Any) -> bool:
    return isinstance(make, type) and issubclass(make, Distribution)


def _constructor(make: Callable[..., Any], spread: str) -> Callable[[Tensor, Tensor], Any]:
    if not _is_distribution(make):
        return make
    return lambda mean, value: make(mean, **{_SPREADS[make.__name__][spread]: value})


def _summed(value: Tensor, count: int) -> Tensor:
    """The sum over the last `count` dimensions."""
    return value.flatten(-count).sum(-1) if count > 0 else value


def _event_shape(transform: Any, box: Interval, dtype: torch.dtype | None) -> Shape:
    """The first shape of small sizes that the transform takes and gives back, in a batch too."""
    inside = min(max(0.5, box.lower + 0.5), box.upper) if math.isfinite(box.lower) else min(0.5, box.upper - 0.5)
    if math.isfinite(box.upper - box.lower):
        inside = (box.lower + box.upper) / 2
    least = transform.domain.event_dim
    for rank in range(least, least + 3):
        for shape in itertools.product(_SIZES, repeat=rank):
            points = [torch.full((*batch, *shape), inside, dtype=dtype) for batch in ((), (2,))]
            with contextlib.suppress(Exception):
                if all(transform.inv(transform(x)).shape == x.shape for x in points):
                    return shape
    raise TypeError(
        f"event_shape must be given: {_name(transform)} takes no event of sizes up to {max(_SIZES)} in a batch"
    )


def _unwrapped(constraint: Any) -> Any:
    # Independent coordinates, and mixtures.
    while hasattr(constraint, "base_constraint"):
        constraint = constraint.base_constraint
    return constraint


def _box(constraint: Any, reach: float) -> Interval | None:
    """The interval that every coordinate lives in, None if there is no single one."""
    constraint = _unwrapped(constraint)
    if isinstance(constraint, (constraints.cat, constraints.stack)):
        boxes = {_box(member, reach) for member in constraint.cseq}
        return boxes.pop() if len(boxes) == 1 else None
    ends = [getattr(constraint, name, end) for name, end in (("lower_bound", -math.inf), ("upper_bound", math.inf))]
    bounded = any(hasattr(constraint, name) for name in ("lower_bound", "upper_bound"))
    if constraint is not constraints.real and (not bounded or constraint.is_discrete):
        return None
    found = [set(torch.as_tensor(end, dtype=torch.float64).flatten().tolist()) for end in ends]
    if any(len(values) != 1 for values in found):
        return None
    lower, upper = (values.pop() for values in found)
    return Interval(lower, upper, reach + max(abs(end) for end in (lower, upper, 0.0) if math.isfinite(end)))


def _coordinates(codomain: Any) -> Map | None:
    """What of f(x) varies freely where the image is a surface: the coordinates that torch's log-determinants are in."""
    kind = _unwrapped(codomain)
    if isinstance(kind, type(constraints.simplex)):
        return lambda y: y[..., :-1]
    if isinstance(kind, type(constraints.corr_cholesky)):
        return lambda y: tril_matrix_to_vec(y, diag=-1)
    if isinstance(kind, (type(constraints.lower_cholesky), type(constraints.positive_definite))):
        return lambda y: tril_matrix_to_vec(y)
    return None


def _parts(transform: Any) -> list[Any]:
    """The transforms that a transform is made of; empty where it is no combination of others."""
    if isinstance(transform, transforms._InverseTransform):
        return [transform.inv]
    # Where a transform knows its inverse, that is no part of it.
    held = [v if isinstance(v, (list, tuple)) else [v] for k, v in vars(transform).items() if k != "_inv"]
    return [part for parts in held for part in parts if isinstance(part, Transform)]


def _preserves_volume(transform: Any) -> bool:
    """Whether every log-determinant is zero by design; Pyro's transforms say so themselves."""
    if getattr(transform, "volume_preserving", False) is True:
        return True
    if isinstance(transform, transforms.AffineTransform):
        return bool((torch.as_tensor(transform.scale).abs() == 1).all())
    parts = _parts(transform)
    combined = bool(parts) or (isinstance(transform, transforms.ComposeTransform))
    return isinstance(transform, transforms.ReshapeTransform) or (combined and all(map(_preserves_volume, parts)))


def _dtype(transform: Any) -> torch.dtype | None:
    """The dtype of the parameters, if they have one; single numbers, which fit every dtype, do not count."""
    owners = [transform, getattr(transform, "distribution", None)]
    tensors = [v for owner in owners if owner is not None for v in vars(owner).values() if isinstance(v, Tensor)]
    tensors += list(transform.parameters()) if isinstance(transform, nn.Module) else []
    found = {v.dtype for v in tensors if v.ndim and v.dtype.is_floating_point}
    found |= {dtype for part in _parts(transform) if (dtype := _dtype(part)) is not None}
    return found.pop() if len(found) == 1 else None
