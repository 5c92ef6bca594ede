"""`mathcheck pages`: the generated parts of the documentation, made anew."""

from __future__ import annotations

from pathlib import Path

import click

from mathcheck.cli.usage import Usage


@click.command("pages")
@click.argument(
    "report", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="[REPORT.json]"
)
@click.option(
    "--self-test",
    "tested",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What `self-test --json` wrote: its tables.",
)
@click.option(
    "--experiments",
    "folders",
    multiple=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="What `experiment --out` wrote, or a folder of such folders: their figures. Can be repeated.",
)
@click.option(
    "--bench",
    "timed",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What `bench --json` wrote: its table and plots. Can be repeated.",
)
@click.option(
    "--verdicts",
    "verdicts",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What `pytest benchmarks/test_verdicts.py --benchmark-json` wrote: what a verdict costs. Can be repeated.",
)
@click.option("--accuracy", is_flag=True, help="Measure the table of worst errors anew.")
@click.option("--laws", "laws", is_flag=True, help="The laws of each kind, in its guide.")
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="The checkout whose pages are written.",
)
def command(
    report: Path | None,
    tested: Path | None,
    folders: tuple[Path, ...],
    timed: tuple[Path, ...],
    verdicts: tuple[Path, ...],
    accuracy: bool,
    laws: bool,
    root: Path,
) -> int:
    """Regenerate the tables of the documentation, and proofs/README.md, from what runs found.

    REPORT.json is what `verify --json` wrote: the table of derivations and proofs/README.md. A part that no run is given
    for stays as it is.
    """
    import json

    from mathcheck.adapters import KINDS
    from mathcheck.bench import accuracy as worst
    from mathcheck.report import bench, experiments, json_file, pages
    from mathcheck.runner import index

    if not any((report, tested, folders, timed, verdicts, accuracy, laws)):
        raise click.UsageError(
            "give REPORT.json, --self-test FILE, --experiments DIR, --bench FILE, --verdicts FILE, --accuracy or --laws"
        )
    parts: dict[str, str] = {}
    try:
        if tested is not None:
            parts["self-test"] = json.loads(tested.read_text(encoding="utf-8"))["readme"]
        if folders:
            parts["experiments"] = experiments.markdown([run for f in folders for run in experiments.read(f)])
        if timed:
            content, measurements = bench.read(timed)
            parts["bench"] = bench.markdown(content, measurements)
            for path in bench.plots(measurements, root / "docs" / "benchmarks"):
                click.echo(f"wrote {path}")
        if verdicts:
            parts["verdicts"] = bench.verdicts(verdicts)
        if accuracy:
            parts["accuracy"] = worst.markdown(worst.table())
        if laws:
            parts |= {f"laws {kind}": pages.laws_table(KINDS[kind]) for kind in KINDS}
        found = json_file.read(report) if report is not None else None
        written = pages.write(found, parts, index.proofs(), root)
    except (OSError, ValueError, KeyError, ModuleNotFoundError) as error:
        raise Usage(str(error)) from error
    for path in written:
        click.echo(f"wrote {path}")
    return 0
