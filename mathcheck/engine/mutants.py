"""Whether a mutant changes anything: one that answers as the subject does is no wrong version of it."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from mathcheck.engine.randomness import seed_global
from mathcheck.engine.residual import Residual
from mathcheck.engine.search import to_device

Check = Callable[..., Iterator[Residual]]
Answers = list[tuple[str, Any]]

_FEW = 16


def same_but_for_functions(subject: Any, mutant: Any) -> bool:
    """Whether two records differ in their functions only, so that what one takes the other takes, too."""
    if not dataclasses.is_dataclass(subject) or type(subject) is not type(mutant):
        return not dataclasses.is_dataclass(subject) and not dataclasses.is_dataclass(mutant)
    for field in dataclasses.fields(subject):
        one, other = getattr(subject, field.name), getattr(mutant, field.name)
        if not (callable(one) and callable(other)) and one is not other and not _equal(one, other):
            return False
    return True


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)
    return bool(one == other)


def answers_alike(
    check: Check,
    subject: Any,
    mutant: Any,
    tried: Sequence[tuple[tuple[Any, ...], int]],
    device: torch.device | str = "cpu",
) -> bool:
    """Whether the functions of a mutant give what the subject's give, up to a few roundings, on all inputs tried.

    Gradients count as answers, those of the sum over a function's values. The first few answers are compared first: nearly
    always they differ.
    """
    if not dataclasses.is_dataclass(subject):
        return False
    placed = [(to_device(inputs, device), seed) for inputs, seed in tried]
    return all(
        _alike(_answers(check, subject, *at, most), _answers(check, mutant, *at, most))
        for most in (_FEW, sys.maxsize)
        for at in placed
    )


class _Enough(BaseException):
    """As many answers as were asked for."""


def _answers(check: Check, subject: Any, inputs: tuple[Any, ...], seed: int, most: int) -> Answers | None:
    found: Answers = []

    def listened(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            answer = function(*args, **kwargs)
            found.append((name, answer))
            leaves = [a for a in args if isinstance(a, Tensor) and a.requires_grad]
            if isinstance(answer, Tensor) and answer.requires_grad and leaves:
                slopes = torch.autograd.grad(answer.sum(), leaves, retain_graph=True, allow_unused=True)
                found[-1] = (name, (answer.detach(), *(slope for slope in slopes if slope is not None)))
            if len(found) >= most:
                raise _Enough
            return answer

        return call

    functions = {
        field.name: listened(field.name, value)
        for field in dataclasses.fields(subject)
        if field.init and callable(value := getattr(subject, field.name)) and not dataclasses.is_dataclass(value)
    }
    with torch.random.fork_rng():
        seed_global(seed)
        try:
            for _ in check(dataclasses.replace(subject, **functions), *inputs):
                pass
        except _Enough:
            pass
        except Exception:
            return None
    return found


def _alike(one: Answers | None, other: Answers | None) -> bool:
    if one is None or other is None or [name for name, _ in one] != [name for name, _ in other]:
        return False
    return all(_same(a, b) for (_, a), (_, b) in zip(one, other, strict=True))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return not isinstance(a, Tensor) and not isinstance(b, Tensor) and bool(a == b)
    if a.shape != b.shape or a.dtype != b.dtype or a.requires_grad or b.requires_grad:
        return False
    if not a.is_floating_point():
        return bool((a == b).all())
    gap = (a - b).abs()
    near = gap <= 8 * torch.finfo(a.dtype).eps * torch.maximum(a.abs(), b.abs())
    return bool((near | (a == b) | (a.isnan() & b.isnan())).all())
