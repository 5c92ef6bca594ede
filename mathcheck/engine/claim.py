"""A claim is checked on a subject and yields evidence: the four words of mathcheck, and its only engine."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import math
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import torch
from hypothesis import strategies as st

from mathcheck.engine import effort, half
from mathcheck.engine.accuracy import Accuracy
from mathcheck.engine.evidence import Counterexample, Evidence, Status
from mathcheck.engine.guard import guarded
from mathcheck.engine.mutants import answers_alike, same_but_for_functions
from mathcheck.engine.passages import passage
from mathcheck.engine.randomness import seed_global
from mathcheck.engine.residual import Residual
from mathcheck.engine.search import Outcome, replay, search, to_device
from mathcheck.engine.stack import with_room

Check = Callable[..., Iterator[Residual]]
Given = Callable[[Any, torch.dtype], st.SearchStrategy[Any]]
Mutant = Callable[[Any], Any]


@dataclass(frozen=True)
class Settings:
    """How hard to look.

    Args:
        examples: inputs to try a claim; `None` leaves it to the claim.
        seed: of the search; the same seed gives the same verdict.
        timeout: seconds that one call of a subject's function may take, of the processor's time.
        shrink: whether a counterexample is made as small as it gets.
        accuracy: "maths" asks whether the maths is right, and tells lost digits apart from it (`INACCURATE`); "full" holds
            the subject to every bound, as mathcheck does its own references.
        budget: seconds of work that a law which draws at random may give to one subject's draws. The more, the smaller are
            the errors that it sees. The work is counted in operations, not by the clock, so that as much is drawn on a
            loaded machine.
    """

    examples: int | None = None
    seed: int = 0
    timeout: float = 10.0
    shrink: bool = True
    accuracy: Literal["maths", "full"] = "maths"
    budget: float = 2.0

    def __post_init__(self) -> None:
        if self.examples is not None and self.examples < 1:
            raise ValueError(f"examples must be at least 1, got {self.examples}")
        if not self.timeout > 0:
            raise ValueError(f"timeout must be positive, got {self.timeout}")
        if not 0 < self.budget < math.inf:
            raise ValueError(f"budget must be positive and finite, got {self.budget}")
        if self.accuracy not in ("maths", "full"):
            raise ValueError(f"accuracy must be 'maths' or 'full', got {self.accuracy!r}")


class Refuted(AssertionError):
    """Raised by `check` when a claim does not hold; `evidence` keeps everything that was found."""

    def __init__(self, message: str, evidence: Sequence[Evidence]):
        super().__init__(message)
        self.evidence = list(evidence)


class InaccurateWarning(UserWarning):
    """Given where the maths of a subject is right, and digits are lost."""


@dataclass(frozen=True, eq=False)
class Claim:
    """For all inputs of a subject's domain, some errors stay within bounds. Made by the decorator `claim`.

    Attributes:
        check: generator `check(subject, *inputs)` that yields residuals and never asserts.
        given: `(subject, dtype)` -> Hypothesis strategy of the tuple of inputs; `None` where there are none.
        reference: a subject of which it holds; `None` for the law of a kind, which every subject of the kind must obey.
        mutants: named slips, each a function subject -> wrong subject, which may raise `NotImplementedError` where the
            slip changes nothing. A name reads on after "it holds once ..." and after "it also passes when ...".
        repairs: corrections that a diagnosis tries besides the mutants, for slips that no mutant undoes (a sum over the
            batch); they leave a correct subject as it is.
        uses: claims that the proof relies on.
        examples: inputs to try by default.
        defining: whether it says what the kind is, so that a subject on which it is skipped has not been judged.
        half: whether it can be judged in bfloat16: its true values come from an oracle, of the inputs as they were drawn.
        extreme: whether its inputs are out of the ordinary, so that a breakdown there is told as lost digits.
        remedy: what to do where digits are lost, after "to keep them, ": a form of the catalogue, or a field of the record that
            states the accuracy; a text, or a function of the subject.
        draws: whether the last input of the check says how many draws it may make: as many as the budget allows. More draws
            say more than more inputs do, so that there are never more than `examples` of these.
        parent: the claim whose proof this is a step of.
    """

    check: Check
    given: Given | None = None
    reference: Any = None
    mutants: Mapping[str, Mutant] = field(default_factory=dict)
    repairs: Mapping[str, Mutant] = field(default_factory=dict)
    uses: tuple[Claim, ...] = ()
    examples: int = 100
    defining: bool = False
    half: bool = False
    extreme: bool = False
    remedy: str | Callable[[Any], str | None] | None = None
    draws: bool = False
    parent: Claim | None = None

    @property
    def module(self) -> str:
        """Import path of the theorem or role that states the claim, without the package's name."""
        package, *path = (self.parent or self).check.__module__.split(".")
        # A theorem that has grown is a folder: where its parts stand is its own affair.
        return ".".join(path[:2]) if package == "mathcheck" else ".".join([package, *path])

    @property
    def name(self) -> str:
        """Import path of the claim below `mathcheck`; a proof's step has its own name after a colon."""
        if self.parent is not None:
            return f"{self.parent.name}:{self.check.__name__}"
        return f"{self.module}.{self.check.__name__}"

    @property
    def title(self) -> str:
        """The law in words: the first line of the check's docstring up to its formula, or its name."""
        text = inspect.getdoc(self.check) or self.check.__name__.replace("_", " ")
        return text.splitlines()[0].split(": $")[0].rstrip(".:")

    @property
    def statement(self) -> str:
        """The law in LaTeX: the check's docstring up to `Error bound:`."""
        text = inspect.getdoc(self.check) or ""
        return " ".join(text.split("Error bound:")[0].split())

    @property
    def proof(self) -> str | None:
        """Where to read why it holds: the step of a proof that speaks of it."""
        return passage(self.module, (self.parent or self).check.__name__)

    def residuals(self, subject: Any, *inputs: Any) -> list[Residual]:
        """Everything that the check compares at one input."""
        return list(self.check(subject, *inputs))

    def on(self, subject: Any) -> Claim:
        """This law as a claim about one subject, so that its proof has a reference to run on."""
        return dataclasses.replace(self, reference=subject)

    def step(
        self,
        check: Check | None = None,
        *,
        given: Given | None = None,
        mutants: Mapping[str, Mutant] | None = None,
        examples: int | None = None,
    ) -> Any:
        """Decorator for a step of this claim's proof: verifies it at once and leaves its evidence.

        The step runs under the claim's own quantifier and reference unless `given` says otherwise; a check that takes
        no input besides the subject, or nothing at all, runs once.

        Returns:
            The evidence.

        Raises:
            Refuted: if the step does not hold.
        """

        def decorate(function: Check) -> Evidence:
            arity = len(inspect.signature(function).parameters)
            body = (lambda subject: function()) if arity == 0 else function
            if arity == 0:
                body.__name__, body.__doc__, body.__module__ = function.__name__, function.__doc__, function.__module__
            quantifier = None if arity <= 1 else (given or self.given)
            step = dataclasses.replace(
                self,
                check=body,
                given=quantifier,
                mutants=mutants or {},
                parent=self,
                examples=examples or self.examples,
            )
            return _insist(verify(step))

        return decorate if check is None else decorate(check)

    def refutes(self, mutant: str) -> Evidence:
        """Evidence that this claim refutes the named mutant of its reference, by a comparison; for proofs.

        Raises:
            ValueError: if there is no such mutant.
            Refuted: if the mutant passes or crashes.
        """
        if mutant not in self.mutants:
            raise ValueError(f"{self.name} has no mutant {mutant!r}, expected one of {sorted(self.mutants)}")
        settings = dataclasses.replace(_defaults.get() or Settings(), shrink=False, accuracy="full")
        with recording():
            bare = dataclasses.replace(self, mutants={}, repairs={})
            evidence = verify(bare, self.mutants[mutant](self.reference), settings=settings)
        ok = evidence.status is Status.REFUTED
        return _insist(
            _record(
                dataclasses.replace(
                    evidence,
                    claim=f"{self.name}:refutes",
                    title=f"refuted when {mutant}",
                    subject=f"when {mutant}",
                    status=Status.HOLDS if ok else Status.ERROR,
                    reason=None if ok else f"not refuted: {evidence.reason}",
                )
            )
        )


