"""What a person sees: live progress, one table derivation by derivation, the failures in full, and a closing line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from mathcheck.engine.evidence import Evidence, Status
from mathcheck.engine.readable import readable
from mathcheck.engine.residual import Kind
from mathcheck.report.report import ALPHA, Report, Totals, verdict
from mathcheck.report.screen import WIDEST, console, count, draw, duration, short
from mathcheck.runner.proofs import StepResult
from mathcheck.runner.run import Result, Task

_MARKS = {
    Status.HOLDS: ("✓", "green"),
    Status.INACCURATE: ("~", "yellow"),
    Status.SKIPPED: ("–", "yellow"),
    Status.VACUOUS: ("✗", "red"),
    Status.REFUTED: ("✗", "red"),
    Status.ERROR: ("✗", "red"),
}
_BRIEF = {
    Kind.EXACT: "exact",
    Kind.ENCLOSED: "encl",
    Kind.NUMERICAL: "num",
    Kind.STATISTICAL: "stat",
    Kind.ASYMPTOTIC: "asym",
}


@contextmanager
def progress(todo: Sequence[Task], *, quiet: bool = False) -> Iterator[Callable[[Result], None]]:
    """What happens, on standard error: a bar on a terminal, elsewhere a line for each finished derivation.

    Yields:
        The function to tell each result to.
    """
    screen = console(stderr=True)
    left = {task.derivation: [t for t in todo if t.derivation == task.derivation] for task in todo}
    failed: set[str] = set()

    def tick(result: Result) -> str:
        derivation = result.task.derivation
        left[derivation].remove(result.task)
        failed.update([derivation] if result.failed else [])
        return "" if left[derivation] else derivation

    if not screen.is_terminal:

        def tell(result: Result) -> None:
            done = tick(result)
            if done and not quiet:
                gone = sum(not tasks for tasks in left.values())
                verdict = "FAILS" if done in failed else "done"
                screen.print(f"[{gone}/{len(left)}] {_path(done)} {verdict}", soft_wrap=True)

        yield tell
        return

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen, transient=True) as bar:
        line = bar.add_task(_path(todo[0].derivation) if todo else "", total=len(todo))

        def show(result: Result) -> None:
            tick(result)
            if result.failed:
                screen.print(Text.assemble(("✗ ", "red"), _headline(result)))
            now = next((name for name, tasks in left.items() if tasks), "")
            bar.update(line, advance=1, description=_path(now))

        yield show


def _headline(result: Result) -> str:
    return f"{result.task.name}  {readable(result.task.title)}" if result.evidence else f"proof of {result.task.name}"


def _path(derivation: str) -> str:
    return derivation.replace(".", "/", 1)


def table(report: Report, *, width: int, quiet: bool = False, verbose: bool = False) -> Table:
    """The figures of a run: a row for each derivation, and below it, unless `quiet`, one for each claim."""
    brief = width < 96
    grid = Table(
        box=None, padding=(0, 1 if brief else 2, 0, 0), pad_edge=False, width=min(width, WIDEST), header_style="dim"
    )
    grid.add_column("", ratio=1, overflow="fold")
    # The claims' titles need the room; a derivation of several kinds may take a second line instead.
    grid.add_column("evidence", max_width=None if quiet else 11 if brief else 12, min_width=8)
    for header in ("worst", "inputs", "mutants", *(["proof"] if quiet else []), "time"):
        grid.add_column(header, justify="right", no_wrap=True)
    for derivation, results in report.derivations.items():
        totals = Totals.of(results)
        claims = sum(totals.claims.values())
        name = Text.assemble((_path(derivation), "bold"), "  ", (count(claims, "claim") if claims else "", "dim"))
        proof = f"{totals.held}/{totals.steps}" if totals.steps else ""
        if proof and not quiet:
            name.append(f"  proof {proof}", "dim" if totals.held == totals.steps else "red")
        if not quiet and grid.row_count:
            grid.add_row()
        grid.add_row(
            _marked(Status.REFUTED if totals.failed else Status.HOLDS if totals.compared else Status.SKIPPED, name),
            _kinds(totals.kinds, brief),
            short(totals.worst) if totals.kinds else "",
            f"{totals.inputs:,}" if claims else "",
            f"{totals.refuted}/{totals.mutants}" if totals.mutants else "",
            *([proof] if quiet else []),
            duration(totals.seconds),
        )
        for result in results if not quiet else ():
            if result.evidence is not None:
                _add_claim(grid, result, result.evidence, brief, verbose, report.dtype == "both")
            for step in result.steps if verbose else ():
                _add_step(grid, step, brief)
    return grid


def _mark(status: Status) -> tuple[str, str]:
    """Sign and style; a plain sign where the output has no other."""
    sign, style = _MARKS[status]
    plain = not (sys.stdout.encoding or "").lower().startswith("utf")
    return {"✓": "+", "✗": "x", "–": "-"}.get(sign, sign) if plain else sign, style


def _marked(status: Status, text: RenderableType, indent: int = 0) -> RenderableType:
    """A mark with a text beside it, whose later lines stand below its first."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=1)
    grid.add_column(ratio=1)
    grid.add_row(Text(*_mark(status)), text)
    return Padding(grid, (0, 0, 0, indent))


