"""The catalogue and its proofs, to read in a terminal."""

from __future__ import annotations

import contextlib
import os
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.markdown import Markdown
from rich.padding import Padding
from rich.syntax import Syntax
from rich.text import Text

from mathcheck.engine.readable import readable, unicode_maths
from mathcheck.report.screen import console, count, draw, put
from mathcheck.runner.index import title

if TYPE_CHECKING:
    from mathcheck.runner.catalogue import Entry

_FENCE = re.compile(r"^(```|~~~).*?^\1[`~]*[ \t]*$", re.DOTALL | re.MULTILINE)
_DISPLAY = re.compile(r"^[ \t]*\$\$(.+?)\$\$[ \t]*$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"(?<!\\)\$`(.+?)`\$|(`+)(?:.+?)\2|(?<!\\)\$([^$]+?)\$", re.DOTALL)


def show_theorems(proofs: Mapping[str, Path]) -> None:
    """Prints the names of derivations, topic by topic, with what each is about."""
    screen = console()
    width = max((len(name) for name in proofs), default=0)
    for topic in dict.fromkeys(name.split(".")[0] for name in proofs):
        lines = [(name, path) for name, path in proofs.items() if name.split(".")[0] == topic]
        for name, path in lines:
            screen.print(Text.assemble((f"{name.replace('.', '/'):<{width}}", "bold"), f"  {readable(title(path))}"))
    screen.print()
    screen.print(
        f"{count(len(proofs), 'theorem')}; `mathcheck list NAME` lists its claims, `mathcheck show NAME` its proof"
    )


def show_list(entries: Sequence[Entry], proofs: Mapping[str, Path], *, verbose: bool = False) -> None:
    """Prints the claims of each derivation with their statements, and where its proof is."""
    screen = console()
    for derivation in dict.fromkeys([*(entry.derivation for entry in entries), *proofs]):
        path = proofs.get(derivation)
        head = Text(derivation.replace(".", "/", 1), "bold")
        head.append(f"   {_relative(path)}" if path is not None else "   no proof yet", "dim")
        screen.print(head, soft_wrap=True)
        subject = None  # of the laws that are printed
        for entry in (entry for entry in entries if entry.derivation == derivation):
            if entry.attribute not in (None, subject):
                subject = entry.attribute
                prefix = entry.name.rsplit(".", 1)[0]
                screen.print(Text.assemble(f"  {subject}", (f"   {type(entry.subject).__name__}, {prefix}.", "dim")))
            draw(screen, _claim(entry, verbose))
        screen.print()
    claims = count(len(entries), "claim")
    screen.print(
        f"{count(len({e.derivation for e in entries} | set(proofs)), 'derivation')}, {claims}, "
        f"{count(len(proofs), 'proof')}"
    )


def _claim(entry: Entry, verbose: bool) -> RenderableType:
    """A claim of a derivation in full; a law on one of its subjects in a line, unless `verbose`."""
    claim, own = entry.claim, entry.attribute is None
    title = Text(readable(claim.title))
    title.append(f"   {entry.name if own else entry.claim.check.__name__}", "dim")
    said = readable(claim.statement.removeprefix(claim.title).lstrip(":. "))
    below = [Text(said)] if said and (own or verbose) else []
    below += [Text("uses " + ", ".join(used.name for used in claim.uses), "dim")] if claim.uses else []
    below += [Text(f"wrong when {readable(name)}", "dim") for name in (claim.mutants if verbose else ())]
    lines = Group(title, *(Padding(line, (0, 0, 0, 2), expand=False) for line in below))
    return Padding(lines, (0, 0, 0, 2 if own else 4), expand=False)


def _relative(path: Path) -> Path:
    with contextlib.suppress(ValueError):
        return path.resolve().relative_to(Path.cwd())
    return path


def show_proof(path: Path) -> None:
    """Prints a proof, its mathematics in Unicode; through a pager on a terminal."""
    screen = console()
    parts = list(proof(path.read_text(encoding="utf-8")))
    if not screen.is_terminal:
        draw(screen, *parts)
        return
    # Without these, less shows the colours' codes as text, and stops at a proof that fits the screen.
    os.environ.setdefault("LESS", "-FRX")
    with screen.pager(styles=True, links=True):
        for part in parts:
            put(screen, part)


def proof(text: str) -> Iterator[RenderableType]:
    """A Markdown text in pieces to print: prose and code as they are, formulas that stand alone set in."""
    place = 0
    for fence in [*_FENCE.finditer(text), None]:
        yield from _prose(text[place : fence.start() if fence else len(text)])
        if fence:
            yield _code(fence[0])
            place = fence.end()


def _code(fence: str) -> Text:
    """Code as it stands: a line too long for the terminal is for the terminal to break."""
    opening, *lines = fence.splitlines()[:-1]
    code = textwrap.indent("\n".join(lines), "    ")
    language = opening.strip("`~ ").partition(" ")[0] or "text"
    return Syntax("", language, theme="ansi_dark", background_color="default").highlight(code)


def _prose(text: str) -> Iterator[RenderableType]:
    place = 0
    for display in [*_DISPLAY.finditer(text), None]:
        piece = text[place : display.start() if display else len(text)]
        if piece.strip():
            yield Markdown(_INLINE.sub(_inline, piece))
            yield ""
        if display:
            yield Padding(Text(unicode_maths(display[1])), (0, 0, 1, 6))
            place = display.end()


def _inline(found: re.Match[str]) -> str:
    """A formula in Unicode, with the signs that Markdown would take for its own escaped; code stays as it is."""
    latex = found[1] or found[3]
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", unicode_maths(latex)) if latex else found[0]