def claim(
    *,
    given: Given | None = None,
    reference: Any = None,
    mutants: Mapping[str, Mutant] | None = None,
    repairs: Mapping[str, Mutant] | None = None,
    uses: Sequence[Claim] = (),
    examples: int = 100,
    defining: bool = False,
    half: bool = False,
    extreme: bool = False,
    remedy: str | Callable[[Any], str | None] | None = None,
    draws: bool = False,
) -> Callable[[Check], Claim]:
    """Decorator that makes a `Claim` of a check; see `Claim` for the arguments."""
    slips, mended = dict(mutants or {}), dict(repairs or {})
    return lambda check: Claim(
        check, given, reference, slips, mended, tuple(uses), examples, defining, half, extreme, remedy, draws
    )


def laws(kind: type) -> list[Claim]:
    """The laws of a kind, in order: the claims without a reference of their own that stand beside the record `kind`.

    They stand in the module that defines the record, or, if that is called `record`, in its neighbour `laws`.
    """
    package, _, module = kind.__module__.rpartition(".")
    home = importlib.import_module(f"{package}.laws") if module == "record" else sys.modules[kind.__module__]
    return [claim for claim in vars(home).values() if isinstance(claim, Claim) and claim.reference is None]


_ledger: ContextVar[list[Evidence] | None] = ContextVar("mathcheck_ledger", default=None)
_defaults: ContextVar[Settings | None] = ContextVar("mathcheck_settings", default=None)
_overrides: ContextVar[Mapping[str, Any]] = ContextVar("mathcheck_overrides", default=MappingProxyType({}))


