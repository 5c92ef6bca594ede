"""The distribution that somebody means, given as an object of torch or SciPy or as a log-density: true values with a radius."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mathcheck.engine.residual import Ball, Kind, Undecided
from mathcheck.engine.rounding import Noise

# Runs in which a distribution is computed with other roundings, and how many times their scatter its error may be.
_RUNS, _MARGIN = 6, 4.0
_EPS = torch.finfo(torch.float64).eps


class _Noise(Noise):  # type: ignore[no-untyped-call]
    """Rounding at random, also of numbers below the smallest normal one, whose rounding is absolute: a density underflows."""

    def moved(self, value: Any) -> Any:
        """A floating tensor with every number moved by a few roundings; anything else as it is."""
        moved = super().moved(value)
        if isinstance(value, Tensor) and value.is_floating_point() and moved is not value:
            info = torch.finfo(value.dtype)
            small = (value != 0) & (value.abs() < info.tiny)
            unit = info.tiny * info.eps * (1 if self._seed % 2 else -1)
            moved = torch.where(small, value + unit, moved)
        return moved


@dataclass(frozen=True, eq=False)
class Named:
    """A distribution that somebody means: no function of the subject, so that nobody guards, disturbs or mutates it.

    Args:
        distribution: one of torch (anything with `log_prob`) or SciPy (a frozen one, with `logpdf`), or a log-density; where
            there are parameters, a function of them that gives one of the former, or a log-density of x and the parameters.

    Raises:
        TypeError: if it is none of these.
    """

    distribution: Any

    @classmethod
    def of(cls, like: Any) -> Named | None:
        """`like` as a record, if there is one."""
        return like if like is None or isinstance(like, cls) else cls(like)

    def __post_init__(self) -> None:
        if not any(hasattr(self.distribution, name) for name in ("log_prob", "logpdf", "__call__")):
            what = "a distribution of torch.distributions or scipy.stats, or a log-density"
            raise TypeError(f"like must be {what}, got {type(self.distribution).__name__}")

    def log_prob(self, x: Tensor, *parameters: Tensor, runs: int = _RUNS) -> Ball:
        r"""$\log p(x)$, computed in float64 whatever the dtype of x.

        The radius is what the distribution's own rounding may do: 4 times the scatter of six runs in which everything that
        it computes, its parameters included, is rounded another way, and 8 roundings of $1 + \lvert\log p\rvert$. Single
        precision in its own parameters counts. Where it says $-\infty$ at a point of its support, or NaN, nothing is known.

        Args:
            x: `(*batch, *event_shape)`.
            parameters: each `(*batch, *shape)`.
            runs: with other roundings; without any the radius knows nothing of the distribution's own error.

        Raises:
            Undecided: if it cannot be computed there.
        """
        given = [value.detach().double().cpu() for value in (x, *parameters)]
        value = _ball(self.distribution, "log_prob", "logpdf", given, runs)
        outside = ~_supported(self.distribution, given).expand(value.mid.shape)
        mid = torch.where(outside, -math.inf, value.mid)
        rounding = 8 * _EPS * (1 + torch.where(mid.isfinite(), mid.abs(), 0.0))
        radius = torch.where(outside, 0.0, value.radius + rounding)
        return _where(mid.isfinite() | outside, mid, radius, value.source)

    def cdf(self, x: Tensor, *parameters: Tensor, runs: int = _RUNS) -> Ball:
        r"""$F(x)$ for numbers x, with a radius as of `log_prob`; 8 roundings are those of $F(x)$.

        Raises:
            Undecided: if it has no distribution function.
        """
        given = [value.detach().double().cpu() for value in (x, *parameters)]
        value = _ball(self.distribution, "cdf", "cdf", given, runs)
        known = value.mid.isfinite()
        return _where(known, value.mid, value.radius + 8 * _EPS * value.mid.abs(), value.source)


def _where(known: Tensor, mid: Tensor, radius: Tensor, source: str) -> Ball:
    """The ball where something is known, and everything elsewhere."""
    mid, radius = torch.where(known, mid, 0.0), torch.where(known, radius.nan_to_num(math.inf), math.inf)
    return Ball(mid, radius, kind=Kind.NUMERICAL, source=source)


def _name(like: Any) -> str:
    if hasattr(like, "dist") and hasattr(like.dist, "name"):
        return str(like.dist.name)
    return str(getattr(like, "__name__", type(like).__name__))


def _ball(like: Any, of_torch: str, of_scipy: str, given: list[Tensor], runs: int) -> Ball:
    function = _function(like, of_torch, of_scipy, len(given) - 1)

    def run(seed: int | None) -> Tensor:
        if seed is None:
            found = function(None, *given)
        else:
            noise = _Noise(seed)
            moved = [noise.moved(value) for value in given]
            with noise:
                found = function(seed, *moved)
        return torch.as_tensor(found).detach().double()

    try:
        mid = run(None)
        others = torch.stack([mid, *(run(seed) for seed in range(runs))])
    except (NotImplementedError, AttributeError) as missing:
        raise Undecided(f"{_name(like)} has no {of_torch}") from missing
    scatter = (others - mid).abs()
    scatter = torch.where(others == mid, 0.0, scatter).nan_to_num(math.inf).amax(0)
    return Ball(mid, torch.where(mid.isfinite(), _MARGIN * scatter, 0.0), kind=Kind.NUMERICAL, source=_name(like))


def _function(like: Any, of_torch: str, of_scipy: str, count: int) -> Callable[..., Any]:
    """`(seed, x, *parameters)` -> value, with a distribution's own parameters moved by a rounding if there is a seed."""

    def value(seed: int | None, x: Tensor, *parameters: Tensor) -> Any:
        known = like
        if _makes(like, count):
            known = _made(like, parameters)
        if hasattr(known, "log_prob"):
            known = _in_float64(known, seed)
            return getattr(known, of_torch)(x)
        if hasattr(known, of_scipy):
            with np.errstate(all="ignore"):
                return torch.from_numpy(np.asarray(getattr(known, of_scipy)(x.numpy()), dtype=np.float64))
        if of_torch == "log_prob" and callable(known):
            return known(x, *parameters)
        raise NotImplementedError(of_torch)

    return value


