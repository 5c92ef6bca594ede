"""A run as JSON, for programs: documented, versioned, and written whole or not at all.

The file is one object; members may be added under the same version, never changed or removed:

- `schema`: "mathcheck-report/1". `mathcheck`, `python`, `torch`, `platform`: versions and machine.
- `started`: ISO 8601 with time zone; `seconds`: by the clock; `seed`, `dtype`, `device`: as asked for;
  `interrupted`: whether somebody stopped it; `exit_code`: as the command's.
- `summary`: `planned` and `run` (tasks, i.e. claims and proofs), `derivations`, `claims` (status -> number), `failed`,
  `mutants` and `mutants_refuted`, `proof_steps` and `proof_steps_held`, `alpha_spent` and `alpha_budget`.
- `claims`: one object each, in the order of the catalogue: `name` (what `mathcheck verify` takes), `derivation`,
  `failed`, and the members of `mathcheck.engine.evidence.Evidence`; its `counterexample` is null or `inputs` (name -> Python
  expression), `residual` (the members of `mathcheck.engine.residual.Residual`) and `seed`; `reproduce` is a snippet or null.
- `proof_steps`: `proof`, `heading`, `line`, `holds`, `error` and `evidence`, a list of objects as under `claims`
  without the first three.
- `alpha_ledger`: `claim`, `alpha` (of one input), `inputs`, `spent` (alpha times inputs), `detectable`.

Numbers that JSON lacks are the strings "inf", "-inf" and "nan"; `read` turns them back.
"""

from __future__ import annotations

import dataclasses
import json
import math
import platform
from pathlib import Path
from typing import Any

import torch

import mathcheck
from mathcheck.engine.evidence import Evidence
from mathcheck.report.files import write_whole
from mathcheck.report.report import ALPHA, Report

SCHEMA = "mathcheck-report/1"
_NUMBERS = {
    "worst",
    "error",
    "bound",
    "actual",
    "expected",
    "radius",
    "alpha",
    "detectable",
    "digits",
    "seconds",
    "spent",
}
_SPECIAL = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def as_json(report: Report) -> dict[str, Any]:
    """The object that the file holds; see the module's description."""
    totals, ledger = report.totals, report.ledger
    claims = [
        {"name": result.task.name, "derivation": result.task.derivation, "failed": result.failed}
        | _evidence(result.evidence)
        for result in report.results
        if result.evidence is not None
    ]
    steps = [
        {
            "proof": step.proof,
            "heading": step.heading,
            "line": step.line,
            "holds": step.holds,
            "error": step.error,
            "evidence": [_evidence(evidence) for evidence in step.evidence],
        }
        for result in report.results
        for step in result.steps
    ]
    content = {
        "schema": SCHEMA,
        "mathcheck": mathcheck.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "platform": platform.platform(),
        "started": report.started.isoformat(timespec="seconds"),
        "seconds": report.seconds,
        "seed": report.options.settings.seed,
        "dtype": report.dtype,
        "device": report.options.device,
        "interrupted": report.interrupted,
        "exit_code": report.exit_code,
        "summary": {
            "planned": report.planned,
            "run": len(report.results),
            "derivations": len(report.derivations),
            "claims": {str(status): number for status, number in totals.claims.items()},
            "failed": totals.failed,
            "mutants": totals.mutants,
            "mutants_refuted": totals.refuted,
            "proof_steps": totals.steps,
            "proof_steps_held": totals.held,
            "alpha_spent": sum(spent.total for spent in ledger),
            "alpha_budget": ALPHA,
        },
        "claims": claims,
        "proof_steps": steps,
        "alpha_ledger": [
            {
                "claim": spent.claim,
                "alpha": spent.alpha,
                "inputs": spent.inputs,
                "spent": spent.total,
                "detectable": spent.detectable,
            }
            for spent in ledger
        ],
    }
    return {key: _plain(value) for key, value in content.items()}


def _evidence(evidence: Evidence) -> dict[str, Any]:
    plain = dataclasses.asdict(dataclasses.replace(evidence, mutants=dict(evidence.mutants)))
    if evidence.counterexample is not None and evidence.counterexample.residual is not None:
        del plain["counterexample"]["residual"]["entries"]  # numbers by the thousand, none of which is kept
    return plain | {"reproduce": evidence.reproduce}


def _plain(value: Any) -> Any:
    """`value` with the numbers that JSON lacks as strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value


def _restored(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _restored(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_restored(inner) for inner in value]
    return _SPECIAL.get(value, value) if key in _NUMBERS and isinstance(value, str) else value


def write(report: Report, path: Path) -> None:
    """Writes the run as JSON."""
    write_whole(path, json.dumps(as_json(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read(path: Path | str) -> dict[str, Any]:
    """Reads a report, infinities and NaN included.

    Raises:
        ValueError: if the file is not JSON, or of another schema than this version reads.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise ValueError(f"{path} has the schema {schema!r}, expected {SCHEMA!r}")
    restored: dict[str, Any] = _restored(content)
    return restored
