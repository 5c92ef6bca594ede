"""The generated parts of the documentation: what runs found, the laws of each kind, and what the source notes say."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mathcheck.engine.claim import laws
from mathcheck.engine.residual import Kind
from mathcheck.report.files import write_whole


def marks(name: str) -> tuple[str, str]:
    """The lines of a Markdown file between which a generated part of that name stands."""
    return f"<!-- begin {name}: made by `mathcheck pages` -->", f"<!-- end {name} -->"


def derivation_table(report: Mapping[str, Any], proofs: Mapping[str, Path]) -> str:
    """The catalogue's table: for each derivation its theorem's title, proof, kinds of evidence, mutants, proof steps.

    Args:
        report: what `json_file.read` returns.
        proofs: derivation -> proof.
    """
    lines = [
        "| derivation | proof | claims | evidence | wrong versions refuted | proof steps |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, path in proofs.items():
        claims = [c for c in report["claims"] if c["derivation"] == name and c["status"] == "holds"]
        steps = [s for s in report["proof_steps"] if s["proof"] == name]
        found = {kind for c in claims for kind in c["kinds"]}
        found |= {kind for step in steps for evidence in step["evidence"] for kind in evidence["kinds"]}
        kinds = ", ".join(str(kind) for kind in Kind if kind in found)
        fates = [fate for c in claims for fate in c["mutants"].values() if fate != "not applicable"]
        mutants = f"{fates.count('refuted')} of {len(fates)}" if fates else ""
        held = f"{sum(step['holds'] for step in steps)} of {len(steps)}"
        place = name.replace(".", "/")
        link = f"[{place}](../proofs/{place}.md)"
        lines.append(f"| {_title(path)} | {link} | {len(claims) or ''} | {kinds} | {mutants} | {held} |")
    summary = report["summary"]
    lines.append(
        f"\n{len(proofs)} proofs, {summary['claims'].get('holds', 0)} claims that hold, {summary['mutants_refuted']} wrong "
        f"versions refuted, {summary['proof_steps_held']} proof steps; {report['dtype']}, seed {report['seed']}, torch "
        f"{report['torch']}."
    )
    return "\n".join(lines)


def proofs_page(proofs: Mapping[str, Path]) -> str:
    """proofs/README.md: the proofs in reading order, and the errata of the source notes."""
    lines = ["# The proofs, in reading order"]
    lines += ["", "Every proof runs: `mathcheck verify NAME` executes its steps, `mathcheck show NAME` prints it."]
    for topic in dict.fromkeys(name.split(".")[0] for name in proofs):
        lines += ["", f"## {topic.capitalize()}", ""]
        lines += [f"- {_link(name, path)}" for name, path in proofs.items() if name.split(".")[0] == topic]
    lines += ["", "## What the source notes say, and what is true"]
    lines += [
        "",
        "The derivations come from five sets of course notes. Where those are wrong, or right with a gap, the",
    ]
    lines += ["proof says so, beside a block that refutes their version when it is run."]
    for name, path in proofs.items():
        said = _what_the_notes_say(path)
        if said:
            lines += ["", f"### {_link(name, path, '#what-the-notes-say')}", "", said]
    return "\n".join(lines) + "\n"


def _link(name: str, path: Path, anchor: str = "") -> str:
    return f"[{_title(path)}]({name.replace('.', '/')}.md{anchor})"


def _title(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").strip()


def _what_the_notes_say(path: Path) -> str:
    """The prose of that section, without its code."""
    text = path.read_text(encoding="utf-8")
    found = re.search(r"^## What the notes say$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    if found is None:
        return ""
    prose = re.sub(r"^```.*?^```$", "", found[1], flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", prose).strip()


def replace_between(path: Path, name: str, text: str) -> None:
    """Puts `text` between the two marks of that name in a Markdown file.

    Raises:
        ValueError: if the file lacks a mark.
    """
    begin, end = marks(name)
    content = path.read_text(encoding="utf-8")
    if content.count(begin) != 1 or content.count(end) != 1:
        raise ValueError(f"{path} must hold the marks {begin!r} and {end!r} once each")
    before, rest = content.split(begin)
    write_whole(path, f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}")


def laws_table(kind: type) -> str:
    """The laws of a kind, as its guide shows them: what each says, and the wrong versions that it knows."""
    lines = ["| law | it says | it knows these slips |", "| --- | --- | --- |"]
    for law in laws(kind):
        said = (inspect.getdoc(law.check) or "").splitlines()[0].rstrip(".").replace("|", r"\|")
        slips = "; ".join(law.mutants).replace("|", r"\|")
        lines.append(f"| `{law.check.__name__}` | {said} | {slips} |")
    return "\n".join(lines)


def page_of(name: str, root: Path) -> Path:
    """The page below `root`, the README or one of docs, that holds the marks of a generated part.

    Raises:
        ValueError: if none does, or several do.
    """
    pages = [path for path in (root / "README.md", *sorted((root / "docs").rglob("*.md"))) if path.is_file()]
    found = [path for path in pages if marks(name)[0] in path.read_text(encoding="utf-8")]
    if len(found) != 1:
        held = " and ".join(map(str, found)) or "none"
        raise ValueError(f"one page of {root} must hold the marks of {name!r}, got {held}")
    return found[0]


def write(
    report: Mapping[str, Any] | None, parts: Mapping[str, str], proofs: Mapping[str, Path], root: Path
) -> Sequence[Path]:
    """Regenerates what it is given of the pages below `root`; the rest stays as it is.

    Args:
        report: what `json_file.read` returns: the table of derivations and the page of proofs.
        parts: name of another generated part -> its text.
        proofs: derivation -> proof.
        root: the checkout.

    Returns:
        The paths of the pages.
    """
    if report is not None:
        parts = {"derivations": derivation_table(report, proofs), **parts}
    places = {name: page_of(name, root) for name in parts}
    for name, text in parts.items():
        replace_between(places[name], name, text)
    written = list(dict.fromkeys(places.values()))
    if report is not None:
        page = root / "proofs" / "README.md"
        write_whole(page, proofs_page(proofs))
        written.append(page)
    return written
