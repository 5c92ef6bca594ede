"""What is handed to a `check_<kind>`: a record of the kind, or something that an adapter makes one of.

The engine knows no library. Whoever puts the package together says where the adapters are (`look_in`), and they are
imported when something else than a record comes.
"""

from __future__ import annotations

import importlib
from typing import Any

_place: list[str] = []


def look_in(module: str) -> None:
    """Adapters are in this module, whose function `adapt(kind, obj)` makes a record of a kind or raises `TypeError`."""
    _place[:] = [module]


def subject(kind: str, record: type, given: Any) -> Any:
    """`given` as a subject of a kind: itself if it is a record, else what an adapter makes of it.

    Args:
        kind: its name, e.g. "bijection", which is the name of the argument in messages, too.
        record: the class of its records.
        given: whatever somebody wants to have judged.

    Raises:
        TypeError: if it is no record, and no adapter recognises it; the message says what is recognised.
    """
    if isinstance(given, record):
        return given
    if not _place:
        raise TypeError(f"{kind} must be a {record.__name__}, got {type(given).__name__}")
    return importlib.import_module(_place[0]).adapt(kind, given)
