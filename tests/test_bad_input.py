"""Every public function of the topic folders refuses bad input, and says which argument it was."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import math
import re
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

import pytest
import torch
from torch import Tensor

from mathcheck.engine.claim import Settings, verify
from mathcheck.runner import catalogue, index

Function = Callable[..., Any]
Call = dict[str, Any]
NONSENSE = (object(), "three", None)


def _functions() -> Iterator[tuple[str, Function]]:
    """What the file of a theorem defines, or the face of its folder shows."""
    for theorem in dict.fromkeys(map(index.theorem, index.modules())):
        module = importlib.import_module(f"mathcheck.{theorem}")
        for name, value in vars(module).items():
            shown = name in module.__all__ if hasattr(module, "__path__") else not name.startswith("_")
            if inspect.isfunction(value) and shown and value.__module__.startswith(module.__name__):
                yield f"{theorem}.{name}", value


FUNCTIONS = dict(_functions())


def _parameters(function: Function) -> list[inspect.Parameter]:
    return [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]


def _call(function: Function, call: Call) -> Any:
    bound = inspect.signature(function).bind_partial()
    bound.arguments.update(call)
    return function(*bound.args, **bound.kwargs)


@functools.cache
def _calls() -> dict[CodeType, Call]:
    """A call of every function that is called when its module is imported, or by a check at the first input drawn."""
    codes, found = {function.__code__ for function in FUNCTIONS.values()}, {}

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in codes:
            found.setdefault(frame.f_code, dict(frame.f_locals))

    def watched(run: Callable[[], object]) -> None:
        sys.setprofile(watch)
        try:
            run()
        finally:
            sys.setprofile(None)

    for entry in catalogue.entries():
        claim = dataclasses.replace(entry.claim, mutants={}, repairs={})
        watched(
            functools.partial(verify, claim, entry.subject, settings=Settings(examples=1, shrink=False, budget=0.01))
        )
    for module in map(importlib.import_module, index.modules()):
        # Code is equal where its text and place are, so that functions of a second import count as those of the first.
        source = compile(inspect.getsource(module), str(module.__file__), "exec")
        watched(functools.partial(exec, source, {"__name__": module.__name__, "__file__": module.__file__}))
    return found


def _replacements(parameter: inspect.Parameter, valid: Any, text: str) -> Iterator[Any]:
    """What must not stand where the argument `valid` does; `text` is the function's docstring."""
    if parameter.kind is parameter.VAR_POSITIONAL:
        alone = parameter.replace(kind=parameter.KEYWORD_ONLY)
        yield from ((bad, *valid[1:]) for bad in _replacements(alone, valid[0], text))
        return
    yield NONSENSE[0]
    if not isinstance(valid, str):
        yield NONSENSE[1]
    if valid is not None and parameter.default is not None:
        yield NONSENSE[2]
    if isinstance(valid, Tensor) and valid.dtype.is_floating_point:
        if not re.search(rf"^\s*{parameter.name}: any tensor", text, re.MULTILINE):
            yield valid.new_zeros(valid.shape, dtype=torch.int64)
    elif isinstance(valid, float):
        yield math.nan
    elif isinstance(valid, int) and not isinstance(valid, bool):
        # Where a negative number is the default, negative numbers mean something.
        yield from () if isinstance(parameter.default, int) and parameter.default < 0 else (-1,)


def _other_dtypes(valid: Call, text: str) -> Iterator[tuple[Call, set[str]]]:
    """One of several floating tensors in another dtype, unless the docstring says in the dtype of which the result is."""
    floating = {name for name, t in valid.items() if isinstance(t, Tensor) and t.dtype.is_floating_point}
    for name in floating if len(floating) > 1 and "in the dtype of" not in text else ():
        other = torch.float32 if valid[name].dtype == torch.float64 else torch.float64
        yield {**valid, name: valid[name].to(other)}, floating