def _makes(like: Any, count: int) -> bool:
    """Whether `like` is a function of the parameters that gives a distribution."""
    if not count:
        return False
    if isinstance(like, type) or hasattr(like, "logpdf"):
        return True
    try:
        signature = inspect.signature(like)
        signature.bind(*[None] * count)
    except (TypeError, ValueError):
        return False
    try:
        signature.bind(*[None] * (count + 1))
    except TypeError:
        return True
    return False


def _made(like: Any, parameters: Sequence[Tensor]) -> Any:
    """The distribution at some parameters, in arrays for SciPy."""
    return like(*(value.numpy() for value in parameters)) if hasattr(like, "logpdf") else like(*parameters)


def _supported(like: Any, given: list[Tensor]) -> Tensor:
    """Whether each x is in the support, as far as the distribution says; one that does not say is not taken at its word."""
    x, *parameters = given
    known = like
    try:
        if _makes(like, len(parameters)):
            known = _made(like, parameters)
        if hasattr(known, "log_prob") and hasattr(known, "support"):
            inside = known.support.check(x)
            return inside if isinstance(inside, Tensor) else torch.as_tensor(inside)
        if hasattr(known, "logpdf") and callable(getattr(known, "support", None)):
            low, high = (torch.as_tensor(np.asarray(end, dtype=np.float64)) for end in known.support())
            return (x >= low) & (x <= high)
    except Exception:  # a support that depends on what it cannot be asked for
        pass
    return torch.ones((), dtype=torch.bool)


def _in_float64(distribution: Any, seed: int | None) -> Any:
    """A copy whose floating tensors are in double precision; with a seed, each moved by up to half a rounding of its own."""
    twin = copy.deepcopy(distribution)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    done: set[int] = set()
    for owner in _owners(twin, done):
        held = owner if isinstance(owner, dict) else vars(owner)
        if isinstance(owner, torch.distributions.Distribution):
            held["_validate_args"] = False  # so that it answers outside its support
        for key, value in list(held.items()):
            if isinstance(value, Tensor) and value.is_floating_point():
                held[key] = _moved(value.detach(), generator)
    return twin


def _moved(value: Tensor, generator: torch.Generator | None) -> Tensor:
    if generator is None:
        return value.double()
    half = torch.finfo(value.dtype).eps / 2
    return value.double() * (1 + half * (2 * torch.rand(value.shape, generator=generator, dtype=torch.float64) - 1))


def _owners(value: Any, done: set[int]) -> Iterator[Any]:
    """The objects of torch, and the dictionaries of modules, that hold the tensors of a distribution."""
    if id(value) in done or isinstance(value, (Tensor, type, str, bytes, int, float)) or value is None:
        return
    done.add(id(value))
    if isinstance(value, dict):
        yield value
        parts: list[Any] = list(value.values())
    elif isinstance(value, (list, tuple)):
        parts = list(value)
    elif hasattr(value, "__dict__") and not callable(getattr(value, "__get__", None)):
        yield value
        parts = list(vars(value).values())
    else:
        return
    for part in parts:
        yield from _owners(part, done)
