"""The command line: `mathcheck verify`, `mathcheck list`, `mathcheck show`. Heavy imports wait inside the commands."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import mathcheck
from mathcheck.selection import with_words
from mathcheck.target import TargetError, load

if TYPE_CHECKING:
    from mathcheck.report import Report
    from mathcheck.run import Options, Result, Task

INTERRUPTED, INTERNAL, USAGE = 2, 3, 4


class _Usage(click.ClickException):
    """A request that cannot be met, said in one line."""

    exit_code = USAGE

    def show(self, file: Any = None) -> None:
        click.echo(f"mathcheck: {self.format_message()}", file=file, err=True)


class _Commands(click.Group):
    """A group whose exit codes are pytest's: 2 where interrupted, 3 for a fault of mathcheck's own, 4 for usage."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs a command and leaves Python with its exit code, unless not in `standalone_mode`."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        for stream in (sys.stdout, sys.stderr):
            # A terminal that cannot show a sign shows a question mark; that is no reason to fail.
            with contextlib.suppress(AttributeError):
                stream.reconfigure(errors="replace")  # type: ignore[union-attr]
        try:
            code = super().main(args, prog_name, complete_var, False, **extra)
        except click.ClickException as error:
            error.show()
            sys.exit(USAGE)
        except click.Abort:
            click.echo("mathcheck: interrupted", err=True)
            sys.exit(INTERRUPTED)
        except Exception as error:
            traceback.print_exc()
            click.echo(f"mathcheck: internal error: {type(error).__name__}: {error}", err=True)
            sys.exit(INTERNAL)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(mathcheck.__version__, prog_name="mathcheck")
def main() -> None:
    """Is the maths right? Proofs, code and claims about generative models, and any implementation judged by them.

    Exit codes are pytest's: 0 all holds, 1 something fails, 2 interrupted, 3 internal error, 4 usage, 5 nothing was
    checked.
    """


