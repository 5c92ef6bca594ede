"""Finds the subject that somebody names on the command line: an expression in a module or in a file."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any


class TargetError(ValueError):
    """A target that cannot be loaded, or is nothing that the laws of its kind can judge."""


def load(kind: str, target: str, arrays: str | None = None) -> Any:
    """The subject that `mathcheck verify --as KIND TARGET` judges.

    Args:
        kind: what it is, e.g. "bijection".
        target: "package.module:expression" or "path/to/file.py:expression"; the expression is evaluated among the
            names of the module. The current folder is searched for modules first.
        arrays: "numpy" or "jax", where the functions take and return arrays of that library.

    Returns:
        The record of the kind: the object itself where it is one, else what an adapter makes of it.

    Raises:
        TargetError: if there is no such kind or target, or no adapter recognises it.
    """
    from mathcheck.adapters import KINDS, adapt

    if kind not in KINDS:
        close = difflib.get_close_matches(kind, KINDS, 1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        raise TargetError(f"there is no kind {kind!r}, expected one of {', '.join(sorted(KINDS))}{hint}")
    found = _evaluate(target)
    if arrays is not None:
        from mathcheck.adapters.arrays import from_arrays

        try:
            found = from_arrays(found, arrays)
        except (ImportError, TypeError, ValueError) as error:
            raise TargetError(f"{target} cannot be judged with {arrays} arrays: {error}") from error
    if isinstance(found, KINDS[kind]):
        return found
    try:
        return adapt(kind, found)
    except Exception as error:
        uncalled = isinstance(found, (type, FunctionType))
        hint = f"; it is a {type(found).__name__}, perhaps to be called" if uncalled else ""
        said = str(error) if isinstance(error, TypeError) else f"{type(error).__name__}: {error}"
        raise TargetError(f"{target} is no {kind}: {said}{hint}") from error


def _evaluate(target: str) -> Any:
    where, separator, expression = target.partition(".py:")
    where, expression = (where + ".py", expression) if separator else target.partition(":")[::2]
    if not where or not expression.strip():
        raise TargetError(f"target {target!r} is not package.module:expression or path/to/file.py:expression")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = _import_file(Path(where)) if separator else importlib.import_module(where)
    except (Exception, SystemExit) as error:
        raise TargetError(f"cannot import {where}: {_explain(error)}") from error
    try:
        return eval(expression, vars(module))
    except (Exception, SystemExit) as error:
        raise TargetError(f"cannot evaluate {expression!r} in {where}: {_explain(error)}") from error


def _import_file(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    # A name of its own: a file called torch.py must not pass for torch.
    name = path.stem if path.stem not in sys.modules else f"{path.stem} ({path})"
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _explain(error: BaseException) -> str:
    """An exception in one line, with the place where it arose outside this file and the import machinery."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in (__file__, "<string>") and "importlib" not in frame.filename
    ]
    at = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{at}"
