"""How many draws a law can afford: what they cost is counted in operations, so that every machine makes as many.

A time on the clock is another one each time, and more on a loaded machine: with it the number of draws would change, and now
and then a verdict. Operations of torch and their elements are the same each time. The clock decides only for code that
computes elsewhere, where it says many times more than was counted.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mathcheck.engine.randomness import seed_global

# Numbers of draws that a law looks at, one after another: each halves the smallest error that it sees.
RUNGS: tuple[int, ...] = tuple(1250 * 4**k for k in range(7))

# Seconds for an operation, and for each of its elements: those of an ordinary processor, of which they need not be true.
_OPERATION, _ELEMENT = 5e-6, 2e-9
_COSTLY = (
    (re.compile(r"sort|unique|topk|median|quantile|kthvalue|searchsorted"), 2e-7),
    (
        re.compile(r"rand|normal|exponential|uniform|bernoulli|multinomial|gamma|poisson|geometric|cauchy|dirichlet"),
        1.5e-8,
    ),
    (re.compile(r"lgamma|polygamma|linalg|cholesky|solve|svd|fft|conv"), 2e-8),
)
_PRODUCTS = re.compile(r"(b|add|badd|sparse_)?m[mv]|dot|addbmm")
# Where the clock says this many times what was counted, the work was done elsewhere.
_ELSEWHERE = 8.0
# The numbers of draws at which the work is counted, and those at which it is timed.
_FEW, _MORE, _MANY = 32, 128, 1024

_first_seed: ContextVar[int] = ContextVar("mathcheck_first_seed", default=0)


def first_seed() -> int:
    """The seed at which laws that draw at random begin: that of the search."""
    return _first_seed.get()


@contextmanager
def beginning_at(seed: int) -> Iterator[None]:
    """Laws that run inside begin at this seed."""
    before = _first_seed.set(seed)
    try:
        yield
    finally:
        _first_seed.reset(before)


class Work(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, counts what torch does.

    Attributes:
        operations: how many; `seconds` is what an ordinary processor needs for their elements alone.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0
        self.seconds = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs one operation and counts it."""
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        if not any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns):
            name = func.overloadpacket.__name__
            tensors = [leaf for leaf in tree_leaves((args, result)) if isinstance(leaf, Tensor)]
            elements = max((t.numel() for t in tensors), default=0)
            if _PRODUCTS.fullmatch(name) and isinstance(result, Tensor):
                elements = max(elements, result.numel() * tensors[0].shape[-1] // 8)
            self.seconds += elements * next((cost for kind, cost in _COSTLY if kind.search(name)), _ELEMENT)
        return result


def affordable(run: Callable[[int], object], seconds: float) -> int:
    """The largest of `RUNGS` for which `run(count)` is work for at most so many seconds, and at least the smallest.

    Of a run with few draws the elements are counted, whose number grows in proportion, and the operations. These are as many
    for more draws, or as many times more where one draw is made after another, or a few more where something is repeated
    until all draws are through: two runs tell with which power they grow. A run that fails says nothing: the smallest it is.

    Args:
        run: makes `count` draws and judges them.
        seconds: of an ordinary processor.
    """
    with torch.random.fork_rng():
        seed_global(0)
        try:
            cost = _cost(run, seconds)
        except Exception:  # the check itself will say what is wrong
            return RUNGS[0]
    return max((count for count in RUNGS if cost(count) <= seconds), default=RUNGS[0])


def _cost(run: Callable[[int], object], seconds: float) -> Callable[[int], float]:
    """Seconds of work for so many draws."""
    few = _counted(run, _FEW)
    if few.operations * _OPERATION > seconds / 5:
        return lambda count: few.operations * _OPERATION * count / _FEW
    more = _counted(run, _MORE)
    power = max(math.log(more.operations / max(few.operations, 1)) / math.log(_MORE / _FEW), 0.0)
    slope = max(more.seconds - few.seconds, 0.0) / (_MORE - _FEW)

    def counted(count: int) -> float:
        return more.operations * _OPERATION * math.pow(count / _MORE, power) + slope * count

    before = _timed(run, _MORE)
    after = before * _MANY / _MORE if before > seconds / 10 else _timed(run, _MANY)
    if after < _ELSEWHERE * counted(_MANY):
        return counted
    return lambda count: after + max(after - before, 0.0) / (_MANY - _MORE) * (count - _MANY)


def _counted(run: Callable[[int], object], count: int) -> Work:
    with Work() as work:
        run(count)
    counted: Work = work
    return counted


def _timed(run: Callable[[int], object], count: int) -> float:
    """The shorter of two runs: the first may wait for memory, or for what is made on first use."""
    seconds = []
    for _ in range(2):
        start = time.thread_time()
        run(count)
        seconds.append(time.thread_time() - start)
    return min(seconds)
