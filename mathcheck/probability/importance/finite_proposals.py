"""Finite problems of importance sampling in rational numbers, whose samples can all be enumerated."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
from hypothesis import strategies as st

from mathcheck.engine.strategies import of_each

Problem = tuple[list[Fraction], list[Fraction], list[Fraction], int]


def problems(subject: Any, dtype: torch.dtype) -> st.SearchStrategy[Problem]:
    """Distributions p and q on 2 or 3 outcomes, q positive where p is, integer values, and 1 to 3 draws."""

    def of(n: int) -> st.SearchStrategy[Problem]:
        def normalised(parts: list[int]) -> list[Fraction]:
            return [Fraction(c, sum(parts)) for c in parts]

        # Outcomes that p leaves out come often: a weight of 0 is what goes wrong most.
        p = st.lists(st.sampled_from([1, 0, 3, 5]), min_size=n, max_size=n).filter(any).map(normalised)
        q = st.lists(st.integers(1, 5), min_size=n, max_size=n).map(normalised)
        f = st.lists(st.sampled_from([1, -3, 0, 2]).map(Fraction), min_size=n, max_size=n)
        return st.tuples(p, q, f, st.sampled_from([2, 1, 3]))

    return of_each(st.integers(2, 3), of)