@contextmanager
def overriding(**changes: Any) -> Iterator[None]:
    """Every `verify` that runs inside uses its settings with these changes, e.g. `seed=3`, whoever chose them."""
    before = _overrides.set(changes)
    try:
        yield
    finally:
        _overrides.reset(before)


@contextmanager
def recording(settings: Settings | None = None) -> Iterator[list[Evidence]]:
    """Collects the evidence of every `verify` that runs inside; `settings` are the default there."""
    found: list[Evidence] = []
    ledger, defaults = _ledger.set(found), _defaults.set(settings or _defaults.get())
    try:
        yield found
    finally:
        _ledger.reset(ledger)
        _defaults.reset(defaults)


def _record(evidence: Evidence) -> Evidence:
    ledger = _ledger.get()
    if ledger is not None:
        ledger.append(evidence)
    return evidence


def _insist(evidence: Evidence) -> Evidence:
    if evidence.status is not Status.HOLDS:
        raise Refuted(str(evidence), [evidence])
    return evidence


@with_room
def verify(
    claim: Claim,
    subject: Any = None,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    settings: Settings | None = None,
    name: str | None = None,
    origin: str | None = None,
) -> Evidence:
    """Checks a claim on a subject: the search for a counterexample, the mutants, the diagnosis.

    Args:
        claim: what to check.
        subject: the implementation under test; default the claim's reference.
        dtype: of the inputs; default the subject's own, or float64.
        device: where the inputs live.
        settings: how hard to look; a claim's own reference is always held to every bound.
        name: of the subject, for reports.
        origin: Python statement that makes `subject`, for the snippet of a counterexample.

    Returns:
        The evidence; nothing that a subject does raises.
    """
    start = time.perf_counter()
    settings = dataclasses.replace(settings or _defaults.get() or Settings(), **_overrides.get())
    if subject is None or subject is claim.reference:
        subject, settings = claim.reference, dataclasses.replace(settings, accuracy="full")
    dtype = dtype or getattr(subject, "dtype", None) or torch.float64
    if dtype in (torch.float32, torch.float64):
        compared, given = dtype, claim.given
        protected = guarded(subject, settings.timeout)
    elif dtype in half.HALF:
        compared, given = torch.float32, half.drawn(claim.given)
        protected = half.widened(guarded(subject, settings.timeout))
    else:
        raise TypeError(f"dtype must be torch.float64, torch.float32 or torch.bfloat16, got {dtype}")

    examples = settings.examples or claim.examples
    if claim.draws:
        examples = min(examples, claim.examples)
    count = _counter(claim, protected, settings.budget / examples, device)

    lenient = settings.accuracy == "maths"

    def run(candidate: Any, examples: int = examples, *, shrink: bool = False, lenient: bool = lenient) -> Outcome:
        if reason := half.refusal(dtype, claim.half):
            return Outcome(reason=reason)
        with effort.beginning_at(settings.seed):
            strategy = None if given is None else given(candidate, compared)
        if claim.draws and strategy is not None:
            strategy = strategy.map(count)
        accuracy = Accuracy(claim.check, candidate, compared, extreme=claim.extreme) if lenient else None
        return search(
            claim.check,
            candidate,
            strategy,
            examples=examples,
            seed=settings.seed,
            device=device,
            shrink=shrink,
            accuracy=accuracy,
        )

    outcome = run(protected, shrink=settings.shrink)
    status, mutants, diagnosis = outcome.status, {}, None
    if status in (Status.HOLDS, Status.INACCURATE):
        # A wrong version of a subject that keeps its digits shows in the digits already.
        strictly = functools.partial(run, lenient=status is Status.INACCURATE)
        mutants = _fates(claim, protected, outcome, strictly, device, lenient)
        status = _seen(status, mutants.values(), lenient)
        if status is Status.SKIPPED:
            outcome.reason = "no wrong version of the subject answers otherwise on this domain, so nothing can be told"
    elif status is Status.REFUTED and claim.parent is None:
        # In bfloat16 a subject that is mended exceeds the bounds, too: only a search says whether that is rounding.
        at_once = dtype not in half.HALF
        diagnosis = _diagnose(claim, protected, outcome, functools.partial(run, examples=min(examples, 30)), at_once)
    names = _input_names(claim.check, subject)
    return _record(
        Evidence(
            claim=claim.name,
            title=claim.title,
            statement=claim.statement,
            status=status,
            subject=name or getattr(subject, "name", None) or _name(subject),
            kinds=tuple(sorted(outcome.kinds, key=lambda kind: kind.strength)),
            worst=outcome.worst,
            compared=outcome.compared,
            examples=outcome.examples,
            mutants=mutants,
            diagnosis=diagnosis,
            counterexample=None
            if outcome.inputs is None
            else Counterexample.of(names, outcome.inputs, outcome.failure, outcome.torch_seed),
            digits=outcome.loss.digits if outcome.loss is not None and status is not Status.REFUTED else None,
            remedy=_remedy(claim, subject, status, outcome.failure),
            reason=outcome.reason,
            proof=claim.proof,
            origin=origin,
            alpha=outcome.alpha,
            detectable=outcome.detectable,
            seconds=time.perf_counter() - start,
            dtype=str(dtype).removeprefix("torch."),
            device=str(device),
            seed=settings.seed,
        )
    )


