"""Where the proofs speak of a claim, so that a verdict can say where to read why."""

from __future__ import annotations

import functools
import re
from pathlib import Path


def proofs_folder() -> Path:
    """The folder of the proofs: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).parents[1]
    beside = package.parent / "proofs"
    return beside if beside.is_dir() else package / "_proofs"


_STRING = re.compile(r"""(["']).*?\1""")


@functools.cache
def passage(module: str, name: str) -> str | None:
    """The passage to read about a claim, e.g. "proofs/flows/bijection.md, step 3: Differentiate the round trip".

    The first step whose code names the claim: in the module's own proof, else in another of its topic. A last step,
    which only verifies what the proof has shown, is no passage; where there is no other, the whole proof is.

    Args:
        module: that states the claim, e.g. "flows.bijection".
        name: of the claim in that module.
    """
    topic, _, own = module.partition(".")
    for path in sorted((proofs_folder() / topic).glob("*.md"), key=lambda path: (path.stem != own, path.stem)):
        shown = f"proofs/{topic}/{path.name}"
        named = re.compile(rf"\b{name}\b" if path.stem == own else rf"\b{own}\.{name}\b")
        heading, found, code = "", path.stem == own, False
        for line in path.read_text(encoding="utf-8").splitlines():
            code = line.startswith("```python") or (code and not line.startswith("```"))
            if line.startswith("## "):
                heading = line.removeprefix("## ").replace(". ", ": ", 1)
            elif code and heading.startswith("Step") and named.search(_STRING.sub("", line)):
                found = True
                if ": Verify " not in heading:
                    return f"{shown}, {heading[0].lower()}{heading[1:]}"
        if found:
            return shown
    return None
