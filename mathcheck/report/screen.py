"""A terminal to print on: its width, numbers and durations in short, and a bar for what takes time."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

WIDEST = 110


def console(*, stderr: bool = False) -> Console:
    """A console without highlighting; where nobody says how wide a pipe is, 100 columns."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else 100
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def put(screen: Console, part: RenderableType) -> None:
    """Prints no wider than `WIDEST`; a plain text, such as code, keeps its own lines."""
    if isinstance(part, Text):
        screen.print(part, soft_wrap=True)
    else:
        screen.print(part, width=min(screen.width, WIDEST))


def draw(screen: Console, *parts: RenderableType) -> None:
    """Prints without the spaces that rich puts at the ends of lines."""
    with screen.capture() as drawn:
        for part in parts:
            put(screen, part)
    screen.file.write("".join(f"{line.rstrip()}\n" for line in drawn.get().splitlines()))


def short(number: float) -> str:
    """Two significant digits: 0.11, 3.1e-5, ∞."""
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    rounded = float(f"{number:.1e}")
    if rounded == 0 or 1e-3 <= abs(rounded) < 1e4:
        return f"{rounded:g}"
    mantissa, _, exponent = f"{rounded:.1e}".partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def duration(seconds: float) -> str:
    """Seconds as one reads them: 0.4 s, 74 s, 12 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def count(number: int, noun: str) -> str:
    """A number with its noun, e.g. "1 claim", "2 claims"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@contextmanager
def counted(total: int, what: str) -> Iterator[Callable[[], None]]:
    """A bar on standard error, where that is a terminal; yields the function to call when one of `total` is done."""
    screen = console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        line = bar.add_task(what, total=total)
        yield lambda: bar.advance(line)


@contextmanager
def telling() -> Iterator[Callable[[str, int, int, str], None]]:
    """Bars on standard error, one for each thing that goes on; yields the function to call with what, done, total, status."""
    screen = console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[status]}", markup=False),
    )
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        lines: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int, status: str) -> None:
            if what not in lines:
                lines[what] = bar.add_task(what, total=total, status=status)
            bar.update(lines[what], completed=done, status=status)

        yield tell
