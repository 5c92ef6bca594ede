"""All laws of a kind on one subject, as an assertion: what every `check_<kind>` calls."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

import torch

from mathcheck.engine.claim import Claim, InaccurateWarning, Refuted, Settings, laws, verify
from mathcheck.engine.evidence import Evidence, Status
from mathcheck.engine.guard import in_training


class Options(TypedDict, total=False):
    """The keywords of `check` that every `check_<kind>` passes on."""

    expected_failures: Mapping[str, str] | None
    require: Sequence[str]
    settings: Settings | None
    dtype: torch.dtype | None
    device: torch.device | str
    name: str | None


class Findings(list[Evidence]):
    """What every law said of a subject; prints what held, what is inaccurate or skipped, and the blind spots."""

    def __str__(self) -> str:
        blind = [f"blind: {e.title} (it would also hold when {'; '.join(e.blind_to)})" for e in self if e.blind_to]
        return "\n".join([*_lines(self), *blind])


def check(
    subject: Any,
    claims: Sequence[Claim] | None = None,
    *,
    expected_failures: Mapping[str, str] | None = None,
    require: Sequence[str] = (),
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    settings: Settings | None = None,
    name: str | None = None,
) -> Findings:
    """Checks every claim on a subject; returns the evidence if exactly the expected failures fail.

    Lost digits are no failure: they are warned of with `InaccurateWarning`, unless `settings` ask for full accuracy.

    Args:
        subject: the implementation under test, e.g. a `Bijection`.
        claims: default the laws of the subject's kind.
        expected_failures: name of a claim (or its last part) -> why it is known to fail, or that it cannot be compared. An
            unexpected pass fails too.
        require: names of claims that must not be skipped.
        dtype, device, settings, name: as in `verify`.

    Raises:
        Refuted: if a claim fails that was not expected to, or an expected failure passes, or nothing was compared, or a
            required claim, or one that defines the kind, was skipped.
        ValueError: if an expected failure or a required claim names none.
    """
    claims = laws(type(subject)) if claims is None else list(claims)
    expected = dict(expected_failures or {})
    for argument, keys in (("expected_failures", expected), ("require", require)):
        for key in keys:
            if not any(_named(claim, key) for claim in claims):
                raise ValueError(f"{argument} names {key!r}, expected one of {[c.name for c in claims]}")
    found = Findings(verify(c, subject, dtype=dtype, device=device, settings=settings, name=name) for c in claims)
    failed, problems = [], []
    for claim, evidence in zip(claims, found, strict=True):
        reason = next((why for key, why in expected.items() if _named(claim, key)), None)
        if evidence.status.fails and reason is None:
            failed.append(evidence)
        elif evidence.status is Status.HOLDS and reason is not None:
            problems.append(f"UNEXPECTED PASS  {claim.title}\n  it was expected to fail because {reason}")
        elif evidence.status is Status.SKIPPED and reason is None:
            if any(_named(claim, key) for key in require):
                problems.append(f"NOT COMPARED  {claim.title}\n  it is required, and was skipped: {evidence.reason}")
            elif claim.defining:
                waived = f"expected_failures={{{claim.name.rsplit('.', 1)[-1]!r}: 'why'}}"
                problems.append(
                    f"NOT COMPARED  {claim.title}\n  it defines what is judged, and was skipped: {evidence.reason}; "
                    f"{waived} does without it"
                )
        elif evidence.status is Status.INACCURATE and reason is None:
            warnings.warn(f"{evidence.subject}: {claim.title}: {evidence.loss}", InaccurateWarning, stacklevel=3)
    if all(evidence.status is Status.SKIPPED for evidence in found):
        problems = [problem for problem in problems if not problem.startswith("NOT COMPARED")]
        problems.append(
            "NOTHING COMPARED  every law was skipped: " + "; ".join(dict.fromkeys(e.reason or "" for e in found))
        )
    if failed or problems:
        rest = [evidence for evidence in found if evidence not in failed]
        raise Refuted("\n".join([*_verdicts(failed), *problems, *_hints(subject), *_lines(rest)]), found)
    return found


def _hints(subject: Any) -> Iterator[str]:
    """What else may be the matter with a subject that fails."""
    for field in dataclasses.fields(subject) if dataclasses.is_dataclass(subject) else ():
        if kind := in_training(getattr(subject, field.name)):
            yield f"hint: `{field.name}` is that of a module in training mode, with a {kind}; call .eval() first"


def _lines(found: Sequence[Evidence]) -> Iterator[str]:
    """What held in one line, what lost digits in a line each, and what was skipped in a line for each reason."""
    held = [e.title for e in found if e.status is Status.HOLDS]
    yield f"held: {'; '.join(held)}" if held else "held: nothing"
    yield from (f"inaccurate: {e.title}: {e.loss}" for e in found if e.status is Status.INACCURATE)
    skipped: dict[str, list[str]] = {}
    for evidence in found:
        if evidence.status is Status.SKIPPED:
            skipped.setdefault(evidence.reason or "nothing was compared", []).append(evidence.title)
    yield from (f"skipped: {'; '.join(titles)} ({reason})" for reason, titles in skipped.items())


def _verdicts(failed: Sequence[Evidence]) -> Iterator[str]:
    """One verdict in full, the others in short, and those that the same slip or fault explains in a line.

    What was refuted comes before what could not be judged, and what has a diagnosis before what has none.
    """
    order = (Status.REFUTED, Status.VACUOUS, Status.ERROR)
    ordered = sorted(failed, key=lambda e: (order.index(e.status), e.diagnosis is None))
    shown: set[int] = set()
    for place, first in enumerate(ordered):
        if id(first) in shown:
            continue
        yield first.verdict(brief=place > 0)
        alike = [e for e in ordered[place + 1 :] if _alike(first, e)]
        shown |= {id(e) for e in alike}
        if alike:
            same = "diagnosis" if first.status is Status.REFUTED else "fault"
            yield f"{first.status} too, with the same {same}: {'; '.join(e.title for e in alike)}"


def _alike(one: Evidence, other: Evidence) -> bool:
    if one.status is not other.status:
        return False
    if one.status is Status.REFUTED:
        return one.diagnosis is not None and one.diagnosis == other.diagnosis
    return one.status is Status.ERROR and one.reason == other.reason


def _named(claim: Claim, key: str) -> bool:
    return claim.name == key or claim.name.rsplit(".", 1)[-1] == key
