"""`mathcheck self-test`: does every statistical check keep its word, and which law refutes which slip?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mathcheck.cli.usage import Usage, check_files, cores


@click.command("self-test")
@click.argument("kinds", nargs=-1, metavar="[KIND]...")
@click.option(
    "--runs",
    type=click.IntRange(1),
    default=2000,
    show_default=True,
    help="Samples for each rate of a statistical test.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Seeds for each statistical law on its correct subjects.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of everything.")
@click.option("--workers", type=click.IntRange(1), help="Processes to use.  [default: one a core]")
@click.option("--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Write what was found.")
def command(
    kinds: tuple[str, ...], runs: int, repeats: int, seed: int, workers: int | None, json_path: Path | None
) -> int:
    """Test mathcheck itself: is every statistical check as rare a false alarm, and as sharp, as it says?

    Counts false alarms on true nulls, and misses of errors of the size that each test states, with exact confidence
    intervals; and sets the laws of each KIND (default all) against all the slips that they know.
    """
    import json
    import time

    from mathcheck.adapters import KINDS
    from mathcheck.report import screen
    from mathcheck.report import self_test as report
    from mathcheck.report.files import write_whole
    from mathcheck.runner import self_test

    check_files(json_path)
    try:
        todo = self_test.jobs(kinds or tuple(KINDS), runs=runs, repeats=repeats, seed=seed)
    except ValueError as error:
        raise Usage(str(error)) from error
    start, found = time.perf_counter(), dict[int, Any]()
    with screen.counted(len(todo), "self-test") as tick:
        for place, parts in self_test.run(todo, workers or cores()):
            found[place] = parts
            tick()
    ordered = [part for place in sorted(found) for part in found[place]]
    seconds = time.perf_counter() - start
    report.show(ordered, seconds)
    if json_path is not None:
        write_whole(json_path, json.dumps(report.as_json(ordered, seed=seed, seconds=seconds), indent=1) + "\n")
    return 1 if report.failures(ordered) else 0
