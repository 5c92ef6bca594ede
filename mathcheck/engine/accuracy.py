"""What an error beyond its bound is: wrong maths, or digits that were lost on the way."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from mathcheck.engine.randomness import seed_global
from mathcheck.engine.residual import Entries, Kind, Residual
from mathcheck.engine.rounding import NoisyGradients, rounded_at_random

Check = Callable[..., Iterator[Residual]]

# Measured on the textbook divergence of normals, whose arguments are 1e-9 to 1 apart, in both precisions: its errors are at
# most 0.21 of the scatter of eight runs (median 0.03). With its quadratic term doubled they are 75 times the scatter or more
# at distances of 1e-5, and 6e11 times at 1; a search that finds one such input refutes.
_RUNS, _MARGIN = 8, 4.0
# A unit in the last place of double precision beside that of single; a part of it says that an error shrinks with it.
_FINER = 2.0**-29
_SHRINKS = 2.0**10
# An error so much larger after three runs is not explained by the rest.
_HOPELESS = 1e3


@dataclass(frozen=True)
class Loss:
    """Digits that were lost at one input.

    Attributes:
        how: "rounding", if rounding at random moves the answer as far, or the error is below the smallest normal number, where
            arithmetic may flush to 0; "approximation", if it is below the square root of eps; "breakdown", if no number came
            back for an input out of the ordinary.
        digits: decimal digits that are left, 0 where not even the sign is.
    """

    how: Literal["rounding", "approximation", "breakdown"]
    digits: float


class Accuracy:
    """Tells lost digits from wrong maths, for one check on one subject.

    Args:
        check: generator of residuals.
        subject: whose rounding is measured.
        dtype: of the inputs, to say what a small error is.
        extreme: whether the inputs are out of the ordinary, so that infinity and NaN are lost digits too.
    """

    def __init__(self, check: Check, subject: Any, dtype: torch.dtype, *, extreme: bool = False):
        self._extreme, self._dtype = extreme, dtype
        self._all = -math.log10(torch.finfo(dtype).eps)
        self._check, self._subject = check, subject
        self._small, self._tiny = math.sqrt(torch.finfo(dtype).eps), torch.finfo(dtype).tiny
        self._sizes: dict[int, float] = defaultdict(float)
        self._needed: dict[int, float] = {}
        self._usual: dict[int, float] | None = None
        self._wrong: dict[int, float] = {}

    def seen(self, place: int, residual: Residual) -> None:
        """Takes note of how large the numbers of the comparison at `place` are."""
        if residual.entries is not None and residual.entries.size.numel():
            size = residual.entries.size
            self._sizes[place] = max(self._sizes[place], float(torch.where(size.isfinite(), size, 0.0).max()))

    def loss(self, inputs: tuple[Any, ...], torch_seed: int, place: int, residual: Residual) -> Loss | None:
        """What was lost at an input where the comparison at `place` exceeds its bound; `None` if rounding is no excuse."""
        entries = residual.entries
        if entries is None or residual.kind not in (Kind.NUMERICAL, Kind.ENCLOSED, Kind.EXACT):
            return None
        bad = (entries.error > entries.bound) | entries.error.isnan()
        if not bool((entries.error[bad].isfinite() & entries.size[bad].isfinite()).all()):
            return Loss("breakdown", 0.0) if self._extreme else None
        if bool((entries.error[bad] <= self._small * entries.size[bad]).all()):
            return Loss("approximation", self._digits(place, entries, bad))
        if bool((entries.error[bad] <= self._tiny).all()):
            return Loss("rounding", self._digits(place, entries, bad))
        relative = self._relative(entries, bad)
        if place in self._wrong and self._wrong[place] / 10 <= relative <= 10 * self._wrong[place]:
            return None  # while a counterexample shrinks, one of about the same size need not be measured again
        if self._explained(inputs, torch_seed, place, entries, bad):
            return Loss("rounding", self._digits(place, entries, bad))
        if self._is_small(place, entries, bad):
            least = 1.0 if self._usual is None else self._usual.get(place, 0.0)
            return Loss("approximation", self._digits(place, entries, bad, least=least))
        self._wrong[place] = relative
        return None

    def _is_small(self, place: int, entries: Entries, bad: Tensor) -> bool:
        """Whether errors are below the square root of eps beside the size usual here, or beside the numbers themselves.

        A true value of 0, or next to it, has no size of its own: an iteration that ends at a width of 1e-12 is as good there as
        elsewhere. The usual size is that of the largest number met, 1 at most. It is known in the end, so an error that is
        small beside 1 passes until then; see `settled`.
        """
        needed = entries.error[bad] / self._small
        largest = float(torch.where(needed > entries.size[bad], needed, 0.0).max())
        if self._usual is not None:
            return largest <= self._usual.get(place, 0.0)
        if largest <= 1:
            self._needed[place] = max(largest, self._needed.get(place, 0.0))
        return largest <= 1

    def settled(self) -> bool:
        """Whether what passed for small is so beside the numbers that were met; from now on it is what is compared with."""
        if self._usual is None:
            self._usual = {place: min(1.0, size) for place, size in self._sizes.items()}
        return all(needed <= self._usual.get(place, 0.0) for place, needed in self._needed.items())

    @staticmethod
    def _relative(entries: Entries, bad: Tensor) -> float:
        """The largest relative error of the bad numbers."""
        return float((entries.error[bad] / entries.size[bad].clamp(min=torch.finfo(torch.float64).tiny)).max())

    def _digits(self, place: int, entries: Entries, bad: Tensor, *, least: float = 0.0) -> float:
        """Decimal digits that are left of the bad numbers, beside `least` where they are smaller.

        A true value of 0 has none of its own: it is compared with the largest number met, 1 at most.
        """
        met = min(1.0, max(self._sizes[place], float(torch.where(entries.size.isfinite(), entries.size, 0.0).max())))
        size = torch.where(entries.size > 0, entries.size, met).clamp(min=least)
        relative = self._relative(replace(entries, size=size), bad)
        return min(self._all, max(0.0, -math.log10(max(relative, 1e-300))))

    def _explained(self, inputs: tuple[Any, ...], torch_seed: int, place: int, entries: Entries, bad: Tensor) -> bool:
        """Whether rounding at random moves each bad number about as far as its error goes.

        Code that does not compute with torch is not moved by it. There the arguments are moved instead, and it is computed in
        the other precision.
        """
        excess = (entries.error - entries.bound)[bad]
        scatter = torch.zeros_like(excess)
        for inputs_too in (False, True):
            for run in range(_RUNS):
                seed_global(torch_seed)
                with NoisyGradients(run):
                    found = self._again(rounded_at_random(self._subject, run, inputs=inputs_too), inputs, place)
                if found is not None and found.difference.shape == entries.difference.shape:
                    moved = (found.difference - entries.difference)[bad].abs()
                    scatter = torch.maximum(scatter, torch.where(moved.isfinite(), moved, 0.0))
                if bool((excess <= _MARGIN * scatter).all()):
                    return self._repeats(inputs, torch_seed, place, entries)
                if run >= 2 and 0 < float(scatter.max()) < float(excess.max()) / (_HOPELESS * _MARGIN):
                    break
                if run >= 2 and not inputs_too and not bool((scatter > 0).any()):
                    break
            if not inputs_too and bool((scatter > 0).any()):
                return False  # torch computes it: moving the inputs too would only measure how the truth bends
        return self._scales(inputs, torch_seed, place, entries, bad) and self._repeats(
            inputs, torch_seed, place, entries
        )

    def _scales(self, inputs: tuple[Any, ...], torch_seed: int, place: int, entries: Entries, bad: Tensor) -> bool:
        """Whether the errors are larger in single precision, or smaller in double, as those of rounding are.

        The unit in the last place is 2^29 times as large there. An error of wrong maths is the same in both.
        """
        excess = (entries.error - entries.bound)[bad]
        other = torch.float64 if self._dtype == torch.float32 else torch.float32
        elsewhere = _in_precision(inputs, other)
        if other == torch.float64:
            seed_global(torch_seed)
            found = self._again(self._subject, elsewhere, place)
            if found is None or found.error.shape != entries.error.shape:
                return False
            return bool(((found.error <= found.bound) | (found.error <= entries.error / _SHRINKS))[bad].all())
        # What is lost at one input may be nothing, by chance, or all there is; so its neighbours are asked, too.
        largest = torch.zeros_like(excess)
        for run in range(_RUNS):
            seed_global(torch_seed)
            found = self._again(self._subject, _nearby(elsewhere, torch.Generator().manual_seed(run)), place)
            if found is not None and found.error.shape == entries.error.shape:
                largest = torch.maximum(largest, torch.where(found.error.isfinite(), found.error, 0.0)[bad])
        return bool((excess <= _MARGIN * _FINER * largest).all())

    def _repeats(self, inputs: tuple[Any, ...], torch_seed: int, place: int, entries: Entries) -> bool:
        """Whether the subject answers the same again: one that draws as it likes scatters without any rounding."""
        seed_global(torch_seed)
        again = self._again(self._subject, inputs, place)
        return again is not None and torch.equal(again.difference.nan_to_num(), entries.difference.nan_to_num())

    def _again(self, noisy: Any, inputs: tuple[Any, ...], place: int) -> Entries | None:
        try:
            residual = next(itertools.islice(self._check(noisy, *inputs), place, None), None)
        except Exception:  # an argument that was moved may have left the domain
            return None
        return residual.entries if residual is not None else None


def _in_precision(value: Any, dtype: torch.dtype) -> Any:
    """`value` with every floating tensor in it in another precision."""
    return tree_map(lambda leaf: leaf.to(dtype) if _floats(leaf) else leaf, value)


def _nearby(value: Any, generator: torch.Generator) -> Any:
    """`value` with every floating number moved by up to a thousandth of it, as generated."""

    def moved(leaf: Any) -> Any:
        if not _floats(leaf):
            return leaf
        steps = torch.rand(leaf.shape, generator=generator, dtype=torch.float64).to(leaf.device) * 2 - 1
        return (leaf * (1 + steps / 1000)).to(leaf.dtype)

    return tree_map(moved, value)


def _floats(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()
