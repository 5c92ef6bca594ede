"""What was found, for people and for programs: on a terminal, as JSON and JUnit, as pages."""

from __future__ import annotations

from typing import Any

from mathcheck.engine.moved import found_again


def __getattr__(name: str) -> Any:
    if name not in ("ALPHA", "Report", "Spent", "Totals", "verdict"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found_again(__name__, name, ("mathcheck.report.report",))
