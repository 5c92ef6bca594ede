"""Other libraries' objects as subjects: one module for each library, in it one function for each kind."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any

import mathcheck

# Kinds whose record holds one function and can do with defaults for the rest.
_ONE_FUNCTION = ("density", "divergence", "importance", "smooth_max")


class _Kinds(Mapping[str, type]):
    """Name of a kind -> its record, for every `check_<kind>` of the package; imported when it is asked for."""

    def __getitem__(self, kind: str) -> type:
        if f"check_{kind}" not in mathcheck.__all__:
            raise KeyError(kind)
        record: type = getattr(mathcheck, "".join(word.capitalize() for word in kind.split("_")))
        return record

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix("check_") for name in mathcheck.__all__ if name.startswith("check_"))

    def __len__(self) -> int:
        return sum(1 for _ in self)


KINDS: Mapping[str, type] = _Kinds()


def adapt(kind: str, obj: Any) -> Any:
    """`obj` as a subject of a kind, so that its laws can judge it.

    An object of a library (one whose class, or a base of it, is defined there) goes to the function called like the
    kind in the module of `mathcheck.adapters` called like the library. A plain function is a density, a divergence, an importance
    estimate or a smooth maximum with the record's defaults.

    Args:
        kind: a name among `KINDS`.
        obj: a record of the kind, a function, or an object of a library that has an adapter.

    Returns:
        The record; `obj` itself if it is one.

    Raises:
        ValueError: if there is no such kind.
        TypeError: if nothing recognises `obj`.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(sorted(KINDS))}, got {kind!r}")
    record = KINDS[kind]
    if isinstance(obj, record):
        return obj
    for library in _libraries(obj):
        if importlib.util.find_spec(f"{__name__}.{library}") is not None:
            adapter = getattr(importlib.import_module(f"{__name__}.{library}"), kind, None)
            if adapter is not None:
                return adapter(obj)
    if kind in _ONE_FUNCTION and callable(obj) and not isinstance(obj, type):
        return record(obj)
    what = f"the class {obj.__qualname__}" if isinstance(obj, type) else f"an object of type {type(obj).__qualname__}"
    raise TypeError(f"{kind} must be {'; or '.join(_recognised(kind, record))}; got {what}")


def _libraries(obj: Any) -> list[str]:
    """The packages that define the classes of an object, or of the members of a pair, those of base classes last."""
    members = obj if isinstance(obj, tuple) else (obj,)
    classes = [base for m in members for base in (m if isinstance(m, type) else type(m)).__mro__]
    return list(dict.fromkeys(base.__module__.partition(".")[0] for base in classes))


def _recognised(kind: str, record: type) -> Iterator[str]:
    yield f"a {record.__name__}"
    if kind in _ONE_FUNCTION:
        yield "a function"
    for module in pkgutil.iter_modules(__path__):
        adapter = getattr(importlib.import_module(f"{__name__}.{module.name}"), kind, None)
        if adapter is not None:
            line = (inspect.getdoc(adapter) or module.name).splitlines()[0].rstrip(".").replace("`", "")
            yield line[0].lower() + line[1:]