@main.command("verify")
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
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure.")
@click.option("--no-proofs", is_flag=True, help="Leave the proofs out.")
@click.option("-v", "--verbose", is_flag=True, help="Names, mutants and proof steps too.")
@click.option("-q", "--quiet", is_flag=True, help="One line for each derivation.")
def verify_command(
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
    _check_files(json_path, junit_path)

    from mathcheck import run
    from mathcheck.claim import Settings
    from mathcheck.report import terminal

    _check_device(device)
    options = run.Options(device, Settings(examples=examples, seed=seed))
    dtypes = ["float64", "float32"] if dtype == "both" else [dtype]
    if judged is None:
        chosen = _select(names)
        todo = run.tasks(lambda name: chosen(name) and keep(name), dtypes=dtypes, with_proofs=not no_proofs)
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
    import os

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, tasks // 8))


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

    from mathcheck.report import Report, terminal

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
    from mathcheck import run
    from mathcheck.claim import laws

    try:
        subject = load(kind, target, arrays)
    except TargetError as error:
        raise _Usage(str(error)) from error
    given = ", ".join(repr(value) for value in (kind, target, arrays) if value is not None)
    origin = f"from mathcheck.cli import load; subject = load({given})"
    chosen = [law for law in laws(type(subject)) if keep(law.name)]
    return run.judge(subject, chosen, name=target, origin=origin, dtypes=dtypes, options=options)


def _select(names: Sequence[str]) -> Callable[[str], bool]:
    from mathcheck import selection

    try:
        return selection.among(names)
    except ValueError as error:
        raise _Usage(str(error)) from error


def _check_files(*paths: Path | None) -> None:
    from mathcheck.report.files import check_writable

    given = [path.resolve() for path in paths if path is not None]
    if len(set(given)) < len(given):
        raise click.UsageError("--json and --junit name the same file")
    for path in paths:
        if path is not None:
            try:
                check_writable(path)
            except OSError as error:
                raise _Usage(str(error)) from error


def _write_files(report: Report, json_path: Path | None, junit_path: Path | None) -> None:
    if json_path is not None:
        from mathcheck.report import json_file

        json_file.write(report, json_path)
    if junit_path is not None:
        from mathcheck.report import junit

        junit.write(report, junit_path)


def _check_device(device: str) -> None:
    import torch

    try:
        # Reading a value back rules out a device that holds no numbers, such as "meta".
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise _Usage(f"--device {device}: torch cannot use it here ({reason})") from error


@main.command("list")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("-v", "--verbose", is_flag=True, help="The mutants of each claim too: the slips that it must refute.")
def list_command(names: tuple[str, ...], verbose: bool) -> int:
    """List the catalogue: the claims of each derivation, what they say and use, and where the proof is."""
    from mathcheck import catalogue
    from mathcheck.report import reader

    chosen = _select(names)
    entries = [entry for entry in catalogue.entries() if chosen(entry.name)]
    proofs = {name: path for name, path in catalogue.proofs().items() if chosen(name) or
              name in {entry.derivation for entry in entries}}  # fmt: skip
    reader.show_list(entries, proofs, verbose=verbose)
    return 0


@main.command("self-test")
@click.argument("kinds", nargs=-1, metavar="[KIND]...")
@click.option("--runs", type=click.IntRange(1), default=2000, show_default=True,
              help="Samples for each rate of a statistical test.")  # fmt: skip
@click.option("--repeats", type=click.IntRange(1), default=20, show_default=True,
              help="Seeds for each statistical law on its correct subjects.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of everything.")
@click.option("--workers", type=click.IntRange(1), help="Processes to use.  [default: one a core]")
@click.option("--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Write what was found.")
def self_test_command(
    kinds: tuple[str, ...], runs: int, repeats: int, seed: int, workers: int | None, json_path: Path | None
) -> int:
    """Test mathcheck itself: is every statistical check as rare a false alarm, and as sharp, as it says?

    Counts false alarms on true nulls, and misses of errors of the size that each test states, with exact confidence
    intervals; and sets the laws of each KIND (default all) against all the slips that they know.
    """
    import json
    import time

    from mathcheck import self_test
    from mathcheck.adapters import KINDS
    from mathcheck.report import self_test as report
    from mathcheck.report import terminal
    from mathcheck.report.files import write_whole

    _check_files(json_path)
    try:
        todo = self_test.jobs(kinds or tuple(KINDS), runs=runs, repeats=repeats, seed=seed)
    except ValueError as error:
        raise _Usage(str(error)) from error
    start, found = time.perf_counter(), dict[int, Any]()
    with terminal.counted(len(todo), "self-test") as tick:
        for place, parts in self_test.run(todo, workers or _worth(8 * len(todo))):
            found[place] = parts
            tick()
    ordered = [part for place in sorted(found) for part in found[place]]
    seconds = time.perf_counter() - start
    report.show(ordered, seconds)
    if json_path is not None:
        write_whole(json_path, json.dumps(report.as_json(ordered, seed=seed, seconds=seconds), indent=1) + "\n")
    return 1 if report.failures(ordered) else 0


@main.command("pages")
@click.argument("report", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="REPORT.json")
@click.option("--self-test", "tested", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              metavar="FILE", help="What `self-test --json` wrote: its tables too.")  # fmt: skip
@click.option("--root", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".", show_default=True,
              help="The checkout whose pages are written.")  # fmt: skip
def pages_command(report: Path, tested: Path | None, root: Path) -> int:
    """Regenerate the README's tables and proofs/README.md from what `verify --json` and `self-test --json` found."""
    import json

    from mathcheck import catalogue
    from mathcheck.report import json_file, pages

    try:
        self_test = json.loads(tested.read_text(encoding="utf-8")) if tested is not None else None
        written = pages.write(json_file.read(report), self_test, catalogue.proofs(), root)
    except (OSError, ValueError, KeyError) as error:
        raise _Usage(str(error)) from error
    for path in written:
        click.echo(f"wrote {path}")
    return 0


@main.command("show")
@click.argument("name")
def show_command(name: str) -> int:
    """Read a proof in the terminal. NAME is a derivation, e.g. `flows/coupling`, or one of its claims."""
    from mathcheck import catalogue
    from mathcheck.report import reader

    _select([name])
    named = {entry.derivation for entry in catalogue.entries() if catalogue.matches(entry.name, name)}
    proofs = {
        proof: path for proof, path in catalogue.proofs().items() if catalogue.matches(proof, name) or proof in named
    }
    if not proofs:
        raise _Usage(f"{name} has no proof yet; proofs: {', '.join(catalogue.proofs()) or 'none'}")
    if len(proofs) > 1:
        raise _Usage(f"{name} has several proofs, choose one: {', '.join(proofs)}")
    reader.show_proof(next(iter(proofs.values())))
    return 0
