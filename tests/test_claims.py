"""Every claim of the catalogue: it states something, it holds on its reference, and it refutes each of its mutants."""

from __future__ import annotations

import dataclasses
import importlib
import inspect

import pytest
import torch

from mathcheck.engine.claim import Claim, Settings, laws
from mathcheck.engine.evidence import Status
from mathcheck.runner import catalogue, index

ENTRIES = catalogue.entries()
CLAIMS = {
    value.name: value
    for module in index.modules()
    for value in vars(importlib.import_module(module)).values()
    if isinstance(value, Claim) and value.check.__module__ == module
}


@pytest.mark.parametrize("name", CLAIMS)
def test_states_something_in_latex_and_derives_its_bound(name: str) -> None:
    text = inspect.getdoc(CLAIMS[name].check) or ""
    assert text.count("$") >= 2
    assert "Error bound:" in text
    assert "$" not in CLAIMS[name].title


@pytest.mark.parametrize("name", CLAIMS)
def test_has_a_mutant(name: str) -> None:
    assert CLAIMS[name].mutants


@pytest.mark.parametrize("name", CLAIMS)
def test_is_verified_on_a_subject(name: str) -> None:
    assert any(entry.claim.name == name for entry in ENTRIES)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_holds_and_refutes_its_mutants(entry: catalogue.Entry, dtype: torch.dtype, settings: Settings) -> None:
    own = getattr(entry.subject, "dtype", None)
    if own is not None and own != dtype:
        pytest.skip(f"the subject takes {own} only")
    evidence = entry.verify(dtype=dtype, settings=settings)
    if evidence.status is Status.SKIPPED:
        pytest.skip(str(evidence.reason))
    assert evidence.status is Status.HOLDS, str(evidence)
    assert evidence.compared
    assert set(evidence.mutants.values()) <= {"refuted", "not applicable"}, evidence.mutants


def test_every_mutant_is_refuted_somewhere() -> None:
    """A mutant that no subject of the catalogue can express is dead text."""
    for claim in CLAIMS.values():
        subjects = [entry.subject for entry in ENTRIES if entry.claim.name == claim.name]
        for title, mutate in claim.mutants.items():
            assert any(_applies(mutate, subject) for subject in subjects), f"{claim.name}: {title}"


def _applies(mutate: object, subject: object) -> bool:
    try:
        mutate(subject)  # type: ignore[operator]
    except NotImplementedError:
        return False
    return True


def test_laws_are_found_by_walking() -> None:
    kinds = {type(entry.subject) for entry in ENTRIES if entry.attribute}
    assert kinds
    for kind in kinds:
        assert dataclasses.is_dataclass(kind)
        assert {law.name for law in laws(kind)} == {
            entry.claim.name for entry in ENTRIES if entry.attribute and type(entry.subject) is kind
        }


def test_names_are_unique() -> None:
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names)
