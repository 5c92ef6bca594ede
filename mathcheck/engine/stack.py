"""Room on the interpreter's stack, so that no loop runs across the end of one of its pieces."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# CPython keeps its frames in pieces of 16 KiB. A call that does not fit into the last piece maps another, and unmaps it on
# its return: a loop that happens to stand at the end of a piece does so at each turn, which was measured to cost 40 % of a
# verdict under pytest (800,000 pairs of mmap and munmap). A frame of this many slots gets a piece of 1 MiB, of which half
# remains for what is called from it.
_SLOTS = 70_000


def with_room(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, called on a piece of the stack that its callees will not outgrow."""

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    call.__code__ = call.__code__.replace(co_stacksize=_SLOTS)
    return functools.wraps(function)(call)
