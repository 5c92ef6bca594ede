"""Every proof runs, is the mirror of its module, and renders on GitHub."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from mathcheck.engine.claim import Settings
from mathcheck.runner import catalogue, index, proofs

PROOFS = index.proofs()


@pytest.mark.parametrize("name", PROOFS)
def test_runs(name: str, settings: Settings) -> None:
    results = proofs.run(PROOFS[name], settings=settings)
    assert not [f"{result.heading}: {result.error}" for result in results if not result.holds]
    assert sum(result.heading.startswith("Step") for result in results) >= 3


def test_runs_where_no_extra_is_installed(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *of: None if name == "numba" else find(name, *of))
    results = proofs.run(PROOFS["markov.compiled_chain"], settings=settings)
    assert not [f"{result.heading}: {result.error}" for result in results if not result.holds]


@pytest.mark.parametrize("name", PROOFS)
def test_mirrors_and_links_its_module(name: str) -> None:
    folder = Path(__file__).parents[1] / "mathcheck" / name.replace(".", "/")
    text = PROOFS[name].read_text()
    assert folder.is_dir() or folder.with_suffix(".py").is_file()
    assert f"(../../mathcheck/{name.replace('.', '/')}{'' if folder.is_dir() else '.py'})" in text
    assert "**Theorem" in text
    assert re.search(r"^ *verify\(", text.split("## Step")[-1], re.MULTILINE), "the last step verifies the claim"


def test_every_derivation_has_a_proof() -> None:
    assert set(catalogue.derivations()) <= set(PROOFS)


@pytest.mark.parametrize("name", PROOFS)
def test_renders_on_github(name: str) -> None:
    text = PROOFS[name].read_text()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    problems = []
    fences = [i for i, line in enumerate(text.splitlines(), 1) if "$$" in line and line.strip() != "$$"]
    problems += [f"line {i}: $$ must stand alone on its line" for i in fences]
    assert prose.count("\n$$\n") % 2 == 0
    if "\\operatorname" in prose:
        problems.append("\\operatorname is refused by GitHub: write \\mathrm")
    for link in re.findall(r"\]\(([^)#]+)\)", prose):
        if not link.startswith("http") and not (PROOFS[name].parent / link).exists():
            problems.append(f"{link} does not exist")
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    depth = 0
    for token in tokens:
        depth += (token.type == "list_item_open") - (token.type == "list_item_close")
        if depth and token.type == "inline" and "$" in token.content:
            problems.append(f"line {token.map[0] + 1 if token.map else '?'}: no maths inside a list")
    for line in prose.splitlines():
        if line.startswith("|") and any(cell.count("$") % 2 for cell in line.split("|")):
            problems.append(f"in a table write \\lvert: {line}")
    assert not problems


def _write(tmp_path: Path, body: str) -> Path:
    folder = tmp_path / "topic"
    folder.mkdir()
    path = folder / "theorem.md"
    path.write_text(body)
    return path


STEP = """# A title

```python
from mathcheck.convex.smooth_max import reference, shifts_with_its_argument
from mathcheck.engine.residual import exactly
theorem = shifts_with_its_argument.on(reference)
```

## Step 1. Count

```python
@theorem.step
def count():
    yield exactly(1 + 1, {sum})
```
"""


def test_a_right_step_holds(tmp_path: Path) -> None:
    (result,) = proofs.run(_write(tmp_path, STEP.format(sum=2)))
    assert result.holds
    assert result.heading == "Step 1. Count"


def test_a_wrong_step_is_an_error_at_its_line(tmp_path: Path) -> None:
    path = _write(tmp_path, STEP.format(sum=3))
    (result,) = proofs.run(path)
    assert not result.holds
    assert result.error is not None
    assert f"{path}:12:" in result.error
    assert "REFUTED" in result.error


def test_a_step_without_evidence_is_an_error(tmp_path: Path) -> None:
    (result,) = proofs.run(_write(tmp_path, "# T\n\n## Step 1. Say nothing\n\n```python\nx = 1\n```\n"))
    assert "leaves no evidence" in (result.error or "")


def test_a_step_that_compares_nothing_is_an_error(tmp_path: Path) -> None:
    body = STEP.format(sum=2).replace("yield exactly(1 + 1, 2)", "yield from ()")
    (result,) = proofs.run(_write(tmp_path, body))
    assert not result.holds


def test_a_proof_without_steps_is_an_error(tmp_path: Path) -> None:
    (result,) = proofs.run(_write(tmp_path, "# Only words\n"))
    assert not result.holds


def test_what_runs_after_a_failure_is_kept(tmp_path: Path) -> None:
    body = (
        STEP.format(sum=3) + "\n## Step 2. Go on\n\n```python\n@theorem.step\ndef on():\n    yield exactly(1, 1)\n```\n"
    )
    first, second = proofs.run(_write(tmp_path, body))
    assert not first.holds
    assert second.holds


def test_a_syntax_error_points_at_the_markdown_line(tmp_path: Path) -> None:
    path = _write(tmp_path, "# T\n\n## Step 1. Stumble\n\n```python\nx = 1\ny = = 2\n```\n")
    (result,) = proofs.run(path)
    assert f"{path}:7: SyntaxError" in (result.error or "")
