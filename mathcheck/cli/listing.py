"""`mathcheck list`: the catalogue."""

from __future__ import annotations

import click

from mathcheck.cli.usage import Usage


@click.command("list")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("-v", "--verbose", is_flag=True, help="The mutants of each claim too: the slips that it must refute.")
def command(names: tuple[str, ...], verbose: bool) -> int:
    """List the catalogue: every theorem, or the claims of those that NAME says, in full.

    NAME is a topic, a derivation or a claim: `flows`, `flows/coupling`. `mathcheck list -v` lists everything.
    """
    from mathcheck.report import reader
    from mathcheck.runner import index

    if not names and not verbose:
        reader.show_theorems(index.proofs())
        return 0

    from mathcheck.runner import catalogue, selection

    try:
        chosen = selection.among(names)
    except ValueError as error:
        raise Usage(str(error)) from error
    entries = [entry for entry in catalogue.entries(*names) if chosen(entry.name)]
    about = {entry.derivation for entry in entries}
    proofs = {name: path for name, path in index.proofs().items() if chosen(name) or name in about}
    reader.show_list(entries, proofs, verbose=verbose)
    return 0
