"""Runs a proof: Markdown that GitHub renders, whose every step is executed and must leave evidence."""

from __future__ import annotations

import dataclasses
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from mathcheck.engine.claim import Refuted, Settings, recording
from mathcheck.engine.evidence import Evidence, Status


@dataclass(frozen=True)
class Block:
    """One `python` block of a proof: the heading it stands under (empty before the first `##`) and its first line."""

    heading: str
    line: int
    code: str


@dataclass(frozen=True)
class StepResult:
    """What running one block gave: its evidence, and what went wrong, pointing at the Markdown line."""

    proof: str
    heading: str
    line: int
    evidence: tuple[Evidence, ...]
    error: str | None = None

    @property
    def holds(self) -> bool:
        """True if nothing went wrong and all the evidence holds."""
        return self.error is None and all(found.status is Status.HOLDS for found in self.evidence)


def blocks(text: str) -> list[Block]:
    """The executable blocks of a Markdown text."""
    found, heading = [], ""
    tokens = MarkdownIt().parse(text)
    for token, following in zip(tokens, tokens[1:] + tokens[-1:], strict=True):
        if token.type == "heading_open" and token.tag == "h2":
            heading = following.content
        if token.type == "fence" and token.info.split()[:1] == ["python"] and token.map is not None:
            found.append(Block(heading, token.map[0] + 2, token.content))
    return found


def run(path: Path | str, *, settings: Settings | None = None) -> list[StepResult]:
    """Runs every block of a proof in one namespace.

    Blocks before the first `##` heading set the scene; every block under one is a step, and a step that leaves no
    evidence is an error. After a block that raises, the blocks below still run: what is found is kept.

    Args:
        path: the Markdown file.
        settings: how hard the steps look; they are held to every bound.

    Returns:
        The results of the steps, in order; a failure of the scene is a result too.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    path, settings = Path(path), dataclasses.replace(settings or Settings(), accuracy="full")
    name = f"{path.parent.name}.{path.stem}"
    namespace: dict[str, Any] = {"__name__": f"proof of {name}"}
    results = []
    for block in blocks(path.read_text(encoding="utf-8")):
        error = None
        with recording(settings) as found:
            try:
                # Leading newlines make a traceback point at the line of the Markdown file.
                exec(compile("\n" * (block.line - 1) + block.code, str(path), "exec"), namespace)
            except Exception as failure:
                error = _explain(failure, path)
        if block.heading and not found and error is None:
            error = f"{path}:{block.line}: the step leaves no evidence"
        if block.heading or error is not None:
            results.append(StepResult(name, block.heading or "(set-up)", block.line, tuple(found), error))
    if not results:
        results.append(StepResult(name, "(the proof)", 1, (), f"{path}:1: the proof has no executable step"))
    return results


def _explain(failure: Exception, path: Path) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(failure.__traceback__) if frame.filename == str(path)]
    if isinstance(failure, SyntaxError) and failure.lineno is not None:
        lines.append(failure.lineno)
    at = f"{path}:{lines[-1] if lines else 1}"
    if isinstance(failure, Refuted):
        return f"{at}: {failure}"
    return f"{at}: {type(failure).__name__}: {failure}"
