"""Where the proofs speak of a claim, so that a verdict can say where to read why."""

from __future__ import annotations

import functools
import re
from pathlib import Path


def proofs_folder() -> Path:
    """The folder of the proofs: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).parent
    beside = package.parent / "proofs"
    return beside if beside.is_dir() else package / "_proofs"


@functools.cache
def passage(module: str, name: str) -> str | None:
    """The passage to read about a claim, e.g. "proofs/flows/bijection.md, step 3: Differentiate the round trip".

    The first step of the module's own proof whose code names the claim, else the first such step in a proof of the same
    topic; without one the module's own proof, if there is one.

    Args:
        module: that states the claim, e.g. "flows.bijection".
        name: of the claim in that module.
    """
    topic, _, own = module.partition(".")
    files = sorted((proofs_folder() / topic).glob("*.md"), key=lambda path: (path.stem != own, path.stem))
    for path in files:
        heading = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("## "):
                heading = line.removeprefix("## ").replace(". ", ": ", 1)
            elif heading.startswith("Step") and re.search(rf"\b{name}\b", line):
                return f"proofs/{topic}/{path.name}, {heading[0].lower()}{heading[1:]}"
    return f"proofs/{topic}/{own}.md" if files and files[0].stem == own else None
