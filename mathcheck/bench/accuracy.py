"""How exact the closed forms are, ours and other people's: the worst error in ulps over lattices of hard inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
import torch
from torch import Tensor

from mathcheck.bench import accuracy_cases as cases
from mathcheck.bench.kernel import OURS

DIGITS = 50
DTYPES = (torch.float32, torch.float64)


@dataclass(frozen=True)
class Point:
    """One place of a lattice.

    Args:
        label: for people, e.g. "delta 1e-07".
        inputs: what a contender is called with: tensors without batch dimensions, and numbers.
    """

    label: str
    inputs: tuple[Any, ...]


@dataclass(frozen=True)
class Accuracy:
    """A closed form that several people compute, and where it is hard.

    Args:
        name: of the function, e.g. "kl_diagonal".
        contenders: by name; each is called with a point's inputs and returns a number. `OURS` is ours.
        lattices: case -> dtype -> label -> inputs; numbers that the dtype cannot hold do not belong in it.
        truth: the same inputs, as nested lists of mpmath's numbers -> the value.
        divergence: whether a negative value is an error of its own.
    """

    name: str
    contenders: Mapping[str, Callable[..., Tensor]]
    lattices: Mapping[str, Callable[[torch.dtype], Mapping[str, tuple[Any, ...]]]]
    truth: Callable[..., Any]
    divergence: bool = False

    def points(self, case: str, dtype: torch.dtype) -> Iterator[tuple[Point, Any]]:
        """The places of a case whose true value is a normal number of the dtype, with that value."""
        for label, inputs in self.lattices[case](dtype).items():
            with mpmath.workdps(DIGITS):
                true = self.truth(*map(exact, inputs))
            if torch.finfo(dtype).tiny <= abs(true) <= torch.finfo(dtype).max:
                yield Point(label, inputs), true

    def condition(self, inputs: tuple[Any, ...]) -> float:
        r"""$\sum_j\lvert x_j\,\partial_j f\rvert/\lvert f\rvert$: how many ulps a relative error of eps in every input makes."""
        with mpmath.workdps(DIGITS):
            values = [exact(i) for i in inputs]
            total = mpmath.mpf(0)
            for path, value in _entries(values):
                step = abs(value) * mpmath.mpf(10) ** (-DIGITS // 3)
                if step:
                    ends = [self.truth(*_moved(values, path, move)) for move in (step, -step)]
                    total += abs(ends[0] - ends[1]) / (2 * step) * abs(value)
            return float(total / abs(self.truth(*values)))


@dataclass(frozen=True)
class Row:
    """How exact one contender is in one case.

    Attributes:
        kernel, case, contender: whose.
        dtype: of the inputs, e.g. "float32".
        ulps: the worst error in units in the last place of the true value; infinite where the result was not finite.
        at: the point where it is worst.
        negative: whether a divergence came out below 0 somewhere.
    """

    kernel: str
    case: str
    contender: str
    dtype: str
    ulps: float
    at: Point
    negative: bool


def _entries(values: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Any]]:
    """The numbers of nested lists, each with its indices."""
    if isinstance(values, list):
        for i, v in enumerate(values):
            yield from _entries(v, (*path, i))
    else:
        yield path, values


def _moved(values: Any, path: tuple[int, ...], step: Any) -> Any:
    """The lists with `step` added to one number."""
    if not path:
        return values + step
    return [_moved(v, path[1:], step) if i == path[0] else v for i, v in enumerate(values)]


def exact(value: Any) -> Any:
    """A tensor or number as nested lists of mpmath's numbers, without rounding."""
    if isinstance(value, Tensor):
        value = value.tolist()
    return [exact(v) for v in value] if isinstance(value, list) else mpmath.mpf(value)


def ulps(value: float, true: Any, dtype: torch.dtype) -> float:
    """The distance of a result from the true value, in units in the last place that the dtype has there."""
    if not math.isfinite(value):
        return math.inf
    with mpmath.workdps(DIGITS):
        unit = mpmath.mpf(2) ** mpmath.floor(mpmath.log(abs(true), 2)) * torch.finfo(dtype).eps
        return float(abs(mpmath.mpf(value) - true) / unit)


def table(names: Sequence[str] = (), dtypes: Sequence[torch.dtype] = DTYPES) -> list[Row]:
    """The worst error of every contender in every case.

    Args:
        names: of the kernels; all of them by default.
        dtypes: of the inputs.

    Raises:
        ValueError: for a name that there is none of.
    """
    known = {kernel.name: kernel for kernel in FUNCTIONS}
    if unknown := set(names) - set(known):
        raise ValueError(f"names must be among {', '.join(known)}, got {', '.join(sorted(unknown))}")
    return [
        row
        for name in (names or known)
        for case in known[name].lattices
        for dtype in dtypes
        for row in _rows(known[name], case, dtype)
    ]


def _rows(kernel: Accuracy, case: str, dtype: torch.dtype) -> Iterator[Row]:
    points = list(kernel.points(case, dtype))
    for name, function in kernel.contenders.items():
        found = [(point, true, float(function(*point.inputs))) for point, true in points]
        worst, at = max(((ulps(value, true, dtype), point) for point, true, value in found), key=lambda pair: pair[0])
        negative = kernel.divergence and any(value < 0 for _, _, value in found)
        yield Row(kernel.name, case, name, str(dtype).removeprefix("torch."), worst, at, negative)


def markdown(rows: Sequence[Row]) -> str:
    """A table of the rows for the documentation: one line for each kernel, case and contender, the precisions side by side."""
    kinds = list(dict.fromkeys(row.dtype for row in rows))
    cells: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in rows:
        cells.setdefault((row.kernel, row.case, row.contender), {})[row.dtype] = row
    head = " | ".join(f"{kind}, ulps | worst at" for kind in kinds)
    lines = [f"| function | inputs | whose | {head} |", "| --- | --- | --- |" + " ---: | --- |" * len(kinds)]
    for (kernel, case, contender), found in cells.items():
        both = " | ".join(
            f"{_told(found[kind])} | {found[kind].at.label}" if kind in found else " | " for kind in kinds
        )
        lines.append(f"| `{kernel}` | {case} | {contender} | {both} |")
    return "\n".join(lines) + "\n"


def _told(row: Row) -> str:
    number = "not finite" if math.isinf(row.ulps) else f"{row.ulps:.2g}" if row.ulps < 1e4 else f"{row.ulps:.0e}"
    return f"**{number}**" if row.contender == OURS else f"{number}, negative" if row.negative else number


FUNCTIONS = tuple(Accuracy(*fields) for fields in cases.CASES)
