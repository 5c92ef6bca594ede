"""Finite probability in exact rational numbers: every outcome is visited, and nothing is rounded or renormalised.

A distribution is a mapping from outcomes to probabilities, `Fraction`s or integers that are at least 0 and sum to
exactly 1. A float is refused: `Fraction(0.1)` is not one tenth, so a caller has to say which of the two is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import product as tuples
from math import prod
from typing import TypeVar, cast

from mathcheck.engine.residual import Ball
from mathcheck.oracles import arb

T = TypeVar("T", bound=Hashable)
U = TypeVar("U", bound=Hashable)


def _rational(value: object, name: str) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, Fraction)):
        raise TypeError(f"{name} must be a Fraction or an integer, got {value!r} of type {type(value).__name__}")
    return Fraction(value)


def _distribution(probabilities: Mapping[T, Fraction], name: str) -> dict[T, Fraction]:
    if not isinstance(probabilities, Mapping):
        raise TypeError(f"{name} must map outcomes to probabilities, got {type(probabilities).__name__}")
    masses = {outcome: _rational(mass, f"{name}[{outcome!r}]") for outcome, mass in probabilities.items()}
    for outcome, mass in masses.items():
        if mass < 0:
            raise ValueError(f"{name}[{outcome!r}] must be at least 0, got {mass}")
    if sum(masses.values()) != 1:
        raise ValueError(f"{name} must sum to exactly 1, got {sum(masses.values())}")
    return masses


def expectation(probabilities: Mapping[T, Fraction] | Sequence[Fraction], f: Callable[[T], Fraction | int]) -> Fraction:
    r"""$\mathbb{E}[f(X)] = \sum_x p(x) f(x)$, exactly.

    Args:
        probabilities: $p$; a sequence gives the probabilities of the outcomes 0, 1, 2, ...
        f: takes an outcome; must be rational. It is not called where $p(x) = 0$.

    Raises:
        TypeError: if a probability or a value of `f` is neither a `Fraction` nor an integer.
        ValueError: if the probabilities are negative or do not sum to exactly 1.
    """
    if not isinstance(probabilities, Mapping):
        probabilities = cast("Mapping[T, Fraction]", dict(enumerate(probabilities)))
    masses = _distribution(probabilities, "probabilities")
    return sum((p * _rational(f(x), f"f({x!r})") for x, p in masses.items() if p), Fraction(0))


def uniform(outcomes: Iterable[T]) -> dict[T, Fraction]:
    """The distribution that gives each of the `n` different `outcomes` the probability $1/n$.

    Raises:
        ValueError: if there are no outcomes, or one occurs twice.
    """
    points = list(outcomes)
    if not points or len(set(points)) < len(points):
        raise ValueError(f"outcomes must be at least one and all different, got {points}")
    return {x: Fraction(1, len(points)) for x in points}


def product(space: Mapping[T, Fraction], k: int) -> dict[tuple[T, ...], Fraction]:
    r"""The distribution of `k` independent draws: $p(x_1, \dots, x_k) = p(x_1) \cdots p(x_k)$.

    Args:
        space: the distribution of one draw, of n outcomes.
        k: at least 1; the result has $n^k$ outcomes.

    Raises:
        TypeError: if a probability is neither a `Fraction` nor an integer.
        ValueError: if `k` is less than 1, or `space` is not a distribution.
    """
    masses = _distribution(space, "space")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return {draws: prod((masses[x] for x in draws), start=Fraction(1)) for draws in tuples(masses, repeat=k)}


def pushforward(space: Mapping[T, Fraction], f: Callable[[T], U]) -> dict[U, Fraction]:
    r"""The distribution of $f(X)$: $q(y) = \sum_{x: f(x) = y} p(x)$.

    Args:
        space: the distribution of $X$. `f` is not called where $p(x) = 0$.
        f: takes an outcome, returns one.

    Raises:
        TypeError: if a probability is neither a `Fraction` nor an integer.
        ValueError: if `space` is not a distribution.
    """
    image: dict[U, Fraction] = {}
    for x, p in _distribution(space, "space").items():
        if p:
            y = f(x)
            image[y] = image.get(y, Fraction(0)) + p
    return image


def kernel_step(distribution: Mapping[T, Fraction], kernel: Mapping[T, Mapping[U, Fraction]]) -> dict[U, Fraction]:
    r"""One step of a finite Markov chain: $q(y) = \sum_x p(x) K(x, y)$.

    Args:
        distribution: $p$.
        kernel: $K$; row `kernel[x]` is the distribution of the next state. Targets that a row leaves out have
            probability 0 in it.

    Returns:
        $q$, with every state that some row of `kernel` names, also those of probability 0.

    Raises:
        TypeError: if a probability is neither a `Fraction` nor an integer.
        ValueError: if `distribution` or a row is not a distribution, or a state of positive probability has no row.
    """
    masses = _distribution(distribution, "distribution")
    rows = {x: _distribution(row, f"kernel[{x!r}]") for x, row in kernel.items()}
    missing = [x for x, p in masses.items() if p and x not in rows]
    if missing:
        raise ValueError(f"kernel must have a row for every state of positive probability, got none for {missing}")
    result: dict[U, Fraction] = {y: Fraction(0) for row in rows.values() for y in row}
    for x, p in masses.items():
        for y, k in rows.get(x, {}).items():
            result[y] += p * k
    return result


def log_ball(value: Fraction | int) -> Ball:
    r"""$\log x$ of a positive rational number, in a ball whose radius is little more than the rounding to float64.

    Args:
        value: $x$, above 0.

    Raises:
        TypeError: if `value` is neither a `Fraction` nor an integer.
        ValueError: if `value` is not positive.
    """
    x = _rational(value, "value")
    if x <= 0:
        raise ValueError(f"value must be positive, got {x}")
    # log1p of x - 1, which is exact, keeps the logarithm of a number near 1 sharp.
    return arb.enclose(lambda: arb.log1p(x - 1), source="logarithm of a rational number in ball arithmetic")
