"""Each validator takes what its name says, and refuses anything else by the argument's name."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import pytest
import torch

from mathcheck.engine import arguments

ROW, IMAGE = torch.tensor([0.25, 0.75]), torch.zeros(3, 2, 4)


@pytest.mark.parametrize(
    ("validator", "good", "bad"),
    [
        (arguments.floating, ROW, [ROW.long(), 1.0, None]),
        (arguments.finite_floating, ROW, [ROW.long(), ROW / 0, ROW * math.nan]),
        (arguments.vectors, ROW, [ROW[0], ROW[:0], ROW.bool()]),
        (partial(arguments.events, (2, 4)), IMAGE, [ROW, IMAGE.mT, IMAGE[0, 0]]),
        (partial(arguments.images, 2), IMAGE, [ROW, IMAGE[:, :1], IMAGE[:0]]),
        (arguments.distributions, ROW, [ROW - 0.5, ROW * 2, ROW * math.nan, ROW[:0], ROW[0]]),
        (arguments.masks, ROW > 0, [ROW, True]),
        (arguments.dtypes, torch.float32, [torch.int64, torch.float16, "float32"]),
        (arguments.devices, "cpu", ["three", 0, None]),
        (arguments.numbers, -math.inf, [math.nan, True, "1", 1j]),
        (arguments.finite, -2, [math.inf, math.nan, True]),
        (arguments.positive, 1e-300, [0, -1.0, math.inf, math.nan, ROW]),
        (partial(arguments.between, 0, 1), 0.5, [0, 1.0, math.nan, None]),
        (partial(arguments.fractions, 0, 1), Fraction(1, 2), [0.5, Fraction(0), Fraction(1), 1]),
        (arguments.integers, -3, [True, 1.0, None]),
        (partial(arguments.at_least, 1), 1, [0, True, 1.0]),
        (arguments.scalars, Fraction(1), ["1", None, object()]),
        (partial(arguments.sequences, int), (1, 2), [(1, True), (1, 2.0), "12", 3, {1}]),
        (partial(arguments.sequences, bool), [True], [[1]]),
        (arguments.rows, [Fraction(1), 2.0], [[], [None], "12", 3.0]),
        (arguments.functions, len, [3, "len", None]),
        (partial(arguments.instances, (int, str)), "a", [1.0, None]),
    ],
)
def test_a_validator_refuses_by_name(validator: Callable[..., None], good: Any, bad: list[Any]) -> None:
    validator(argument=good)
    for value in bad:
        with pytest.raises((TypeError, ValueError), match=r"argument\b.*(got|expected)"):
            validator(good=good, argument=value)


@pytest.mark.parametrize("value", [ROW.double(), ROW[:1], ROW[None]])
def test_the_second_of_two_tensors_must_be_like_the_first(value: torch.Tensor) -> None:
    arguments.alike(first=ROW, second=ROW.clone())
    with pytest.raises(ValueError, match=r"second .*expected .* as first"):
        arguments.alike(first=ROW, second=value)


def test_sequences_of_two_lengths_are_refused() -> None:
    arguments.same_length(first=[1], second=(2,))
    with pytest.raises(ValueError, match="second must hold 1 items as first, got 2"):
        arguments.same_length(first=[1], second=(2, 3))
