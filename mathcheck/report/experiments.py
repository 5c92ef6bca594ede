"""What an experiment found, for a terminal and for the README."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from mathcheck.experiments.lab import Figure, Lab
from mathcheck.report.terminal import console, draw


def _shown(value: float, figure: Figure | None = None) -> str:
    text = f"{value:.6g}"
    if figure is not None and figure.interval is not None:
        return f"{value:.4g} [{figure.interval[0]:.3g}, {figure.interval[1]:.3g}]"
    return f"{value:.4g} ± {figure.error:.1g}" if figure is not None and figure.error else text


def show(lab: Lab) -> None:
    """Prints the figures beside the notes', and where the files are."""
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("figure", "here", "notes", "agreement"):
        grid.add_column(name, ratio=2 if name in ("figure", "agreement") else 1, overflow="fold")
    for figure in lab.figures:
        notes = f"{figure.notes.value:.6g}" if figure.notes is not None else ""
        grid.add_row(figure.name, _shown(figure.value, figure), notes, figure.agreement)
    draw(console(), Text(lab.name, "bold"), grid)
    console().print(Text("wrote " + ", ".join(str(path) for path in lab.files), "dim"), soft_wrap=True)


def markdown(labs: Sequence[tuple[str, Sequence[Figure]]]) -> str:
    """The README's table of the figures that the notes report, too."""
    lines = ["| experiment | figure | notes | here | agreement |", "| --- | --- | --- | --- | --- |"]
    for name, figures in labs:
        lines += [
            f"| {name} | {figure.what} | {figure.notes.value:.6g} | {_shown(figure.value, figure)} | {figure.agreement} |"
            for figure in figures
            if figure.notes is not None
        ]
    return "\n".join(lines)


def plots(lab: Lab) -> list[Path]:
    """The pictures among the files."""
    return [path for path in lab.files if path.suffix == ".png"]
