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


def subject(kind: str, record: type, given: Any, *, argument: str | None = None) -> Any:
    """`given` as a subject of a kind: itself if it is a record, else what an adapter makes of it.

    Args:
        kind: its name, e.g. "bijection".
        record: the class of its records.
        given: whatever somebody wants to have judged.
        argument: what messages call it, if not by the kind's name.

    Raises:
        TypeError: if it is no record, and no adapter recognises it; the message says what is recognised.
    """
    if isinstance(given, record):
        return given
    if not _place:
        raise TypeError(f"{kind} must be a {record.__name__}, got {type(given).__name__}")
    try:
        return importlib.import_module(_place[0]).adapt(kind, given)
    except TypeError as error:
        if argument is None:
            raise
        raise TypeError(f"{argument} cannot be judged: {error}") from error
