"""The import paths of version 0.1 still work, and say where things are now."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from mathcheck.engine import moved

OLD = {
    "mathcheck.claim": ["Claim", "Settings", "check", "laws", "verify"],
    "mathcheck.residual": ["Residual", "close"],
    "mathcheck.evidence": ["Evidence", "Status"],
    "mathcheck.strategies": ["Interval", "tensors"],
    "mathcheck.catalogue": ["entries"],
    "mathcheck.run": ["Options", "tasks"],
    "mathcheck.self_test": ["kill_matrix"],
    "mathcheck.arrays": ["from_arrays"],
    "mathcheck.target": ["load"],
    "mathcheck.blocks": ["blocks"],
    "mathcheck.calibration": ["calibrate"],
    "mathcheck.usage": ["Usage"],
    "mathcheck.bench.smooth_max": ["KERNELS"],
    "mathcheck.report": ["Report", "Totals", "verdict"],
    "mathcheck.cli": ["load"],
}


@pytest.mark.parametrize(("path", "name"), [(path, name) for path, names in OLD.items() for name in names])
def test_an_old_name_is_found_and_warns(path: str, name: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"{path}.{name} has moved to mathcheck\..+"):
        found = getattr(importlib.import_module(path), name)
    assert found is not None


def test_every_moved_module_has_gone_somewhere() -> None:
    for places in moved.MOVED.values():
        for place in places:
            assert importlib.util.find_spec(place) is not None


@pytest.mark.parametrize("statement", ["from mathcheck.claim import nonsense", "import mathcheck.nonsense"])
def test_what_never_was_is_not_found(statement: str) -> None:
    with pytest.raises(ImportError):
        exec(statement)


def test_the_package_itself_uses_no_old_path() -> None:
    code = (
        "import importlib, warnings; warnings.simplefilter('error', DeprecationWarning)\n"
        "from mathcheck.runner import index\n"
        "for name in (*index.modules(), 'mathcheck.cli', 'mathcheck.report.terminal', 'mathcheck.adapters.torch'):\n"
        "    importlib.import_module(name)\n"
        "from mathcheck.engine import moved; import sys\n"
        "print(sorted(set(moved.MOVED) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
