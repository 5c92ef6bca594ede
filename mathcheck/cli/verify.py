"""`mathcheck verify`: the catalogue, or your own code."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mathcheck.adapters.target import TargetError, load
from mathcheck.cli.usage import Usage, check_device, check_files, cores
from mathcheck.runner.selection import with_words

if TYPE_CHECKING:
    from mathcheck.report.report import Report
    from mathcheck.runner.run import Options, Result, Task


@click.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--as",
    "judged",
    nargs=2,
    metavar="KIND TARGET",
    help="""Judge your own code instead: TARGET is
    package.module:expression or path/to/file.py:expression, KIND e.g. bijection.""",
)
@click.option("--arrays", type=click.Choice(["numpy", "jax"]), help="With --as: the functions take and return arrays.")
@click.option(
    "-k",
    "words",
    metavar="TEXT",
    help="""Only claims whose name has the words of TEXT in it: words stand for
    all of them, `or` separates alternatives, `not` before a word excludes it.""",
)
@click.option(
    "--dtype",
    type=click.Choice(["float64", "float32", "both"]),
    default="float64",
    show_default=True,
    help="Of the inputs; a subject with a dtype of its own keeps it.",
)
@click.option("--device", default="cpu", show_default=True, help="Where the inputs live, e.g. cuda.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the search; the same seed, the same verdict.",
)
@click.option("--examples", type=click.IntRange(1), help="Inputs to try each claim on.  [default: the claim's own]")
@click.option("--workers", type=click.IntRange(1), help="Processes to use.  [default: one a core, where that pays]")
@click.option("--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Write a JSON report.")
@click.option("--junit", "junit_path", type=click.Path(path_type=Path), metavar="FILE", help="Write a JUnit report.")
@click.option("--strict", is_flag=True, help="With --as: lost digits fail, too, as they do for the catalogue.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure.")
@click.option("--no-proofs", is_flag=True, help="Leave the proofs out.")
@click.option("-v", "--verbose", is_flag=True, help="Names, mutants and proof steps too.")
@click.option("-q", "--quiet", is_flag=True, help="One line for each derivation.")
def command(
    names: tuple[str, ...],
    judged: tuple[str, str] | None,
    arrays: str | None,
    words: str | None,
    dtype: str,
    device: str,
    seed: int,
    examples: int | None,
    workers: int | None,
    json_path: Path | None,
    junit_path: Path | None,
    strict: bool,
    fail_fast: bool,
    no_proofs: bool,
    verbose: bool,
    quiet: bool,
) -> int:
    """Verify the claims and proofs of the catalogue, or judge your own code by the laws of its kind.

    NAME is a topic, a derivation, a claim, or the path of a proof: `flows`, `flows/coupling`,
    `flows.coupling.round_trip`. Without one, everything is verified.

    \b
    mathcheck verify                                     everything
    mathcheck verify flows/coupling -k "not onto" -v     part of it, in detail
    mathcheck verify --as bijection mypackage.flow:flow  your own code
    """
    if verbose and quiet:
        raise click.UsageError("-v and -q exclude each other")
    if judged is not None and names:
        raise click.UsageError("NAME selects from the catalogue; with --as, select laws with -k")
    if judged is not None and workers is not None and workers > 1:
        raise click.UsageError("--workers is for the catalogue; --as runs in one process")
    if arrays is not None and judged is None:
        raise click.UsageError("--arrays says what the functions of --as take")
    try:
        keep = with_words(words or "")
    except ValueError as error:
        raise click.UsageError(f"-k {error}") from error
    check_files(json_path, junit_path)

    from mathcheck.engine.claim import Settings
    from mathcheck.report import terminal
    from mathcheck.runner import run

    check_device(device)
    options = run.Options(device, Settings(examples=examples, seed=seed, accuracy="full" if strict else "maths"))
    dtypes = ["float64", "float32"] if dtype == "both" else [dtype]
    if judged is None:
        chosen = _select(names)
        todo = run.tasks(
            lambda name: chosen(name) and keep(name), among=names, dtypes=dtypes, with_proofs=not no_proofs
        )
        results = run.run(todo, options, workers=workers or _worth(len(todo)))
    else:
        todo, results = _judge(*judged, arrays, keep, dtypes, options)
    noun = "derivation" if judged is None else "subject"
    report = _collect(todo, results, options, dtype, noun, fail_fast=fail_fast, quiet=quiet or judged is not None)
    try:
        _write_files(report, json_path, junit_path)
    finally:
        if judged is None:
            terminal.show(report, quiet=quiet, verbose=verbose)
        else:
            terminal.show_judgement(report, verbose=verbose)
    return report.exit_code


def _worth(tasks: int) -> int:
    """Processes that pay for their start, a few seconds each."""
    return max(1, min(cores(), tasks // 8))


def _collect(
    todo: Sequence[Task],
    running: Generator[Result],
    options: Options,
    dtype: str,
    noun: str,
    *,
    fail_fast: bool,
    quiet: bool,
) -> Report:
    """Runs the tasks, shows how far they are, and keeps what was found when somebody interrupts."""
    import time
    from datetime import UTC, datetime

    from mathcheck.report import terminal
    from mathcheck.report.report import Report

    started, start, found, interrupted = datetime.now(UTC), time.perf_counter(), {}, False
    place = {task: number for number, task in enumerate(todo)}
    try:
        with terminal.progress(todo, quiet=quiet) as tell, contextlib.closing(running) as results:
            for result in results:
                found[place[result.task]] = result
                tell(result)
                if fail_fast and result.failed:
                    break
    except KeyboardInterrupt:
        interrupted = True
    ordered = tuple(found[number] for number in sorted(found))
    return Report(ordered, len(todo), options, dtype, started, time.perf_counter() - start, interrupted, noun)


def _judge(
    kind: str, target: str, arrays: str | None, keep: Callable[[str], bool], dtypes: Sequence[str], options: Options
) -> tuple[list[Task], Generator[Result]]:
    from mathcheck.engine.claim import laws
    from mathcheck.runner import run

    try:
        subject = load(kind, target, arrays)
    except TargetError as error:
        raise Usage(str(error)) from error
    given = ", ".join(repr(value) for value in (kind, target, arrays) if value is not None)
    origin = f"from mathcheck.adapters.target import load; subject = load({given})"
    chosen = [law for law in laws(type(subject)) if keep(law.name)]
    return run.judge(subject, chosen, name=target, origin=origin, dtypes=dtypes, options=options)


def _select(names: Sequence[str]) -> Callable[[str], bool]:
    from mathcheck.runner import selection

    try:
        return selection.among(names)
    except ValueError as error:
        raise Usage(str(error)) from error


def _write_files(report: Report, json_path: Path | None, junit_path: Path | None) -> None:
    if json_path is not None:
        from mathcheck.report import json_file

        json_file.write(report, json_path)
    if junit_path is not None:
        from mathcheck.report import junit

        junit.write(report, junit_path)
