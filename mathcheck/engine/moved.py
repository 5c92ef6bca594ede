"""Import paths of version 0.1 that have moved: they work for one version more, and say where to look now."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

_ENGINE = ("arguments", "evidence", "guard", "passages", "readable", "residual", "search", "strategies")
_RUNNER = ("catalogue", "proofs", "run", "selection", "self_test")
_KERNELS = (
    "autoencoder banana_elbo bernoulli convolution_backprop coupling estimator_race gamblers_ruin gaussian_kl hamiltonian "
    "importance_weighted_bound invertible_convolution mixture_cdf nearest_neighbour_kl planar pooling smooth_max vae"
).split()

# Old module -> the modules where its names are now.
MOVED: dict[str, tuple[str, ...]] = {
    **{f"mathcheck.{name}": (f"mathcheck.engine.{name}",) for name in _ENGINE},
    **{f"mathcheck.{name}": (f"mathcheck.runner.{name}",) for name in _RUNNER},
    **{f"mathcheck.bench.{name}": (f"mathcheck.bench.kernels.{name}",) for name in _KERNELS},
    "mathcheck.arrays": ("mathcheck.adapters.arrays",),
    "mathcheck.blocks": ("mathcheck.linear.blocks",),
    "mathcheck.calibration": ("mathcheck.oracles.calibration",),
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


class _Moved(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds an old module where no file of that name is left."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if name in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        module.__doc__ = f"Moved to {' and '.join(MOVED[old])}."

        def look(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(f"module {old!r} has no attribute {name!r}")
            return found_again(old, name, MOVED[old])

        module.__dict__["__getattr__"] = look


def install() -> None:
    """Lets Python import the old paths."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())