def _kinds(kinds: Sequence[Kind], brief: bool) -> str:
    return " ".join(_BRIEF[kind] for kind in kinds) if brief else ", ".join(kinds)


def _add_claim(grid: Table, result: Result, evidence: Evidence, brief: bool, verbose: bool, dtypes: bool) -> None:
    title = Text(f"{result.task.attribute}: " if result.task.attribute else "", "dim")
    title.append(readable(evidence.title), "not dim")
    if dtypes:
        title.append(f" ({evidence.dtype})")
    if verbose:
        said = evidence.formula
        title.append("".join(f"\n{line}" for line in (said, result.task.name) if line))
    fates = evidence.applicable_mutants
    refuted = sum(fate == "refuted" for fate in fates.values())
    kinds = Text(_kinds(evidence.kinds, brief))
    if evidence.status is not Status.HOLDS:
        kinds = Text(evidence.status.upper(), "red") if evidence.status.fails else Text(evidence.status, "yellow")
    judged = evidence.status in (Status.HOLDS, Status.REFUTED, Status.VACUOUS)
    grid.add_row(
        _marked(Status.REFUTED if result.failed else evidence.status, title, 2),
        kinds,
        short(evidence.worst) if judged else "",
        f"{evidence.examples:,}",
        Text(f"{refuted}/{len(fates)}" if fates else "", "red" if result.unrefuted else ""),
        duration(result.seconds),
    )
    notes = [f"{fate}   {name}" for name, fate in evidence.mutants.items()] if verbose else []
    if evidence.detectable is not None and evidence.status is Status.HOLDS:
        alpha = f" (alpha {short(evidence.alpha)})" if evidence.alpha is not None else ""
        notes.append(f"would have caught an error of {short(evidence.detectable)}{alpha}")
    if evidence.status is Status.SKIPPED and evidence.reason:
        notes.append(evidence.reason)
    for note in notes:
        grid.add_row(Padding(Text(readable(note), "dim"), (0, 0, 0, 4)))


def _add_step(grid: Table, step: StepResult, brief: bool) -> None:
    kinds = [kind for kind in Kind if any(kind in evidence.kinds for evidence in step.evidence)]
    grid.add_row(
        _marked(Status.HOLDS if step.holds else Status.REFUTED, Text(f"proof: {readable(step.heading)}"), 2),
        _kinds(kinds, brief),
        short(max((evidence.worst for evidence in step.evidence), default=0.0)),
        f"{sum(evidence.examples for evidence in step.evidence):,}",
        "",
        duration(sum(evidence.seconds for evidence in step.evidence)),
    )


def failures(report: Report) -> list[str]:
    """Each failure in full: the verdict on a claim with how to look at it again, a proof's step with file and line."""
    texts = []
    for result in report.results:
        if result.evidence is not None and result.failed:
            texts.append(verdict(result, result.evidence, report.options))
        for step in result.steps:
            if step.error is not None:
                texts.append(f"PROOF    {step.proof}, {step.heading}\n  {step.error}")
            elif not step.holds:
                bad = [str(found) for found in step.evidence if found.status is not Status.HOLDS]
                texts.append(f"PROOF    {step.proof}, {step.heading}: line {step.line}\n" + "\n".join(bad))
    return texts


