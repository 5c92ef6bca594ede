"""Imports point down and in no circle; oracles know no derivation: independence is part of the architecture."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mathcheck"

# The picture of the house, lowest first: a room may import the rows above it in this list, but not its siblings.
LAYERS = [
    ["engine"],
    ["oracles"],
    ["linear"],
    ["convex"],
    ["probability"],
    ["divergence"],
    ["flows"],
    ["inference"],
    ["markov"],
    ["models"],
    ["adapters", "experiments"],
    ["runner"],
    ["bench"],
    ["report"],
    ["cli", "pytest_plugin"],
    ["__main__"],
]
LEVEL = {name: level for level, row in enumerate(LAYERS) for name in row}
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def _imports(module: str) -> Iterator[str]:
    """The files that a module imports from, wherever the statement stands: in a function or for the type checker too."""
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: absolute imports only"
            for alias in node.names if (node.module or "").split(".")[0] == "mathcheck" else ():
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in FILES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FILES)


IMPORTS = {module: set(_imports(module)) - {module} for module in FILES}


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("module", [module for module in FILES if _room(module)])
def test_imports_point_down(module: str) -> None:
    own = _room(module)
    assert own in LEVEL, f"{own} has no layer: add it to the list in this test"
    for other in IMPORTS[module]:
        if _room(other) and _room(other) != own:
            assert LEVEL[_room(other)] < LEVEL[own], f"{module} imports {other}, which is not below it"


def test_imports_go_in_no_circle() -> None:
    graphlib.TopologicalSorter(IMPORTS).prepare()


def test_a_circle_would_be_found() -> None:
    upwards = IMPORTS | {"mathcheck.engine.residual": {"mathcheck.engine.claim"}}
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(upwards).prepare()


def test_every_room_has_files() -> None:
    assert {_room(module) for module in FILES if _room(module)} == set(LEVEL)


def test_the_architecture_page_shows_these_layers() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    picture = page.split("<!-- layers -->")[1]
    rows = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in picture.splitlines() if line.startswith("| `")]
    assert rows[::-1] == LAYERS


@pytest.mark.parametrize("path", FILES.values(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_is_a_drawer_and_the_formatter_has_the_last_word(path: Path) -> None:
    assert path.stem not in ("utils", "helpers", "misc", "common")
    assert not re.search(r"# fmt: (skip|off)", path.read_text(encoding="utf-8"))


def test_proofs_mirror_the_package() -> None:
    for proof in (ROOT / "proofs").glob("*/*.md"):
        theorem = PACKAGE / proof.parent.name / proof.stem
        assert theorem.is_dir() or theorem.with_suffix(".py").is_file(), f"{proof} has no module {theorem}"


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import mathcheck, sys; print([m for m in ('torch', 'sympy', 'scipy', 'hypothesis') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
