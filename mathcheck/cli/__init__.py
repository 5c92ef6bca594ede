"""The command line: `mathcheck verify`, `list`, `show` and what else there is. Heavy imports wait inside the commands."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

import mathcheck
from mathcheck.cli import bench, experiment, listing, pages, self_test, show, verify
from mathcheck.cli.usage import INTERNAL, INTERRUPTED, USAGE
from mathcheck.engine.moved import found_again


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


for module in (verify, listing, show, self_test, experiment, bench, pages):
    main.add_command(module.command)


def __getattr__(name: str) -> Any:
    # Snippets of version 0.1 import it from here.
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found_again(__name__, name, ("mathcheck.adapters.target",))