def closing(report: Report) -> str:
    """The run in one line."""
    totals, groups = report.totals, [Totals.of(results) for results in report.derivations.values()]
    bad = sum(group.failed > 0 for group in groups)
    idle = sum(not group.compared for group in groups)
    good = len(groups) - bad - idle
    if bad:
        text = f"{bad} of {count(len(groups), report.noun)} {'fails' if bad == 1 else 'fail'}"
    elif not totals.compared:
        text = "nothing was checked"
    else:
        text = f"{count(good, report.noun)} {'holds' if good == 1 else 'hold'}"
        text += f", {idle} not compared" if idle else ""
    if report.interrupted or len(report.results) < report.planned:
        how = "interrupted" if report.interrupted else "stopped"
        text = f"{how} after {len(report.results)} of {report.planned}; so far {text}"
    claims, held = sum(totals.claims.values()), totals.claims.get(Status.HOLDS, 0)
    parts = [f"{held} of {claims:,} claims hold" if held < claims else count(claims, "claim")]
    parts += [
        f"{n} {status}"
        for status in (Status.REFUTED, Status.ERROR, Status.INACCURATE, Status.SKIPPED)
        if (n := totals.claims.get(status, 0))
    ]
    refuted = f"{totals.refuted} of {totals.mutants}" if totals.refuted < totals.mutants else f"{totals.refuted}"
    parts.append(f"{refuted} mutant{'' if totals.mutants == 1 else 's'} refuted")
    if totals.steps:
        some = totals.held < totals.steps
        parts.append(f"{totals.held} of {totals.steps} proof steps hold" if some else count(totals.steps, "proof step"))
    parts.append(f"{totals.claims.get(Status.VACUOUS, 0)} vacuous")
    text += ": " + ", ".join(parts)
    if report.ledger:
        text += f"; alpha spent {short(sum(spent.total for spent in report.ledger))} of {short(ALPHA)}"
    return f"{text}; {duration(report.seconds)}"


def show(report: Report, *, quiet: bool = False, verbose: bool = False) -> None:
    """Prints a run on standard output."""
    screen = console()
    if report.results:
        draw(screen, table(report, width=screen.width, quiet=quiet, verbose=verbose), "")
    for text in failures(report):
        _print_failure(screen, text)
    _print_closing(screen, report)


def show_judgement(report: Report, *, verbose: bool = False) -> None:
    """Prints what the laws say about somebody's own subject: failures in full, the rest in a line each."""
    screen = console()
    for result in report.results:
        evidence = result.evidence
        if evidence is not None and result.failed:
            _print_failure(screen, verdict(result, evidence, report.options))
    for result in report.results:
        evidence = result.evidence
        if evidence is None or result.failed:
            continue
        title = readable(evidence.title)
        line = Text.assemble(_mark(evidence.status), " ", title)
        line.append(f"   {evidence.reason}" if evidence.status is Status.SKIPPED else "   " + _figures(evidence), "dim")
        screen.print(line, soft_wrap=True)
        if evidence.status is Status.INACCURATE:
            screen.print(Text(f"    {evidence.loss}", "yellow"), soft_wrap=True)
        for name in evidence.blind_to:
            screen.print(Text(f"    it would also pass when {readable(name)}", "dim"), soft_wrap=True)
        if verbose and evidence.formula:
            screen.print(Text(f"    {evidence.formula}"), soft_wrap=True)
    _print_closing(screen, report)


def _figures(evidence: Evidence) -> str:
    refuted = sum(fate == "refuted" for fate in evidence.mutants.values())
    text = f"{', '.join(evidence.kinds)}, worst {short(evidence.worst)} over {count(evidence.examples, 'input')}"
    text += f", {count(refuted, 'wrong version')} refuted" if evidence.mutants else ""
    return text + (f", would have caught {short(evidence.detectable)}" if evidence.detectable is not None else "")


def _print_failure(screen: Console, text: str) -> None:
    head, *rest = text.splitlines()
    status, _, title = head.partition(" ")
    screen.print(Text.assemble((status, "bold red"), " ", readable(title).rstrip()), soft_wrap=True)
    screen.print(Text("\n".join(rest) + "\n"), soft_wrap=True)


def _print_closing(screen: Console, report: Report) -> None:
    style = {0: "bold green", 1: "bold red"}.get(report.exit_code, "bold yellow")
    screen.print(Text(closing(report), style), soft_wrap=not screen.is_terminal)
