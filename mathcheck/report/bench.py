"""What was timed, as tables for a terminal and for the documentation, as JSON, and as plots."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from mathcheck.bench.kernel import COMPILED, OURS, PLAIN, Kernel
from mathcheck.bench.measure import Machine, Measurement, Timing, exponent
from mathcheck.experiments.lab import pyplot
from mathcheck.report.screen import console, draw, short

SCHEMA = "mathcheck-bench/1"


def _seconds(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _bytes(number: int | None) -> str:
    if number is None:
        return ""
    for unit, size in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} B"


def _times(ratio: float | None) -> str:
    """A ratio as one reads it: 0.71, 2.2, 31."""
    return "" if ratio is None else f"{ratio:.2f}" if ratio < 1 else f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


def size_text(m: Measurement) -> str:
    """The size in words, e.g. "rows 4096, n 512"."""
    return ", ".join(f"{name} {value:,}" for name, value in m.size.items())


def best_of_ours(m: Measurement) -> Timing | None:
    """Our fastest, without what is compiled."""
    own = [t for t in m.timings if t.name.startswith(OURS) and t.name != COMPILED]
    return min(own, key=lambda t: t.seconds, default=None)


def best_peer(m: Measurement) -> Timing | None:
    """The fastest contender that is neither ours nor the plain code, whose result is right and the whole of it."""
    rivals = [t for t in m.timings if not t.name.startswith((OURS, PLAIN)) and " alone" not in t.name and t.error <= 1]
    return min(rivals, key=lambda t: t.seconds, default=None)


def show(m: Measurement) -> None:
    """Prints one measurement, fastest first."""
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("", "times plain", "time", "of the floor", "error / bound", "peak", "first call"):
        grid.add_column(name, justify="left" if not name else "right")
    for t in sorted(m.timings, key=lambda t: t.seconds):
        spread = f" [{_times(t.ratios[0])}, {_times(t.ratios[1])}]" if t.ratios else ""
        wrong = Text("WRONG", "red") if not t.error <= 1 else Text(short(t.error))
        grid.add_row(
            Text(t.name, "bold" if t.name.startswith(OURS) else ""),
            _times(t.ratio) + spread,
            _seconds(t.seconds),
            f"{100 * m.floor / t.seconds:.0f} %",
            wrong,
            _bytes(t.peak),
            _seconds(t.first),
        )
    for name, reason in m.failures.items():
        grid.add_row(Text(name), Text("failed: " + reason, "yellow", overflow="fold"))
    title = f"{m.title}   {size_text(m)}, {m.dtype.removeprefix('torch.')}"
    draw(console(), Text(title, "bold"), grid, Text())


def show_exponents(kernel: Kernel, measurements: Sequence[Measurement]) -> None:
    """Prints how time grows with the work, for us and for the best peer."""
    slopes = {name: exponent(measurements, kernel, name) for name in _growing(measurements)}
    said = ", ".join(f"{name} {slope:.2f}" for name, slope in slopes.items() if slope is not None)
    if said:
        draw(console(), Text(f"time grows as work to the power of: {said}", "dim"), Text())


def _growing(measurements: Sequence[Measurement]) -> list[str]:
    rival = best_peer(measurements[-1])
    return [OURS, *([rival.name] if rival else [])]


def as_json(machine: Machine, device: str, measurements: Sequence[Measurement], kernels: Mapping[str, Kernel]) -> str:
    """The results as the text of a JSON file."""
    exponents = {
        name: {who: exponent(own, kernels[name], who) for who in _growing(own)}
        for name in dict.fromkeys(m.kernel for m in measurements)
        for own in [[m for m in measurements if m.kernel == name]]
    }
    content = {
        "schema": SCHEMA,
        "device": device,
        "machine": dataclasses.asdict(machine),
        "exponents": exponents,
        "measurements": [dataclasses.asdict(m) for m in measurements],
    }
    return json.dumps(content, indent=1) + "\n"


def read(paths: Sequence[Path]) -> tuple[dict[str, Any], list[Measurement]]:
    """Files of results of one machine: the object of the first, with the exponents of all, and all measurements.

    A kernel that was measured anew is taken from the last file that has it.

    Raises:
        ValueError: if one is none, or of another machine, torch or number of threads.
    """
    whole: dict[str, Any] = {}
    found: list[Measurement] = []
    for path in paths:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            raise ValueError(f"{path} is no file of benchmark results ({SCHEMA})")
        whole = whole or content
        for name in ("device", "torch", "threads"):
            here, first = content["machine"][name], whole["machine"][name]
            if here != first:
                raise ValueError(f"{path} was measured with {name} {here}, expected {first} as in {paths[0]}")
        whole["exponents"] |= content["exponents"]
        own = [Measurement(**{**m, "timings": tuple(map(_timing, m["timings"]))}) for m in content["measurements"]]
        found = [m for m in found if m.kernel not in {new.kernel for new in own}] + own
    return whole, found


def _timing(read: Mapping[str, Any]) -> Timing:
    ratios = read["ratios"]
    return Timing(**{**read, "quartiles": tuple(read["quartiles"]), "ratios": tuple(ratios) if ratios else None})


def markdown(content: Mapping[str, Any], measurements: Sequence[Measurement]) -> str:
    """The documentation's table: each kernel at its largest size."""
    lines = [
        "| kernel | size | mathcheck | compiled | best peer | of the floor | grows as | peak memory, peer's |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in dict.fromkeys(m.kernel for m in measurements):
        m = [m for m in measurements if m.kernel == name][-1]
        ours, rival, compiled = best_of_ours(m), best_peer(m), m.of(COMPILED)
        if ours is None:
            continue
        spread = f"{_ratio(ours)}{ours.name.removeprefix(OURS).replace(',', '')}"
        slope = content["exponents"].get(name, {}).get(OURS)
        memory = f"{_bytes(ours.peak)}, {_bytes(rival.peak)}" if rival else _bytes(ours.peak)
        lines.append(
            f"| {m.title} | {size_text(m)} | {spread} | {_ratio(compiled)} | "
            f"{f'{_ratio(rival)} {rival.name}' if rival else ''} | {100 * m.floor / ours.seconds:.0f} % | "
            f"{f'work^{slope:.2f}' if slope is not None else ''} | {memory.strip(', ')} |"
        )
    machine = content["machine"]
    lines.append(
        f"\nTimes as fast as the plain code in the same rounds, median [quartiles], after each result was verified; "
        f"{machine['device']}, threads {machine['threads']}, torch {machine['torch']}; copies at "
        f"{machine['copy'] / 1e9:.1f} GB/s, products at {machine['product']['torch.float32'] / 1e9:.0f} Gflop/s in single "
        f"precision. The floor is the time of the kernel's own traffic or products at the speeds that were measured before it; "
        f"above 100 %, the machine was slower then."
    )
    return "\n".join(lines)


def _ratio(t: Timing | None) -> str:
    if t is None or t.ratio is None or t.ratios is None:
        return ""
    if not t.error <= 1:
        return "wrong"
    return f"{_times(t.ratio)} [{_times(t.ratios[0])}, {_times(t.ratios[1])}]"


def plots(measurements: Sequence[Measurement], folder: Path) -> list[Path]:
    """Draws the ratio of each kernel, and its time against its size; returns the two files in `folder`.

    Raises:
        ModuleNotFoundError: without matplotlib.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plt = pyplot()
    names = list(dict.fromkeys(m.kernel for m in measurements))
    largest = [[m for m in measurements if m.kernel == name][-1] for name in names]
    drawn, axes = plt.subplots(figsize=(8, 1.2 + 0.36 * len(names)), layout="constrained")
    for row, m in enumerate(reversed(largest)):
        shown = {"mathcheck": best_of_ours(m), "mathcheck, compiled": m.of(COMPILED), "best peer": best_peer(m)}
        for place, (label, t) in enumerate(shown.items()):
            if t is not None and t.ratio is not None and t.ratios is not None:
                axes.plot(t.ratios, [row - 0.12 * (place - 1)] * 2, color=f"C{place}", lw=1)
                axes.plot(
                    t.ratio,
                    row - 0.12 * (place - 1),
                    "os^"[place],
                    color=f"C{place}",
                    ms=5,
                    label=label if row == len(names) - 1 else None,
                )
    axes.axvline(1, color="0.5", lw=0.8)
    axes.set(xscale="log", xlabel="times as fast as the plain code", ylim=(-0.6, len(names) - 0.4))
    axes.set_yticks(range(len(names)), [m.title for m in reversed(largest)])
    axes.grid(axis="x", color="0.9")
    handles = [
        plt.Line2D([], [], ls="", marker="os^"[k], color=f"C{k}", label=label)
        for k, label in enumerate(("mathcheck", "mathcheck, compiled", "best peer"))
    ]
    axes.legend(handles=handles, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=3)
    drawn.savefig(folder / "ratios.png", dpi=110)
    columns = 4
    rows = math.ceil(len(names) / columns)
    drawn, panels = plt.subplots(rows, columns, figsize=(11, 2.3 * rows), layout="constrained", squeeze=False)
    for panel, name in itertools.zip_longest(panels.flat, names):
        if name is None:
            panel.axis("off")
            continue
        own = [m for m in measurements if m.kernel == name]
        who = [OURS, PLAIN, *([rival.name] if (rival := best_peer(own[-1])) else [])]
        for place, label in enumerate(who):
            found = [(k, t.seconds) for k, m in enumerate(own) if (t := m.of(label)) is not None]
            panel.plot(
                [k for k, _ in found],
                [s for _, s in found],
                "o-",
                ms=3,
                lw=1,
                color=("C0", "0.5", "C2")[place],
                label=label,
            )
        panel.set_title(textwrap.fill(own[-1].title, 36), fontsize=7)
        panel.set_xticks(range(len(own)), ["\n".join(size_text(m).split(", ")) for m in own], fontsize=5)
        panel.set(yscale="log")
        panel.tick_params(axis="y", which="both", labelsize=6)
        panel.legend(frameon=False, fontsize=5)
    drawn.supylabel("seconds", fontsize=8)
    drawn.savefig(folder / "times.png", dpi=100)
    plt.close("all")
    return [folder / "ratios.png", folder / "times.png"]


def verdicts(runs: Sequence[Path]) -> str:
    """What a verdict costs, as a Markdown table with a column for each run of `benchmarks/test_verdicts.py`.

    Args:
        runs: what `pytest benchmarks/test_verdicts.py --benchmark-enable --benchmark-json FILE` wrote, oldest first.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if one was not written by that.
    """
    columns: dict[str, dict[str, float]] = {}
    for path in runs:
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            found = {one["params"]["case"]: one["stats"]["median"] for one in run["benchmarks"]}
            columns[run["benchmarks"][0]["extra_info"]["version"]] = found
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(f"{path} must be what the benchmark of verdicts wrote, got {error!r}") from error
    cases = list(dict.fromkeys(case for found in columns.values() for case in found))
    lines = [f"| judged, every law | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    for case in cases:
        cells = [f"{found[case]:.2g}" if case in found else "" for found in columns.values()]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    lines.append("\nSeconds of the processor, on one thread, one run each, at default settings.")
    return "\n".join(lines)
