"""What mathcheck holds, found by walking the package: claims, the subjects that laws judge, and proofs."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from mathcheck.engine.claim import Claim, Settings, laws, verify
from mathcheck.engine.evidence import Evidence
from mathcheck.runner import index


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
        """The evidence for this entry, held to every bound; options as in `mathcheck.verify`."""
        label = f"{self.derivation}.{self.attribute}" if self.attribute else f"reference of {self.claim.name}"
        settings = dataclasses.replace(options.pop("settings", None) or Settings(), accuracy="full")
        return verify(self.claim, self.subject, settings=settings, name=label, origin=self.origin, **options)


@functools.cache
def entries(*names: str) -> tuple[Entry, ...]:
    """Everything that must hold, derivation by derivation; with `names`, at least what they match, and little more.

    Only modules that can hold what the names match are imported.
    """
    wanted = [".".join(index.parts(name)[:2]) for name in names]
    chosen = [m for m in index.modules() if not names or any(index.matches(index.theorem(m), name) for name in wanted)]
    return tuple(entry for module in chosen for entry in _of(importlib.import_module(module)))


def _of(module: ModuleType) -> Iterator[Entry]:
    derivation, imported = index.theorem(module.__name__), _imported(module)
    for name, value in vars(module).items():
        if name in imported:
            continue
        if isinstance(value, Claim):
            if value.check.__module__ == module.__name__ and value.reference is not None:
                yield Entry(value, value.reference, derivation)
        elif _is_subject(value):
            for law in laws(type(value)):
                yield Entry(law, value, derivation, name)


def _imported(module: ModuleType) -> set[str]:
    """Names that a module has from others: whoever defines a subject or a claim answers for it."""
    statements = [node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for node in statements for alias in node.names}


def _is_subject(value: object) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type) and bool(laws(type(value)))


def derivations() -> tuple[str, ...]:
    """Names of the modules that have an entry, e.g. "divergence.gaussian_kl", in reading order."""
    return tuple(dict.fromkeys(entry.derivation for entry in entries()))
