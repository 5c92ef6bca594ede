"""What every command refuses, and the exit codes, which are pytest's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

INTERRUPTED, INTERNAL, USAGE = 2, 3, 4


class Usage(click.ClickException):
    """A request that cannot be met, said in one line."""

    exit_code = USAGE

    def show(self, file: Any = None) -> None:
        """Prints it on standard error."""
        click.echo(f"mathcheck: {self.format_message()}", file=file, err=True)


def check_files(*paths: Path | None) -> None:
    """Finds out before a run whether its files can be written after it."""
    from mathcheck.report.files import check_writable

    given = [path.resolve() for path in paths if path is not None]
    if len(set(given)) < len(given):
        raise click.UsageError("--json and --junit name the same file")
    for path in paths:
        if path is not None:
            try:
                check_writable(path)
            except OSError as error:
                raise Usage(str(error)) from error


def check_device(device: str) -> None:
    """Finds out before a run whether torch can use a device."""
    import torch

    try:
        # Reading a value back rules out a device that holds no numbers, such as "meta".
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise Usage(f"--device {device}: torch cannot use it here ({reason})") from error


def cores() -> int:
    """Cores that this process may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
