"""The search for a counterexample: Hypothesis draws inputs, climbs the ratio of error to bound, and shrinks."""

from __future__ import annotations

import contextvars
import math
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import torch
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._pytree import tree_map

from mathcheck.engine.accuracy import Accuracy, Loss
from mathcheck.engine.evidence import Status, python_source
from mathcheck.engine.guard import SubjectFault, SubjectHangs
from mathcheck.engine.randomness import seed_global
from mathcheck.engine.residual import Kind, Residual, Undecided


@dataclass
class Outcome:
    """What a search found.

    `inputs`, `failure` and `torch_seed` belong to the smallest counterexample, or where digits are lost to the input where
    the fewest are left, which `loss` says. `tried` are the inputs at which all was within bounds, each with torch's seed.
    """

    status: Status = Status.SKIPPED
    worst: float = 0.0
    compared: int = 0
    examples: int = 0
    kinds: set[Kind] = field(default_factory=set)
    inputs: tuple[Any, ...] | None = None
    failure: Residual | None = None
    torch_seed: int = 0
    reason: str | None = None
    alpha: float | None = None
    detectable: float | None = None
    loss: Loss | None = None
    tried: list[tuple[tuple[Any, ...], int]] = field(default_factory=list)


class _Exceeded(Exception):
    """A residual above its bound."""


class _Fault(Exception):
    """The subject, or the check itself, failed at an input; `final` if it is not to be tried again."""

    final = False


def to_device(value: Any, device: torch.device | str) -> Any:
    """`value` with every tensor in it on a device."""
    return tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, value)


def search(
    check: Callable[..., Iterator[Residual]],
    subject: Any,
    strategy: st.SearchStrategy[Any] | None,
    *,
    examples: int,
    seed: int,
    device: torch.device | str = "cpu",
    shrink: bool = True,
    accuracy: Accuracy | None = None,
) -> Outcome:
    """Tries `check` on inputs drawn from `strategy` (or once, where it is `None`) and says how it ended.

    A residual above its bound refutes, and so does NaN; the search then shrinks the input if `shrink`. An input at
    which the check raises `NotImplementedError` or `Undecided` compares no further. Each input comes with a seed for
    torch's global generator, drawn like the rest, so that a subject that draws random numbers is reproducible. With
    `accuracy`, an error that is lost digits and no wrong maths is noted, and the search goes on; it starts again where an
    error turns out not to be small beside the numbers that were met.
    """

    def run() -> Outcome:
        return _search(
            check, subject, strategy, examples=examples, seed=seed, device=device, shrink=shrink, accuracy=accuracy
        )

    outcome = run()
    if accuracy is not None and outcome.status is Status.INACCURATE and not accuracy.settled():
        return run()
    return outcome


def _search(
    check: Callable[..., Iterator[Residual]],
    subject: Any,
    strategy: st.SearchStrategy[Any] | None,
    *,
    examples: int,
    seed: int,
    device: torch.device | str,
    shrink: bool,
    accuracy: Accuracy | None,
) -> Outcome:
    outcome = Outcome()
    failures: dict[str, Exception] = {}
    # A count of inputs to shrink by, and not a time, so that every machine finds the same counterexample.
    budget = 2 * examples

    def attempt(inputs: tuple[Any, ...], torch_seed: int) -> None:
        nonlocal budget
        if failures:
            budget -= 1
            known = failures.get(f"{torch_seed} {python_source(inputs)}")
            if isinstance(known, _Fault) and known.final:
                raise known
            if budget < 0 and known is None:
                return
        seed_global(torch_seed)
        if not failures:
            outcome.examples += 1
        try:
            highest = _compare(check, subject, to_device(inputs, device), torch_seed, outcome, accuracy)
        except (_Exceeded, _Fault) as failure:
            outcome.inputs, outcome.torch_seed = inputs, torch_seed
            outcome.failure = failure.args[0] if isinstance(failure, _Exceeded) else None
            outcome.reason = None if isinstance(failure, _Exceeded) else str(failure)
            failures[f"{torch_seed} {python_source(inputs)}"] = failure
            if isinstance(failure, _Fault) and failure.final:
                budget = 0
            raise
        if not failures and highest <= 1:
            outcome.tried.append((inputs, torch_seed))
        if strategy is not None and highest > 0:
            hypothesis.target(min(highest, 1e300))

    with torch.random.fork_rng():
        try:
            if strategy is None:
                attempt((), seed)
            else:
                _run(attempt, strategy, examples, seed, shrink)
        except _Exceeded:
            outcome.status, outcome.worst = Status.REFUTED, math.inf
            if outcome.failure is not None:
                outcome.worst = outcome.failure.ratio
        except _Fault:
            outcome.status = Status.ERROR
        except hypothesis.errors.Flaky:
            outcome.status = Status.ERROR
            outcome.reason = "two runs at the same input gave different answers"
        except hypothesis.errors.InvalidArgument as error:
            outcome.status = Status.ERROR
            outcome.reason = f"the domain cannot be drawn from: {str(error).splitlines()[0]}"
        except hypothesis.errors.Unsatisfiable as error:
            outcome.reason = f"the domain yields no input: {error}"
        else:
            outcome.status = Status.HOLDS if outcome.compared else Status.SKIPPED
            if outcome.compared:
                outcome.status = Status.HOLDS if outcome.loss is None else Status.INACCURATE
                outcome.reason = None
            elif outcome.reason is None:
                outcome.reason = "the check compared nothing"
    return outcome


