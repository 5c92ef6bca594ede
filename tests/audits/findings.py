"""What the audits found: `findings.toml` as records, each run again, and the page that they make.

`python tests/audits/findings.py` writes `docs/findings.md`.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath
import torch

VERDICTS = {
    "bug": "another value than the one that is meant",
    "lost accuracy": "right on paper, but digits, or a whole tail, are lost in floating point",
    "coarse promise": "an approximation whose error is larger than its interface says",
    "documented limit": "the documentation says so",
}
DATA = Path(__file__).with_name("findings.toml")
PAGE = Path(__file__).parents[2] / "docs" / "findings.md"


@dataclass(frozen=True)
class Finding:
    """A law that a library's object breaks, and the truth, found without the library.

    Attributes:
        library: name to import it by, with the `version` that was judged.
        object: what was judged, as a constructor expression.
        law: the law, by its function's name, or in words where no law of mathcheck says it.
        setup: statements that precede both expressions, where there are any.
        value: expression of what the library says at the smallest input found.
        true: expression of the truth in mpmath at 50 digits, or the name of what should be there.
        oracle: where the truth is from.
        verdict: one of `VERDICTS`.
        why: one sentence.
        dtype: in which the library computed.
        scale: magnitude that roundings are relative to, if it is larger than the truth.
    """

    library: str
    version: str
    object: str
    law: str
    value: str
    true: str
    oracle: str
    verdict: str
    why: str
    setup: str = ""
    dtype: str = "float64"
    scale: float = 0.0

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"verdict must be one of {list(VERDICTS)}, got {self.verdict!r}")

    def said(self) -> float | str:
        """What the library says now; the name of the exception if it raises one."""
        scope: dict[str, Any] = {"torch": torch, "math": math, "mp": mpmath}
        exec(self.setup, scope)
        try:
            return float(eval(self.value, scope))
        except Exception as error:
            return type(error).__name__

    def truth(self) -> mpmath.mpf | str:
        """The truth at 50 digits; a name where it is no number."""
        scope: dict[str, Any] = {"torch": torch, "math": math, "mp": mpmath}
        with mpmath.workdps(50):
            exec(self.setup, scope)
            value = eval(self.true, scope)
            return value if isinstance(value, str) else +mpmath.mpf(value)

    def allowed(self) -> mpmath.mpf:
        """64 roundings of the truth, or of `scale`: the loosest count among the laws of mathcheck."""
        true = self.truth()
        size = 0 if isinstance(true, str) or not mpmath.isfinite(true) else abs(true)
        return 64 * torch.finfo(getattr(torch, self.dtype)).eps * mpmath.mpf(max(size, self.scale))

    def stands(self) -> bool:
        """Whether the library still differs from the truth by more than `allowed`."""
        said, true = self.said(), self.truth()
        if isinstance(said, str) or isinstance(true, str) or not (math.isfinite(said) and mpmath.isfinite(true)):
            return said != true
        return bool(abs(said - true) > self.allowed())


def findings() -> list[Finding]:
    """Every finding of `findings.toml`."""
    return [Finding(**entry) for entry in tomllib.loads(DATA.read_text())["finding"]]


def _number(value: mpmath.mpf | float | str) -> str:
    return value if isinstance(value, str) else repr(value) if isinstance(value, float) else mpmath.nstr(value, 17)


def page() -> str:
    """The findings as Markdown, by library; all of the libraries are needed."""
    found = findings()
    counts = {verdict: sum(f.verdict == verdict for f in found) for verdict in VERDICTS}
    lines = [
        "# Findings",
        "",
        "Laws that published libraries break. Each is confirmed without the library, by 50-digit arithmetic, and is run",
        "again by `tests/audits/test_findings.py`. Written by `python tests/audits/findings.py`.",
        "",
        *(f"- **{verdict}** ({counts[verdict]}): {meaning}." for verdict, meaning in VERDICTS.items()),
        "",
    ]
    for library in dict.fromkeys(f.library for f in found):
        own = [f for f in found if f.library == library]
        lines += [f"## {library} {own[0].version}", ""]
        for f in own:
            body = [*f.setup.strip().splitlines(), f.value]
            lines += [
                f"### `{f.object}`",
                "",
                f"**{f.verdict}**, law `{f.law}`. {f.why}",
                "",
                "```text",
                *body,
                "```",
                "",
            ]
            lines += [f"It says {_number(f.said())}. The truth is {_number(f.truth())} ({f.oracle}).", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
