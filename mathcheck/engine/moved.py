"""Import paths of version 0.1 that have moved: they work for one version more, and say where to look now."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

_ENGINE = ("arguments", "evidence", "guard", "passages", "readable", "residual", "search", "strategies")
_RUNNER = ("proofs", "run", "selection", "self_test")

# Old module -> the modules where its names are now.
MOVED: dict[str, tuple[str, ...]] = {
    **{f"mathcheck.{name}": (f"mathcheck.engine.{name}",) for name in _ENGINE},
    **{f"mathcheck.{name}": (f"mathcheck.runner.{name}",) for name in _RUNNER},
    "mathcheck.arrays": ("mathcheck.adapters.arrays",),
    "mathcheck.blocks": ("mathcheck.linear.kernels.blocks",),
    "mathcheck.calibration": ("mathcheck.oracles.calibration",),
    "mathcheck.catalogue": ("mathcheck.runner.catalogue", "mathcheck.runner.index"),
    "mathcheck.claim": ("mathcheck.engine.claim", "mathcheck.engine.check"),
    "mathcheck.commands": ("mathcheck.cli",),
    "mathcheck.target": ("mathcheck.adapters.target",),
    "mathcheck.usage": ("mathcheck.cli.usage",),
}


def found_again(old: str, name: str, places: Sequence[str]) -> Any:
    """The object that `old` used to hold under `name`, from where it is now, with a `DeprecationWarning`.

    Raises:
        AttributeError: if none of the places has it.
    """
    for place in places:
        module = importlib.import_module(place)
        if hasattr(module, name):
            said = f"{old}.{name} has moved to {place}.{name}; the old path goes in the next version"
            warnings.warn(said, DeprecationWarning, stacklevel=3)
            return getattr(module, name)
    raise AttributeError(f"module {old!r} has no attribute {name!r}")


def _places(old: str) -> tuple[str, ...]:
    package, _, kernel = old.rpartition(".")
    if package == "mathcheck.bench" and importlib.util.find_spec(f"{package}.kernels.{kernel}"):
        return (f"{package}.kernels.{kernel}",)
    return MOVED.get(old, ())


class _Moved(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds an old module where no file of that name is left."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if _places(name) else None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        module.__doc__ = f"Moved to {' and '.join(_places(old))}."

        def look(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(f"module {old!r} has no attribute {name!r}")
            return found_again(old, name, _places(old))

        module.__dict__["__getattr__"] = look


def install() -> None:
    """Lets Python import the old paths."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())
