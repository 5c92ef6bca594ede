"""What there is to read, from the files alone: topics, theorems and proofs, without importing one of them."""

from __future__ import annotations

import functools
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

from mathcheck.engine.passages import proofs_folder

TOPICS = ("linear", "convex", "probability", "divergence", "flows", "inference", "markov")
_PACKAGE = Path(__file__).parents[1]


@functools.cache
def modules() -> tuple[str, ...]:
    """Import paths of every module of the topic folders, in reading order; of a theorem that is a folder, its parts."""
    return tuple(name for topic in TOPICS for name in _modules(f"mathcheck.{topic}", _PACKAGE / topic))


def _modules(package: str, folder: Path) -> Iterator[str]:
    for info in sorted(pkgutil.iter_modules([str(folder)]), key=lambda info: info.name):
        name = f"{package}.{info.name}"
        yield from _modules(name, folder / info.name) if info.ispkg else [name]


def theorem(module: str) -> str:
    """The theorem or role that a module belongs to: "mathcheck.flows.bijection.laws" -> "flows.bijection"."""
    return ".".join(module.removeprefix("mathcheck.").split(".")[:2])


def proofs() -> dict[str, Path]:
    """Derivation -> its proof, e.g. "divergence.gaussian_kl" -> proofs/divergence/gaussian_kl.md, in reading order."""
    files = sorted(proofs_folder().glob("*/*.md"), key=lambda p: (TOPICS.index(p.parent.name), p.name))
    return {f"{path.parent.name}.{path.stem}": path for path in files}


def title(proof: Path) -> str:
    """The theorem's name, from the first line of its proof."""
    with proof.open(encoding="utf-8") as lines:
        return next(lines, "").removeprefix("# ").strip()


def parts(pattern: str) -> list[str]:
    """The parts of a name as somebody writes it: "proofs/flows/coupling.md" -> ["flows", "coupling"]."""
    found = pattern.removesuffix(".md").removesuffix(".py").replace("/", ".").replace(":", ".").strip(".").split(".")
    return found[1:] if found[0] in ("mathcheck", "proofs") else found


def matches(name: str, pattern: str) -> bool:
    """True if `pattern` ("flows", "flows/coupling", "flows.coupling.round_trip") is `name` or a prefix of its parts."""
    wanted = parts(pattern)
    return name.replace(":", ".").split(".")[: len(wanted)] == wanted


def proofs_about(text: str) -> dict[str, Path]:
    """The proofs that somebody means: by path, by the name of a claim in them, or by words of their titles.

    Args:
        text: "flows/coupling", "flows", "planar", "flows.planar.constraint_is_met", "smooth maximum", "KL".

    Returns:
        As `proofs`: those that fit in the first of these ways in which any does, so one where one is meant.
    """
    known = proofs() if text.strip() else {}
    words = set(re.findall(r"\w+", text.lower().replace("_", " ")))
    *_, last = parts(text)
    ways = (
        lambda name: matches(name, text),
        lambda name: matches(".".join(parts(text)), name) and _states(name, last),
        lambda name: name.split(".")[-1] == text.lower(),
        lambda name: _states(name, text),
        lambda name: bool(words) and words <= _words(name, known[name]),
        lambda name: text.lower().replace(" ", "_") in name,
    )
    for fits in ways:
        if found := {name: path for name, path in known.items() if fits(name)}:
            return found
    return {}


def _words(name: str, proof: Path) -> set[str]:
    return set(re.findall(r"[^\W_]+", f"{name} {title(proof)}".lower()))


def _states(name: str, stated: str) -> bool:
    """Whether the code of a theorem binds a name at the left margin, as claims and subjects are."""
    bound = re.compile(rf"^(?:def )?{re.escape(stated)}\b(?=\(|.*=)", re.MULTILINE)
    sources = (_PACKAGE.parent / (module.replace(".", "/") + ".py") for module in modules() if theorem(module) == name)
    return any(bound.search(source.read_text(encoding="utf-8")) for source in sources)
