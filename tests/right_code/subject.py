"""A right subject: what judges it, and how it is made for a dtype."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from mathcheck import Settings
from mathcheck.engine.evidence import Evidence, Status

DTYPES = (torch.float64, torch.float32)
SEEDS = range(5)
# What a counterexample shrinks to is for people.
EXAMPLES = 25


@dataclass(frozen=True)
class Right:
    """A right subject.

    Args:
        check: judges it, e.g. `check_bijection`.
        make: the subject for a dtype; its parameters have that dtype.
        dtypes: that it takes.
        statistical: whether its laws draw at random, as often as they must whatever the number of inputs.
    """

    check: Callable[..., list[Evidence]]
    make: Callable[[torch.dtype], Any]
    dtypes: tuple[torch.dtype, ...] = DTYPES
    statistical: bool = False

    def judge(self, dtype: torch.dtype, seed: int) -> list[Evidence]:
        """The evidence; raises `Refuted` where a law fails."""
        settings = Settings(None if self.statistical else EXAMPLES, seed, shrink=False)
        return self.check(self.make(dtype), dtype=dtype, settings=settings)


def always(check: Callable[..., list[Evidence]], subject: Any, **options: Any) -> Right:
    """A subject that takes every dtype."""
    return Right(check, lambda dtype: subject, **options)


def counted(found: list[Evidence]) -> dict[Status, int]:
    """How many laws ended how."""
    return {status: sum(e.status is status for e in found) for status in Status}
