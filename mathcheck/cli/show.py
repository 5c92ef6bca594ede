"""`mathcheck show`: a proof in the terminal."""

from __future__ import annotations

import click

from mathcheck.cli.usage import Usage


@click.command("show")
@click.argument("name")
def command(name: str) -> int:
    """Read a proof in the terminal.

    NAME is a derivation, e.g. `flows/coupling`, one of its claims, or words of a title: `planar`, `KL`, `"smooth maximum"`.
    Where it fits several proofs, they are listed.
    """
    from mathcheck.report import reader
    from mathcheck.runner import index

    proofs = index.proofs_about(name)
    if len(proofs) == 1:
        reader.show_proof(next(iter(proofs.values())))
    elif proofs:
        reader.show_theorems(proofs)
        click.echo(f"\n{name} fits these {len(proofs)} proofs; `mathcheck show NAME` prints one.")
    else:
        from mathcheck.runner.selection import suggestions

        raise Usage(f"no proof is about {name!r}{suggestions(name, index.proofs())}")
    return 0