def _input_names(check: Check, subject: Any) -> list[str]:
    """The names of a check's inputs; for `*parameters`, those that the subject's field `parameters` holds."""
    names: list[str] = []
    for parameter in list(inspect.signature(check).parameters.values())[1:]:
        several = parameter.kind is inspect.Parameter.VAR_POSITIONAL
        names += list(getattr(subject, parameter.name, ())) if several else [parameter.name]
    return names


# Below this, an error is one that a record's field may state.
_SMALL = 1e-3


def _remedy(claim: Claim, subject: Any, status: Status, worst: Residual | None) -> str | None:
    """What keeps the digits, where some are lost, or an error is so small that it may be that of an iteration."""
    if worst is None or not (status is Status.INACCURATE or (status is Status.REFUTED and worst.error <= _SMALL)):
        return None
    return claim.remedy(subject) if callable(claim.remedy) else claim.remedy


def _counter(
    claim: Claim, subject: Any, seconds: float, device: torch.device | str
) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Adds to the inputs of a law how many draws it may make, which is found out once, at the first."""
    found: list[int] = []

    def add(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if not found:
            placed = to_device(inputs, device)
            found.append(effort.affordable(lambda n: claim.residuals(subject, *placed, n), seconds))
        return (*inputs, found[0])

    return add


def _name(subject: Any) -> str:
    """The record's class, with the first of its functions that has a name: "Divergence(my_kl)"."""
    fields = dataclasses.fields(subject) if dataclasses.is_dataclass(subject) else ()
    names = (getattr(getattr(subject, field.name), "__qualname__", "<") for field in fields)
    plain = (name.rpartition("<locals>.")[2] for name in names if not name.endswith(("<", "<lambda>")))
    known = next((name.rpartition(".")[2] if name.startswith("_") else name for name in plain), "")
    return f"{type(subject).__name__}({known})" if known else type(subject).__name__


