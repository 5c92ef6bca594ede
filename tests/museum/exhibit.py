"""An exhibit of the museum: a slip, its correct twin, and the words by which the slip must be named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from mathcheck import Evidence, Settings

# What a counterexample shrinks to is for people.
QUICK = Settings(examples=25, shrink=False, budget=0.3)
THOROUGH = Settings(shrink=False, budget=0.3)
# For a slip that costs digits only.
STRICT = Settings(examples=25, shrink=False, accuracy="full", budget=0.3)


@dataclass(frozen=True)
class Exhibit:
    """A slip and its correct twin.

    Args:
        title: the slip in words.
        check: judges a subject, e.g. `check_bijection`.
        wrong: the subject with the slip, or a function dtype -> subject.
        right: the same without the slip.
        named: what a diagnosis must contain; `None` where the slip cannot be told from outside.
        why: the reason for that.
        also: other true names; every diagnosis contains one of them, or `named`.
        settings: how hard to look; `THOROUGH` leaves the number of examples to each law.
    """

    title: str
    check: Callable[..., list[Evidence]]
    wrong: Any
    right: Any
    named: str | None
    why: str = ""
    also: tuple[str, ...] = ()
    settings: Settings = QUICK

    def judge(self, subject: Any, dtype: torch.dtype) -> list[Evidence]:
        """The evidence on one of the two; raises `Refuted`."""
        made = subject(dtype) if callable(subject) else subject
        return self.check(made, dtype=dtype, settings=self.settings)
