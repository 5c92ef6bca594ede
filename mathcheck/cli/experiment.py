"""`mathcheck experiment`: the notes' experiments, run again."""

from __future__ import annotations

from pathlib import Path

import click

from mathcheck.cli.usage import INTERRUPTED, Usage, check_device


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
def command(
    name: str | None, listed: bool, data: Path | None, device: str, seed: int, out: Path | None, quick: bool
) -> int:
    """Reproduce one of the notes' experiments: figures beside the notes', and plots.

    An interrupted run goes on from its last checkpoint when it is started again.
    """
    from mathcheck.experiments import lab
    from mathcheck.report import experiments as report
    from mathcheck.report import screen

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
        with screen.telling() as tell:
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
