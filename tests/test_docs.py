"""The code in README and docs runs, and says what the pages say it does.

Every `python` block of a page runs, in one namespace a page. A `text` block below it holds what it prints, or the
verdict with which it fails: there `...` alone stands for any lines, and at the end of a line for the rest of it.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from mathcheck import Refuted
from mathcheck.adapters import KINDS
from mathcheck.engine.claim import overriding
from mathcheck.report import pages

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d*)?(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Block:
    """Code of a page, its line, and the text below it: what it prints or how it fails."""

    code: str
    line: int
    said: str | None


def blocks(page: Path) -> list[Block]:
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    found = []
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "fence" and token.info == "python" and token.map is not None:
            said = after.content if after is not None and after.type == "fence" and after.info == "text" else None
            found.append(Block(token.content, token.map[0] + 2, said))
    return found


def outcome(block: Block, page: Path, namespace: dict[str, object]) -> str:
    """What a block prints, or the verdict with which it fails."""
    printed = io.StringIO()
    code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
    try:
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
    except Refuted as verdict:
        return str(verdict).strip("\n")
    return printed.getvalue().rstrip("\n")


def agrees(expected: str, line: str) -> bool:
    """The same words, and numbers within 1 %; the rest after `...` is not looked at."""
    if expected.endswith("..."):
        start = _NUMBER.sub("#", expected.removesuffix("..."))
        if not _NUMBER.sub("#", line).startswith(start.rstrip()):
            return False
    elif _NUMBER.sub("#", expected).rstrip() != _NUMBER.sub("#", line).rstrip():
        return False
    pairs = zip(_NUMBER.findall(expected), _NUMBER.findall(line), strict=False)
    return all(math.isclose(float(ours), float(theirs), rel_tol=0.01) for ours, theirs in pairs)


def difference(said: str, found: str) -> str | None:
    """The first line of a page's text that is not among what was found, in order."""
    lines, place, skipping = found.splitlines(), 0, False
    for expected in said.splitlines():
        if expected.strip() == "...":
            skipping = True
            continue
        while skipping and place < len(lines) and not agrees(expected, lines[place]):
            place += 1
        if place == len(lines) or not agrees(expected, lines[place]):
            return expected
        place, skipping = place + 1, False
    return None if place == len(lines) or skipping else f"(nothing), but there was: {lines[place]}"


def run(page: Path, *, whole: bool) -> None:
    namespace: dict[str, object] = {"__name__": f"page {page.name}"}
    for block in blocks(page):
        found = outcome(block, page, namespace)
        at = f"{page}:{block.line}"
        if block.said is None:
            assert not found, f"{at} says, and the page does not:\n{found}"
        elif whole:
            missing = difference(block.said, found)
            assert missing is None, f"{at}: expected the line\n{missing}\nin\n{found}"
        else:
            verdicts = {next(iter(text.split()), "") for text in (block.said, found)}
            assert len(verdicts) == 1, f"{at}: expected\n{block.said}\ngot\n{found}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_of_a_page_runs(page: Path) -> None:
    with overriding(examples=8, budget=0.2):
        run(page, whole=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_of_a_page_says_what_the_page_says(page: Path) -> None:
    run(page, whole=True)


@pytest.mark.parametrize(
    ("said", "found", "same"),
    [
        ("a 1.000 b", "a 1.001 b", True),
        ("a 1.0 b", "a 1.1 b", False),
        ("a ...", "a b c", True),
        ("a\n...\nc", "a\nb\nc", True),
        ("a\n...", "a\nb\nc", True),
        ("a\nc", "a\nb\nc", False),
        ("a", "a\nb", False),
        ("a\n...\nd", "a\nb\nc", False),
    ],
)
def test_texts_are_compared_line_by_line(said: str, found: str, same: bool) -> None:
    assert (difference(said, found) is None) == same


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    inline = [child for token in MarkdownIt().parse(page.read_text(encoding="utf-8")) for child in token.children or ()]
    targets = [str(child.attrs.get("href") or child.attrs.get("src") or "") for child in inline]
    for target in filter(None, (target.partition("#")[0] for target in targets)):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), f"{page}: nothing at {target}"


@pytest.mark.parametrize("kind", KINDS)
def test_the_guide_of_a_kind_lists_its_laws(kind: str) -> None:
    begin, end = pages.marks(f"laws {kind}")
    guide = ROOT / "docs" / "roles" / f"{kind}.md"
    written = guide.read_text(encoding="utf-8").split(begin)[1].split(end)[0]
    assert written.strip() == pages.laws_table(KINDS[kind]), "run `mathcheck pages --laws`"


def test_the_readme_lists_every_call() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for kind in KINDS:
        assert f"[`check_{kind}`](docs/roles/{kind}.md)" in text
    assert len(text.encode()) < 8_000