def replay(
    check: Callable[..., Iterator[Residual]],
    subject: Any,
    tried: Sequence[tuple[tuple[Any, ...], int]],
    *,
    device: torch.device | str = "cpu",
) -> int | None:
    """The first of some inputs, each with torch's seed, at which a comparison exceeds its bound; `None` if none does.

    An input at which the subject fails is no comparison, and ends it.
    """
    with torch.random.fork_rng():
        for place, (inputs, torch_seed) in enumerate(tried):
            seed_global(torch_seed)
            try:
                _compare(check, subject, to_device(inputs, device), torch_seed, Outcome(), None)
            except _Exceeded:
                return place
            except _Fault:
                return None
    return None


def _worse(loss: Loss, inputs: tuple[Any, ...], outcome: Outcome) -> bool:
    """Whether fewer digits are left than at the input that is noted, or as few at one that is shorter to write."""
    assert outcome.loss is not None
    if loss.digits != outcome.loss.digits:
        return loss.digits < outcome.loss.digits
    return len(python_source(inputs)) < len(python_source(outcome.inputs))


def _compare(
    check: Callable[..., Iterator[Residual]],
    subject: Any,
    inputs: tuple[Any, ...],
    torch_seed: int,
    outcome: Outcome,
    accuracy: Accuracy | None,
) -> float:
    """Makes the comparisons of one input; returns the largest ratio."""
    highest = 0.0
    try:
        for place, residual in enumerate(check(subject, *inputs)):
            if not residual.informative:
                continue
            outcome.compared += 1
            outcome.kinds.add(residual.kind)
            if residual.alpha is not None:
                outcome.alpha = max(outcome.alpha or 0.0, residual.alpha)
            if residual.detectable is not None:
                outcome.detectable = max(outcome.detectable or 0.0, residual.detectable)
            if residual.ratio > 1:
                loss = accuracy.loss(inputs, torch_seed, place, residual) if accuracy is not None else None
                if loss is None:
                    raise _Exceeded(residual)
                if outcome.loss is None or _worse(loss, inputs, outcome):
                    outcome.loss, outcome.failure = loss, residual
                    outcome.inputs, outcome.torch_seed = inputs, torch_seed
            if accuracy is not None:
                accuracy.seen(place, residual)
            highest = max(highest, residual.ratio)
    except (NotImplementedError, Undecided) as why:
        outcome.reason = str(why) or "the subject lacks a function that this law needs"
    except SubjectFault as fault:
        failure = _Fault(str(fault))
        failure.final = isinstance(fault, SubjectHangs)
        raise failure from fault
    except (_Exceeded, KeyboardInterrupt):
        raise
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        message = f"the check failed with {type(error).__name__}: {error} ({at.filename}:{at.lineno})"
        raise _Fault(message) from error
    outcome.worst = max(outcome.worst, highest)
    return highest


def _run(
    attempt: Callable[[tuple[Any, ...], int], None],
    strategy: st.SearchStrategy[Any],
    examples: int,
    seed: int,
    shrink: bool,
) -> None:
    phases = [Phase.explicit, Phase.generate, Phase.target] + ([Phase.shrink] if shrink else [])

    def look() -> None:
        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=phases,
            report_multiple_bugs=False,
            verbosity=Verbosity.quiet,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(strategy, st.integers(0, 2**31 - 1))
        def test(inputs: Any, torch_seed: int) -> None:
            attempt(inputs if isinstance(inputs, tuple) else (inputs,), torch_seed)

        test()

    if hypothesis.currently_in_test_context():
        # Inside somebody's own `@given`: Hypothesis refuses a search within a search, but not one in another thread.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(contextvars.copy_context().run, look).result()
    else:
        look()
