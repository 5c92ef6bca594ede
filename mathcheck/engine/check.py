"""All laws of a kind on one subject, as an assertion: what every `check_<kind>` calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

import torch

from mathcheck.engine.claim import Claim, Refuted, Settings, laws, verify
from mathcheck.engine.evidence import Evidence, Status


class Options(TypedDict, total=False):
    """The keywords of `check` that every `check_<kind>` passes on."""

    expected_failures: Mapping[str, str] | None
    settings: Settings | None
    dtype: torch.dtype | None
    device: torch.device | str
    name: str | None


def check(
    subject: Any,
    claims: Sequence[Claim] | None = None,
    *,
    expected_failures: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    settings: Settings | None = None,
    name: str | None = None,
) -> list[Evidence]:
    """Checks every claim on a subject; returns the evidence if exactly the expected failures fail.

    Args:
        subject: the implementation under test, e.g. a `Bijection`.
        claims: default the laws of the subject's kind.
        expected_failures: name of a claim (or its last part) -> why it is known to fail. An unexpected pass fails too.
        dtype, device, settings, name: as in `verify`.

    Raises:
        Refuted: if a claim fails that was not expected to, or an expected failure passes, or nothing was compared.
        ValueError: if an expected failure names no claim.
    """
    claims = laws(type(subject)) if claims is None else list(claims)
    expected = dict(expected_failures or {})
    for key in expected:
        if not any(_named(claim, key) for claim in claims):
            raise ValueError(f"expected_failures names {key!r}, expected one of {[c.name for c in claims]}")
    found = [verify(c, subject, dtype=dtype, device=device, settings=settings, name=name) for c in claims]
    failed, problems = [], []
    for claim, evidence in zip(claims, found, strict=True):
        reason = next((why for key, why in expected.items() if _named(claim, key)), None)
        fails = evidence.status not in (Status.HOLDS, Status.SKIPPED)
        if fails and reason is None:
            failed.append(evidence)
        elif not fails and reason is not None:
            problems.append(f"UNEXPECTED PASS  {claim.title}\n  it was expected to fail because {reason}")
    if all(evidence.status is Status.SKIPPED for evidence in found):
        problems.append("NOTHING COMPARED  every law was skipped: " + "; ".join(e.reason or "" for e in found))
    if failed or problems:
        held = [e.title for e in found if e.status is Status.HOLDS]
        held_line = f"held: {'; '.join(held)}" if held else "held: nothing"
        raise Refuted("\n" + "\n".join([*_verdicts(failed), *problems, held_line]), found)
    return found


def _verdicts(failed: Sequence[Evidence]) -> Iterator[str]:
    """One verdict in full, the others in short, and those that the same slip explains in a line."""
    if not failed:
        return
    first = next((evidence for evidence in failed if evidence.diagnosis), failed[0])
    yield first.verdict()
    others = [evidence for evidence in failed if evidence is not first]
    alike = [e.title for e in others if e.diagnosis is not None and e.diagnosis == first.diagnosis]
    if alike:
        yield f"refuted too, with the same diagnosis: {'; '.join(alike)}"
    yield from (e.verdict(brief=True) for e in others if e.title not in alike)


def _named(claim: Claim, key: str) -> bool:
    return claim.name == key or claim.name.rsplit(".", 1)[-1] == key
