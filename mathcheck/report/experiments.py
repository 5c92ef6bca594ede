"""What the experiments found, for a terminal and for the documentation."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from mathcheck.experiments.lab import Figure, Lab, Noted
from mathcheck.report.screen import console, draw


@dataclass(frozen=True)
class Found:
    """What a run of an experiment left in `metrics.json`.

    Attributes:
        name: of the experiment. `size`, `seed`: of the run.
        figures: what it found.
    """

    name: str
    size: str
    seed: int
    figures: Sequence[Figure]


def _with_error(value: float, error: float) -> str:
    """Both to the second digit of the error, e.g. "101.28 ± 0.75" or "(2.01 ± 0.29)e-06"."""
    power = math.floor(math.log10(max(abs(value), error)))
    scaled = not -4 <= power < 6
    unit = 10.0**power if scaled else 1.0
    places = max(0, 1 - math.floor(math.log10(error / unit)))
    text = f"{value / unit:.{places}f} ± {error / unit:.{places}f}"
    return f"({text})e{power:+03d}" if scaled else text


def _shown(figure: Figure | Noted) -> str:
    interval = figure.interval if isinstance(figure, Figure) else None
    if interval is not None:
        return f"{figure.value:.4g} [{interval[0]:.3g}, {interval[1]:.3g}]"
    return _with_error(figure.value, figure.error) if figure.error else f"{figure.value:.6g}"


def show(lab: Lab) -> None:
    """Prints the figures beside the notes', and where the files are."""
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("figure", "here", "notes", "agreement"):
        grid.add_column(name, ratio=2 if name in ("figure", "agreement") else 1, overflow="fold")
    for figure in lab.figures:
        notes = _shown(figure.notes) if figure.notes is not None else ""
        grid.add_row(figure.name, _shown(figure), notes, figure.agreement)
    draw(console(), Text(lab.name, "bold"), grid)
    console().print(Text("wrote " + ", ".join(str(path) for path in lab.files), "dim"), soft_wrap=True)


def read(folder: Path) -> list[Found]:
    """The runs in a folder: that of its own `metrics.json`, or of those in the folders in it, by name.

    Raises:
        ValueError: if there is none, or one is not as an experiment writes it.
    """
    own = folder / "metrics.json"
    paths = [own] if own.is_file() else sorted(folder.glob("*/metrics.json"))
    if not paths:
        raise ValueError(f"{folder} holds no metrics.json of an experiment, nor do the folders in it")
    return [_read(path) for path in paths]


def _read(path: Path) -> Found:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        figures = []
        for entry in content["figures"]:
            interval = tuple(entry["interval"]) if entry["interval"] is not None else None
            notes = Noted(**entry["notes"]) if entry["notes"] is not None else None
            figures.append(Figure(entry["name"], entry["value"], entry["what"], entry["error"], interval, notes))
        return Found(content["experiment"], content["size"], content["seed"], figures)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not what an experiment writes: {error!r}") from error


def markdown(runs: Sequence[Found]) -> str:
    """The documentation's table of the figures that the source notes report, too.

    Raises:
        ValueError: if an experiment comes twice, or the runs are of different sizes or seeds.
    """
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise ValueError(f"each experiment must come once, got {', '.join(names)}")
    kinds = {(run.size, run.seed) for run in runs}
    if len(kinds) != 1:
        raise ValueError(f"the runs must be of one size and seed, got {sorted(kinds)}")
    ((size, seed),) = kinds
    lines = ["| experiment | figure | notes | here | agreement |", "| --- | --- | --- | --- | --- |"]
    for run in runs:
        for figure in run.figures:
            if figure.notes is not None:
                cells = (
                    run.name,
                    f"{figure.name}: {figure.what}",
                    _shown(figure.notes),
                    _shown(figure),
                    figure.agreement,
                )
                lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    total = sum(len(run.figures) for run in runs)
    lines.append(f"\n{len(lines) - 2} figures of {total} have a counterpart in the notes; {size} size, seed {seed}.")
    return "\n".join(lines)
