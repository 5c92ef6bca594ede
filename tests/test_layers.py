"""Imports point down only, and oracles know no derivation: independence is part of the architecture."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mathcheck"

# Lowest first; a row may import the rows above it in this list, and modules of its own name, but not its siblings.
LAYERS = [
    ["arguments", "blocks", "residual", "readable", "passages"],
    ["evidence", "guard", "strategies", "oracles"],
    ["search", "calibration"],
    ["claim"],
    ["linear"],
    ["convex"],
    ["probability"],
    ["divergence"],
    ["flows"],
    ["inference"],
    ["markov"],
    ["models"],
    ["arrays", "catalogue", "proofs", "adapters", "experiments"],
    ["bench"],
    ["run", "target", "selection"],
    ["self_test"],
    ["report"],
    ["usage"],
    ["commands", "pytest_plugin"],
    ["cli"],
    ["__main__"],
]
LEVEL = {name: level for level, row in enumerate(LAYERS) for name in row}
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def _layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: absolute imports only"
            if node.module == "mathcheck":
                found |= {alias.name for alias in node.names}
            elif node.module and node.module.startswith("mathcheck."):
                found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("mathcheck.")}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own = _layer(path)
    assert own in LEVEL, f"{own} has no layer: add it to the list in this test"
    for name in _imports(path) - {own}:
        if name in LEVEL:
            assert LEVEL[name] < LEVEL[own], f"{own} imports {name}, which is not below it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_is_a_drawer(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
    assert path.name != "utils.py"


def test_importing_the_package_loads_nothing_heavy() -> None:
    import subprocess
    import sys

    code = "import mathcheck, sys; print([m for m in ('torch', 'sympy', 'scipy', 'hypothesis') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
