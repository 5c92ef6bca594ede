"""The commands beside `verify`: `self-test`, `experiment`, `bench`, `pages`. Heavy imports wait inside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mathcheck.cli.usage import INTERRUPTED, Usage, check_device, check_files, cores


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
def self_test_command(
    kinds: tuple[str, ...], runs: int, repeats: int, seed: int, workers: int | None, json_path: Path | None
) -> int:
    """Test mathcheck itself: is every statistical check as rare a false alarm, and as sharp, as it says?

    Counts false alarms on true nulls, and misses of errors of the size that each test states, with exact confidence
    intervals; and sets the laws of each KIND (default all) against all the slips that they know.
    """
    import json
    import time

    from mathcheck.adapters import KINDS
    from mathcheck.report import self_test as report
    from mathcheck.report import terminal
    from mathcheck.report.files import write_whole
    from mathcheck.runner import self_test

    check_files(json_path)
    try:
        todo = self_test.jobs(kinds or tuple(KINDS), runs=runs, repeats=repeats, seed=seed)
    except ValueError as error:
        raise Usage(str(error)) from error
    start, found = time.perf_counter(), dict[int, Any]()
    with terminal.counted(len(todo), "self-test") as tick:
        for place, parts in self_test.run(todo, workers or cores()):
            found[place] = parts
            tick()
    ordered = [part for place in sorted(found) for part in found[place]]
    seconds = time.perf_counter() - start
    report.show(ordered, seconds)
    if json_path is not None:
        write_whole(json_path, json.dumps(report.as_json(ordered, seed=seed, seconds=seconds), indent=1) + "\n")
    return 1 if report.failures(ordered) else 0


@click.command("experiment")
@click.argument("name", required=False)
@click.option("--list", "listed", is_flag=True, help="The experiments there are.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="MATHCHECK_DATA",
    metavar="DIR",
    help="Folder with mnist/ and kmnist/ as IDX files.  [default: scikit-learn's digits]",
)
@click.option("--device", default="cpu", show_default=True, help="Where tensors live, e.g. cuda.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of everything random.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of figures and plots.  [default: experiments/NAME]",
)
@click.option("--quick", is_flag=True, help="Smaller, in under two minutes.")
def experiment_command(
    name: str | None, listed: bool, data: Path | None, device: str, seed: int, out: Path | None, quick: bool
) -> int:
    """Reproduce one of the notes' experiments: figures beside the notes', and plots.

    An interrupted run goes on from its last checkpoint when it is started again.
    """
    from mathcheck.experiments import lab
    from mathcheck.report import experiments as report
    from mathcheck.report import terminal

    known = lab.catalogue()
    if listed or name is None:
        width = max(map(len, known))
        for found in known.values():
            click.echo(f"{found.name:<{width}}  {found.title}")
        return 0
    if name not in known:
        raise Usage(f"there is no experiment {name!r}, expected one of {', '.join(known)}")
    check_device(device)
    if data is not None and not data.is_dir():
        raise Usage(f"--data {data}: there is no such folder")
    setting = lab.Setting(out or Path("experiments") / name, data, device, seed, "quick" if quick else "full")
    try:
        with terminal.telling() as tell:
            done = lab.perform(known[name], setting, tell)
    except KeyboardInterrupt:
        click.echo(
            f"mathcheck: interrupted; the same command goes on from the last checkpoint in {setting.out}", err=True
        )
        return INTERRUPTED
    except (OSError, ValueError, ArithmeticError, ModuleNotFoundError) as error:
        raise Usage(str(error)) from error
    report.show(done)
    return 0


@click.command("bench")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--list", "listed", is_flag=True, help="The kernels there are, and who computes them here.")
@click.option("--device", default="cpu", show_default=True, help="Where tensors live, e.g. cuda.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of the CPU.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), help="Precision.  [default: the kernel's own]")
@click.option("--peers", is_flag=True, help="Time other libraries that are installed, too.")
@click.option("--rounds", type=click.IntRange(3), default=9, show_default=True, help="Turns of each contender.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Write what was found.")
def bench_command(
    names: tuple[str, ...],
    listed: bool,
    device: str,
    threads: int,
    dtype: str | None,
    peers: bool,
    rounds: int,
    json_path: Path | None,
) -> int:
    """Time the kernels beside plain code and other libraries.

    The claims behind a kernel are verified first, and every result that is timed; then all contenders take turns. Ratios
    are told, since times differ from machine to machine; beside them stands what the machine needs for the work alone.
    Of several kernels each is timed in a process of its own.
    """
    import difflib
    import functools
    import os
    from concurrent.futures.process import BrokenProcessPool

    # Counting bytes makes torch complain of each block that it did not see allocated; it reads this when it is imported.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    import torch

    from mathcheck.bench import measure
    from mathcheck.bench.kernel import OURS, catalogue
    from mathcheck.report import bench as report
    from mathcheck.report import terminal
    from mathcheck.report.files import write_whole
    from mathcheck.runner.run import processes

    known = catalogue()
    if listed:
        width = max(map(len, known))
        for kernel in known.values():
            click.echo(f"{kernel.name:<{width}}  {' | '.join(kernel.present(device))}")
        return 0
    unknown = [name for name in names if not any(k == name or k.startswith(name + "_") for k in known)]
    if unknown:
        close = difflib.get_close_matches(unknown[0], known, 3)
        meant = f"did you mean {' or '.join(close)}?" if close else "`mathcheck bench --list` shows what there is"
        raise Usage(f"there is no kernel {unknown[0]!r}; {meant}")
    check_files(json_path)
    check_device(device)
    chosen = [k for k in known.values() if not names or any(k.name == n or k.name.startswith(n + "_") for n in names)]
    precision = getattr(torch, dtype) if dtype else None
    machine, found, wrong = measure.machine(device, threads), list[measure.Measurement](), False
    for kernel in chosen:
        timed = functools.partial(
            measure.every_size, kernel.name, machine=machine, device=device, dtype=precision, peers=peers, rounds=rounds
        )
        with terminal.counted(len(kernel.sizes_on(device)) + 1, kernel.name) as tick:
            try:
                if len(chosen) == 1:
                    own = timed(tick=tick)
                else:
                    # In a process of its own: how fast memory comes depends on what was allocated before.
                    with processes(1) as pool:
                        own = pool.submit(timed).result()
            except measure.Unverified as error:
                click.echo(f"{kernel.name}: not timed, since a claim does not hold\n{error}", err=True)
                wrong = True
                continue
            except BrokenProcessPool:
                click.echo(
                    f"{kernel.name}: not timed, since its process was ended, perhaps for want of memory", err=True
                )
                wrong = True
                continue
        for m in own:
            report.show(m)
        report.show_exponents(kernel, own)
        found += own
        ours = [t for m in own for t in m.timings if t.name.startswith(OURS)]
        wrong = wrong or any(not t.error <= 1 for t in ours) or len(ours) < len(own)
        if json_path is not None:
            write_whole(json_path, report.as_json(machine, device, found, known))
    return 1 if wrong else 0


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
@click.option("--accuracy", is_flag=True, help="Measure the table of worst errors anew.")
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="The checkout whose pages are written.",
)
def pages_command(
    report: Path | None,
    tested: Path | None,
    folders: tuple[Path, ...],
    timed: tuple[Path, ...],
    accuracy: bool,
    root: Path,
) -> int:
    """Regenerate the README's tables and proofs/README.md from what runs found.

    REPORT.json is what `verify --json` wrote: the table of derivations and proofs/README.md. A part that no run is given
    for stays as it is.
    """
    import json

    from mathcheck.bench import accuracy as worst
    from mathcheck.report import bench, experiments, json_file, pages
    from mathcheck.runner import catalogue

    if report is None and tested is None and not folders and not timed and not accuracy:
        raise click.UsageError("give REPORT.json, --self-test FILE, --experiments DIR, --bench FILE or --accuracy")
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
        if accuracy:
            parts["accuracy"] = worst.markdown(worst.table())
        found = json_file.read(report) if report is not None else None
        written = pages.write(found, parts, catalogue.proofs(), root)
    except (OSError, ValueError, KeyError, ModuleNotFoundError) as error:
        raise Usage(str(error)) from error
    for path in written:
        click.echo(f"wrote {path}")
    return 0
