"""What a run found, added up: the one record that the terminal, the JSON file and the JUnit file are written from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mathcheck.engine.evidence import Evidence, Status
from mathcheck.engine.residual import Kind
from mathcheck.runner.run import Options, Result

ALPHA = 1e-4
"""The false-alarm probability that one run may spend on all its statistical claims together."""


@dataclass(frozen=True)
class Totals:
    """Figures of some results, e.g. those of one derivation, or of the whole run.

    Attributes:
        claims: the number of claims by status; one whose mutant was not refuted counts under its own status.
        failed: claims and steps that fail.
        kinds: kinds of the comparisons made, strongest first.
        worst: largest ratio of error to bound of a claim; `inputs`: how many were tried on the claims.
        refuted, mutants: mutants refuted, of how many that apply.
        held, steps: proof steps that hold, of how many that ran.
        seconds: the time taken, added up over the workers.
    """

    claims: Mapping[Status, int]
    failed: int
    kinds: tuple[Kind, ...]
    worst: float
    inputs: int
    refuted: int
    mutants: int
    held: int
    steps: int
    seconds: float

    @property
    def compared(self) -> bool:
        """False if every claim was skipped and no step ran."""
        return self.steps > 0 or any(status is not Status.SKIPPED for status in self.claims)

    @classmethod
    def of(cls, results: Sequence[Result]) -> Totals:
        """The figures of `results`."""
        claims = [result.evidence for result in results if result.evidence is not None]
        steps = [step for result in results for step in result.steps]
        fates = [fate for evidence in claims for fate in evidence.applicable_mutants.values()]
        return cls(
            claims=Counter(evidence.status for evidence in claims),
            failed=sum(result.failed for result in results if result.evidence is not None)
            + sum(not step.holds for step in steps),
            kinds=tuple(kind for kind in Kind if any(kind in evidence.kinds for evidence in claims)),
            worst=max((evidence.worst for evidence in claims), default=0.0),
            inputs=sum(evidence.examples for evidence in claims),
            refuted=fates.count("refuted"),
            mutants=len(fates),
            held=sum(step.holds for step in steps),
            steps=len(steps),
            seconds=sum(result.seconds for result in results),
        )


@dataclass(frozen=True)
class Spent:
    """What a statistical claim spent: at most the alpha of one input times the inputs tried."""

    claim: str
    alpha: float
    inputs: int
    detectable: float | None

    @property
    def total(self) -> float:
        """The bound on the probability that this claim alarms falsely."""
        return min(1.0, self.alpha * self.inputs)


@dataclass(frozen=True)
class Report:
    """A run: its results in the order of the catalogue, and how it was made.

    Attributes:
        results: what was found, also where the run was cut short.
        options: device and settings; `dtype`: as asked for, "float64", "float32" or "both".
        planned: how many tasks there were to do.
        started: when, with time zone; `seconds`: how long it took by the clock.
        interrupted: whether somebody stopped it.
        noun: what the results are grouped by.
    """

    results: tuple[Result, ...]
    planned: int
    options: Options = field(default_factory=Options)
    dtype: str = "float64"
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: float = 0.0
    interrupted: bool = False
    noun: str = "derivation"

    @property
    def derivations(self) -> dict[str, list[Result]]:
        """The results of each derivation, in order."""
        found: dict[str, list[Result]] = {}
        for result in self.results:
            found.setdefault(result.task.derivation, []).append(result)
        return found

    @property
    def totals(self) -> Totals:
        """The figures of the whole run."""
        return Totals.of(self.results)

    @property
    def evidence(self) -> Iterator[tuple[str, Evidence]]:
        """Everything found, with the name of the entry or the step that it belongs to."""
        for result in self.results:
            if result.evidence is not None:
                yield result.task.name, result.evidence
            for step in result.steps:
                yield from ((f"{step.proof}: {step.heading}", evidence) for evidence in step.evidence)

    @property
    def ledger(self) -> list[Spent]:
        """What each statistical claim spent; a step that refutes a mutant cannot alarm falsely and spends nothing."""
        return [
            Spent(name, evidence.alpha, evidence.examples, evidence.detectable)
            for name, evidence in self.evidence
            if evidence.alpha is not None and not evidence.claim.endswith(":refutes")
        ]

    @property
    def exit_code(self) -> int:
        """As pytest's: 0 all holds, 1 something fails, 2 interrupted, 5 nothing was checked."""
        totals = self.totals
        if self.interrupted:
            return 2
        if totals.failed:
            return 1
        return 0 if totals.compared else 5


def verdict(result: Result, evidence: Evidence, options: Options) -> str:
    """The verdict on one claim, the mutants that it should have refuted, and how to repeat the run."""
    lines = [str(evidence)]
    if evidence.status is Status.HOLDS and result.unrefuted:
        lines = [f"UNREFUTED {evidence.title}", f"  subject     {evidence.subject}"]
    if evidence.status is not Status.VACUOUS:
        lines += [f"  mutant      {evidence.mutants[name]}, not refuted: {name}" for name in result.unrefuted]
    if result.task.strict:
        again = f"--seed {evidence.seed} --dtype {evidence.dtype}"
        again += f" --device {evidence.device}" if evidence.device != "cpu" else ""
        again += f" --examples {options.settings.examples}" if options.settings.examples is not None else ""
        lines.append(f"  again       mathcheck verify {result.task.name} {again}")
    return "\n".join(lines)