def _complaint(function: Function, call: Call, names: set[str]) -> str | None:
    """What is wrong with how the function answers to a call whose arguments `names` are bad."""
    bad = ", ".join(f"{name}={call[name]!r}" for name in sorted(names))
    try:
        _call(function, call)
    except (TypeError, ValueError) as error:
        named = any(re.search(rf"\b{name}\b", str(error)) for name in names)
        if named and re.search(r"\b(got|expected)\b", str(error)):
            return None
        return f"{bad}: {type(error).__name__}: {error}"
    except Exception as error:
        return f"{bad}: {type(error).__name__}: {error}"
    return f"{bad}: accepted"


def _complaints(function: Function, valid: Call | None) -> Iterator[str]:
    """What the function makes of nonsense for all of its arguments, and for one at a time of a valid call."""
    parameters = _parameters(function)
    required = {p.name for p in parameters if p.default is p.empty}
    several = {p.name for p in parameters if p.kind is p.VAR_POSITIONAL}
    bad: list[tuple[Call, set[str]]] = []
    for nonsense in NONSENSE if required else ():
        bad += [({name: (nonsense,) * 3 if name in several else nonsense for name in required}, required)]
    if valid is not None:
        valid = {p.name: valid[p.name] for p in parameters}
        text = inspect.getdoc(function) or ""
        _call(function, valid)
        for p in parameters:
            bad += [({**valid, p.name: value}, {p.name}) for value in _replacements(p, valid[p.name], text)]
        bad += _other_dtypes(valid, text)
    yield from filter(None, (_complaint(function, call, names) for call, names in bad))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_bad_input_is_refused_by_name(name: str) -> None:
    function = FUNCTIONS[name]
    found = list(_complaints(function, _calls().get(function.__code__)))
    assert not found, "\n".join([name, *found])


def test_most_functions_are_called_with_one_bad_argument_at_a_time() -> None:
    """All but those that only a person calls, `check_<kind>` among them."""
    never = [n for n, f in FUNCTIONS.items() if f.__code__ not in _calls() and ".check_" not in n]
    assert len(never) <= len(FUNCTIONS) / 10, never


def _careless(x: Tensor, count: int) -> Tensor:
    return x * count


def _vague(x: Tensor, count: int) -> Tensor:
    raise ValueError("bad input")


def _half(x: Tensor, count: int) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a tensor, got {x}")
    return x[:count]


def _careful(x: Tensor, count: int) -> Tensor:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError(f"x must be a floating tensor, got {x}")
    if not isinstance(count, int) or count < 0:
        raise ValueError(f"count must be an integer of at least 0, got {count}")
    return x[:count]


@pytest.mark.parametrize(
    ("function", "accepted"),
    [
        (_careless, ["x='three': accepted", "x=tensor([0, 0]): accepted", "count=-1: accepted"]),
        (_half, ["x=tensor([0, 0]): accepted", "count=None: accepted", "count=-1: accepted"]),
        (_careful, []),
    ],
)
def test_what_is_accepted_is_found(function: Function, accepted: list[str]) -> None:
    found = list(_complaints(function, {"x": torch.ones(2), "count": 1}))
    assert [c for c in found if c.endswith("accepted")] == accepted
    assert bool(found) == (function is not _careful)


def _promoting(x: Tensor, y: Tensor) -> Tensor:
    for name, t in (("x", x), ("y", y)):
        if not isinstance(t, Tensor) or not t.is_floating_point():
            raise TypeError(f"{name} must be a floating tensor, got {t}")
    return x + y


def test_tensors_of_two_dtypes_are_found() -> None:
    found = list(_complaints(_promoting, {"x": torch.ones(1), "y": torch.ones(1)}))
    assert len(found) == 2
    assert all("float64" in complaint and complaint.endswith("accepted") for complaint in found)


def test_an_error_must_name_the_argument() -> None:
    found = list(_complaints(_vague, None))
    assert len(found) == len(NONSENSE)
    assert found[1] == "count='three', x='three': ValueError: bad input"
