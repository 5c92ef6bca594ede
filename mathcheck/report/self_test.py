"""What the self-test found, as tables for a terminal, for the documentation, and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mathcheck.oracles.calibration import Calibration, Rate
from mathcheck.report.screen import console, count, draw, duration, short
from mathcheck.runner.self_test import KillMatrix, LawAlarms, Part

SCHEMA = "mathcheck-self-test/1"
_SIGNS = {"refuted": "x", "holds": "·", "crashed": "!", "not applicable": " "}


def failures(parts: Sequence[Part]) -> list[str]:
    """What is not as promised, a line each."""
    found = [f"{p.name}: a rate is not as promised" for p in parts if isinstance(p, Calibration) and not p.kept]
    found += [
        f"{p.name}: {p.alarms.count} false alarms of {p.alarms.runs}, promised {short(p.alarms.promised)}"
        for p in parts
        if isinstance(p, LawAlarms) and not p.alarms.kept
    ]
    for part in parts:
        if isinstance(part, KillMatrix):
            found += [f"{part.kind}: no law refutes it when {kill.slip}" for kill in part.kills if not kill.killed]
    return found


def _rate(rate: Rate) -> str:
    """The percentage with its 95 % interval, e.g. "4.7 % [3.8, 5.7]"."""
    low, high = rate.interval
    return f"{100 * rate.count / rate.runs:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def _calibration_rows(parts: Sequence[Part]) -> Iterator[list[str]]:
    for part in parts:
        if isinstance(part, Calibration):
            alarms = [_rate(rate) for rate in part.alarms.values()]
            power = min(part.power, key=lambda rate: rate.count)
            yield [part.name, *alarms, f"{short(part.detectable)} at {short(part.alpha)}", _rate(power)]


def _header(parts: Sequence[Part]) -> list[str]:
    first = next(part for part in parts if isinstance(part, Calibration))
    return [
        f"{first.power[0].runs} runs each of",
        *(f"false alarms at {100 * level:g} %" for level in first.alarms),
        "smallest error stated",
        "of that size caught",
    ]


def show(parts: Sequence[Part], seconds: float) -> None:
    """Prints the tables and a closing line on standard output."""
    screen, shown = console(), list[RenderableType]()
    if any(isinstance(part, Calibration) for part in parts):
        grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        rows = list(_calibration_rows(parts))
        for name, *cells in zip(_header(parts), *rows, strict=True):
            # Headings may be broken, figures not.
            grid.add_column(name, min_width=max(map(len, cells)))
        for row in rows:
            grid.add_row(*row)
        shown += [
            Text("Statistical tests on true nulls, and on errors of the size that they state", "bold"),
            grid,
            Text(),
        ]
    alarms = [part for part in parts if isinstance(part, LawAlarms)]
    if alarms:
        total, runs = sum(part.alarms.count for part in alarms), sum(part.alarms.runs for part in alarms)
        promised = sum(part.alarms.promised * part.alarms.runs for part in alarms)
        said = f"{total} false alarms in {count(runs, 'run')} of {count(len(alarms), 'statistical law')} on correct subjects"
        shown += [Text(f"{said}, {short(promised)} expected at most", "bold"), Text()]
    for part in parts:
        if isinstance(part, KillMatrix):
            shown += [
                Text(f"{part.kind}: laws against slips (x refuted, · not seen, ! crashed)", "bold"),
                *_matrix(part),
                Text(),
            ]
    draw(screen, *shown)
    bad = failures(parts)
    for line in bad:
        screen.print(Text(f"FAILS  {line}", "bold red"), soft_wrap=True)
    screen.print(Text(f"{summary(parts)}; {duration(seconds)}", "bold red" if bad else "bold green"), soft_wrap=True)


def _matrix(part: KillMatrix) -> Iterator[RenderableType]:
    grid = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    grid.add_column("")
    for number in range(1, len(part.titles) + 1):
        grid.add_column(str(number), justify="center")
    for kill in part.kills:
        grid.add_row(kill.slip, *(_SIGNS[kill.verdicts[law]] for law in part.titles))
    yield grid
    laws = "\n".join(f"{number:>2} {title}" for number, title in enumerate(part.titles.values(), 1))
    yield Padding(Text(laws, "dim"), (0, 0, 0, 2))


def summary(parts: Sequence[Part]) -> str:
    """The figures in a line."""
    tests = [part for part in parts if isinstance(part, Calibration)]
    kills = [kill for part in parts if isinstance(part, KillMatrix) for kill in part.kills]
    said = []
    if tests:
        said.append(f"{sum(part.kept for part in tests)} of {len(tests)} statistical tests as promised")
    if kills:
        said.append(f"{sum(kill.killed for kill in kills)} of {len(kills)} slips refuted by a law")
    return ", ".join(said) or "nothing was tested"


def as_json(parts: Sequence[Part], *, seed: int, seconds: float) -> dict[str, Any]:
    """The object of the JSON file: `calibrations`, `law_alarms` and `kill_matrices`, with counts, runs and intervals."""

    def rate(value: Rate) -> dict[str, Any]:
        return {**dataclasses.asdict(value), "interval": list(value.interval), "kept": value.kept}

    return {
        "schema": SCHEMA,
        "seed": seed,
        "seconds": seconds,
        "summary": summary(parts),
        "failures": failures(parts),
        "calibrations": [
            {
                "name": p.name,
                "alarms": [{"level": level, **rate(r)} for level, r in p.alarms.items()],
                "alpha": p.alpha,
                "detectable": p.detectable,
                "power": [rate(r) for r in p.power],
                "kept": p.kept,
            }
            for p in parts
            if isinstance(p, Calibration)
        ],
        "law_alarms": [{"name": p.name, **rate(p.alarms)} for p in parts if isinstance(p, LawAlarms)],
        "kill_matrices": [dataclasses.asdict(p) for p in parts if isinstance(p, KillMatrix)],
        "readme": markdown(parts),
    }


def markdown(parts: Sequence[Part]) -> str:
    """The documentation's tables: the calibrations, and for each kind how many laws refute how many slips."""
    lines: list[str] = []
    if any(isinstance(part, Calibration) for part in parts):
        header = _header(parts)
        lines += [f"| {' | '.join(header)} |", f"| {' | '.join('---' for _ in header)} |"]
        lines += [f"| {' | '.join(row)} |" for row in _calibration_rows(parts)]
    alarms = [part.alarms for part in parts if isinstance(part, LawAlarms)]
    if alarms:
        lines += [
            "",
            f"{len(alarms)} statistical laws, each run {alarms[0].runs} times on a correct subject at the level with "
            f"which it is used: {sum(rate.count for rate in alarms)} false alarms.",
        ]
    matrices = [part for part in parts if isinstance(part, KillMatrix)]
    if matrices:
        lines += [
            "",
            "| kind | laws | known slips | refuted by a law | laws that refute a slip, on average |",
            "| --- | --- | --- | --- | --- |",
        ]
    for part in matrices:
        hits = [list(kill.verdicts.values()).count("refuted") for kill in part.kills]
        killed, mean = sum(hit > 0 for hit in hits), sum(hits) / len(hits)
        lines.append(f"| `{part.kind}` | {len(part.titles)} | {len(hits)} | {killed} | {mean:.1f} |")
    return "\n".join(lines)
