"""What mathcheck holds, found by walking the package: claims, the subjects that laws judge, and proofs."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import mathcheck
from mathcheck.engine.claim import Claim, Settings, laws, verify
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.passages import proofs_folder

TOPICS = ("linear", "convex", "probability", "divergence", "flows", "inference", "markov")


@dataclass(frozen=True, eq=False)
class Entry:
    """One claim on one subject that must hold: a derivation's own claim, or a law on one of its subjects.

    Attributes:
        claim: what is claimed.
        subject: of whom.
        derivation: the module that the pair belongs to, e.g. "divergence.gaussian_kl".
        attribute: name of the subject in that module; `None` for the claim's own reference.
    """

    claim: Claim
    subject: Any
    derivation: str
    attribute: str | None = None

    @property
    def name(self) -> str:
        """Unique name: the claim's own, or "<module>.<subject>.<law>"."""
        if self.attribute is None:
            return self.claim.name
        return f"{self.derivation}.{self.attribute}.{self.claim.check.__name__}"

    @property
    def origin(self) -> str:
        """The Python statement that makes the subject."""
        if self.attribute is None:
            return "subject = law.reference"
        return f"from mathcheck.{self.derivation} import {self.attribute} as subject"

    def verify(self, **options: Any) -> Evidence:
        """The evidence for this entry; options as in `mathcheck.engine.claim.verify`."""
        label = f"{self.derivation}.{self.attribute}" if self.attribute else f"reference of {self.claim.name}"
        options = {"dtype": None, "device": "cpu", "settings": Settings(), **options}
        return verify(self.claim, self.subject, name=label, origin=self.origin, **options)


def modules() -> list[ModuleType]:
    """Every module of the topic folders, imported, in reading order; of a theorem that is a folder, its parts."""
    package = Path(mathcheck.__file__).parent
    return [importlib.import_module(name) for topic in TOPICS for name in _names(f"mathcheck.{topic}", package / topic)]


def _names(package: str, folder: Path) -> Iterator[str]:
    for info in sorted(pkgutil.iter_modules([str(folder)]), key=lambda info: info.name):
        name = f"{package}.{info.name}"
        yield from _names(name, folder / info.name) if info.ispkg else [name]


@functools.cache
def entries() -> tuple[Entry, ...]:
    """Everything that must hold, derivation by derivation."""
    return tuple(entry for module in modules() for entry in _of(module))


def _of(module: ModuleType) -> Iterator[Entry]:
    derivation = ".".join(module.__name__.removeprefix("mathcheck.").split(".")[:2])
    for name, value in vars(module).items():
        if isinstance(value, Claim):
            if value.check.__module__ == module.__name__ and value.reference is not None:
                yield Entry(value, value.reference, derivation)
        elif _is_subject(value) and _defined_in(module, name, value):
            for law in laws(type(value)):
                yield Entry(law, value, derivation, name)


def _is_subject(value: object) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type) and bool(laws(type(value)))


def _defined_in(module: ModuleType, name: str, value: object) -> bool:
    """False for a subject that the module only imported: the one who defines it is first in reading order."""
    for other in modules():
        if vars(other).get(name) is value:
            return other is module
    return True


def derivations() -> tuple[str, ...]:
    """Names of the modules that have an entry, e.g. "divergence.gaussian_kl", in reading order."""
    return tuple(dict.fromkeys(entry.derivation for entry in entries()))


def proofs() -> dict[str, Path]:
    """Derivation -> its proof, e.g. "divergence.gaussian_kl" -> proofs/divergence/gaussian_kl.md, in reading order."""
    folder = proofs_folder()
    files = sorted(folder.glob("*/*.md"), key=lambda p: (TOPICS.index(p.parent.name), p.name))
    return {f"{path.parent.name}.{path.stem}": path for path in files}


def matches(name: str, pattern: str) -> bool:
    """True if `pattern` ("flows", "flows/coupling", "flows.coupling.round_trip") is `name` or a prefix of its parts."""
    wanted = pattern.removesuffix(".md").removesuffix(".py").replace("/", ".").strip(".").split(".")
    wanted = wanted[1:] if wanted[0] in ("mathcheck", "proofs") else wanted
    return name.replace(":", ".").split(".")[: len(wanted)] == wanted