def _diagnose(claim: Claim, subject: Any, refuted: Outcome, run: Callable[[Any], Outcome], at_once: bool) -> str | None:
    """The first repair or mutant with which the claim holds, at the counterexample (which `at_once` asks first) as elsewhere."""
    for title, mend in {**claim.repairs, **claim.mutants}.items():
        try:
            mended = mend(subject)
            # One input says of most that they mend nothing; a search is for the rest.
            if at_once and getattr(mended, "domain", None) == getattr(subject, "domain", None):
                with torch.random.fork_rng():
                    seed_global(refuted.torch_seed)
                    found = claim.residuals(mended, *(refuted.inputs or ()))
                if any(residual.ratio > 1 for residual in found):
                    continue
        except Exception:  # a slip that this subject cannot express, or a mended subject that fails
            continue
        if _fate(mend, subject, run) == "survived":
            return title
    return None


def _seen(status: Status, fates: Collection[str], lenient: bool) -> Status:
    """The verdict of a search that found nothing wrong, by what it saw of the mutants.

    Of a reference every mutant must be refuted. Of somebody's own subject one will do: what else passes is a blind spot,
    and where every mutant answers as the subject does, there is nothing to see.
    """
    if "refuted" in fates and lenient:
        return status
    if "survived" in fates or ("equivalent" in fates and not lenient):
        return Status.VACUOUS
    return Status.SKIPPED if "equivalent" in fates and status is Status.HOLDS else status


# How much longer the search is that a verdict of `vacuous` takes.
_LONGER = 2
_FATES = {
    Status.HOLDS: "survived",
    Status.INACCURATE: "survived",
    Status.REFUTED: "refuted",
    Status.SKIPPED: "not applicable",
}


def _fate(mutate: Mutant, subject: Any, run: Callable[[Any], Outcome]) -> str:
    try:
        mutant = mutate(subject)
    except NotImplementedError:
        return "not applicable"
    return _FATES.get(run(mutant).status, "crashed")


def _fates(
    claim: Claim,
    subject: Any,
    outcome: Outcome,
    run: Callable[..., Outcome],
    device: torch.device | str,
    lenient: bool,
) -> dict[str, str]:
    """What becomes of each mutant of a subject of which the claim holds.

    The inputs at which the subject was within bounds come first, those that refuted another mutant before the rest: there a
    mutant that is not is seen, whatever digits the subject loses elsewhere. One that passes them all, and does not answer as
    the subject does, gets a search of its own; a longer one, where otherwise nothing would be seen of any.
    """
    tried, fates = list(outcome.tried), {}
    for title, mutate in claim.mutants.items():
        try:
            mutant = mutate(subject)
        except NotImplementedError:
            fates[title] = "not applicable"
            continue
        alike = same_but_for_functions(subject, mutant)
        # A search of a law that draws tries nothing but the same draws once more.
        if alike and not claim.draws:
            refuted_by = replay(claim.check, mutant, tried, device=device)
            if refuted_by is not None:
                tried.insert(0, tried.pop(refuted_by))
                fates[title] = "refuted"
                continue
            if lenient and answers_alike(claim.check, subject, mutant, tried, device):
                fates[title] = "equivalent"
                continue
        fates[title] = _FATES.get(run(mutant).status, "crashed")
        survived = claim.draws and alike and fates[title] == "survived"
        if survived and lenient and answers_alike(claim.check, subject, mutant, tried, device):
            fates[title] = "equivalent"
    if lenient and not claim.draws and "refuted" not in fates.values():
        longer = functools.partial(run, examples=_LONGER * max(outcome.examples, claim.examples))
        for title in [title for title, fate in fates.items() if fate == "survived"]:
            fates[title] = _fate(claim.mutants[title], subject, longer)
            if fates[title] == "refuted":
                break
    return fates
