"""`mathcheck bench`: the kernels beside plain code and other libraries."""

from __future__ import annotations

from pathlib import Path

import click

from mathcheck.cli.usage import Usage, check_device, check_files


@click.command("bench")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--list", "listed", is_flag=True, help="The kernels there are, and who computes them here.")
@click.option("--device", default="cpu", show_default=True, help="Where tensors live, e.g. cuda.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of the CPU.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), help="Precision.  [default: the kernel's own]")
@click.option("--peers", is_flag=True, help="Time other libraries that are installed, too.")
@click.option("--rounds", type=click.IntRange(3), default=9, show_default=True, help="Turns of each contender.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Write what was found.")
def command(
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
    from mathcheck.report import screen
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
        with screen.counted(len(kernel.sizes_on(device)) + 1, kernel.name) as tick:
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
