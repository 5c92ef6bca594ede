"""mathcheck tests itself: false alarms and power of its statistical checks, and which law refutes which slip."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from typing import Any

from mathcheck.adapters import KINDS
from mathcheck.engine.claim import Claim, Settings, laws, verify
from mathcheck.engine.evidence import Status
from mathcheck.oracles.calibration import Calibration, Rate, calibrate, trials
from mathcheck.runner import catalogue
from mathcheck.runner.run import processes


@dataclass(frozen=True)
class LawAlarms:
    """How often a statistical law called a correct subject of the catalogue wrong, over fresh seeds.

    Attributes:
        name: of the law on its subject.
        alarms: how often, of how many runs; promised is the sum of the levels of all comparisons of one run.
    """

    name: str
    alarms: Rate


@dataclass(frozen=True)
class Kill:
    """What the laws of a kind say about one slip.

    Attributes:
        slip: in words; "it holds once ..." would name it.
        verdicts: law -> "refuted", "holds", "crashed", or "not applicable" where nothing was compared.
    """

    slip: str
    verdicts: dict[str, str]

    @property
    def killed(self) -> bool:
        """True if some law refutes it by a comparison."""
        return "refuted" in self.verdicts.values()


@dataclass(frozen=True)
class KillMatrix:
    """Laws against slips, for one kind, on subjects of the catalogue.

    Attributes:
        kind: its name.
        titles: law -> the law in words.
        kills: a row for each slip.
    """

    kind: str
    titles: dict[str, str]
    kills: tuple[Kill, ...]


Part = Calibration | LawAlarms | KillMatrix

# Seconds of work for the draws of a law: fewer than usual, since there are many runs, and enough to refute the slips.
_BUDGET = 0.3


def _short(claim: Claim) -> str:
    return claim.name.rsplit(".", 1)[-1]


def _bare(claim: Claim) -> Claim:
    """The law alone: neither mutants nor a diagnosis."""
    return dataclasses.replace(claim, mutants={}, repairs={})


def calibration(name: str, runs: int, seed: int) -> list[Part]:
    """The calibration of one statistical test, by the name of its trial."""
    return [calibrate(trial, runs=runs, seed=seed) for trial in trials() if trial.name == name]


def law_alarms(repeats: int, seed: int) -> list[Part]:
    """Runs every statistical law on its correct subjects, `repeats` times with seeds of their own."""
    found: list[Part] = []
    for entry in catalogue.entries():
        once = Settings(examples=1, seed=seed, shrink=False, accuracy="full", budget=_BUDGET)
        first = verify(_bare(entry.claim), entry.subject, settings=once)
        if first.alpha is None:
            continue
        statuses = [
            verify(_bare(entry.claim), entry.subject, settings=dataclasses.replace(once, seed=seed + k)).status
            for k in range(1, repeats + 1)
        ]
        promised = min(1.0, first.alpha * first.compared)
        found.append(LawAlarms(entry.name, Rate(statuses.count(Status.REFUTED), repeats, promised, True)))
    return found


def kill_matrix(kind: str, examples: int, seed: int) -> list[Part]:
    """Every law of a kind on every slip that one of them knows, on the first subject where the slip changes something."""
    record = KINDS[kind]
    found = laws(record)
    known = {id(e.subject): e.subject for e in catalogue.entries() if type(e.subject) is record}
    subjects = list(known.values())
    slips = {slip: mutate for law in found for slip, mutate in law.mutants.items()}
    settings = Settings(examples=examples, seed=seed, shrink=False, accuracy="full", budget=_BUDGET)
    kills = tuple(
        Kill(slip, {_short(law): _verdict(law, mutate, subjects, settings) for law in found})
        for slip, mutate in slips.items()
    )
    return [KillMatrix(kind, {_short(law): law.title for law in found}, kills)] if subjects else []


def _verdict(law: Claim, mutate: Callable[[Any], Any], subjects: Sequence[Any], settings: Settings) -> str:
    """The strongest verdict of a law on a slip; a law that two subjects do not show it on does not see it."""
    names = {Status.REFUTED: "refuted", Status.HOLDS: "holds", Status.ERROR: "crashed"}
    settings = dataclasses.replace(settings, examples=min(settings.examples or law.examples, law.examples))
    said: list[str] = []
    for subject in subjects:
        try:
            wrong = mutate(subject)
        except NotImplementedError:
            continue
        said.append(names.get(verify(_bare(law), wrong, settings=settings).status, "not applicable"))
        if said[-1] == "refuted" or said.count("holds") == 2:
            break
    return next((name for name in names.values() if name in said), "not applicable")


def jobs(
    kinds: Sequence[str], *, runs: int = 2000, repeats: int = 20, examples: int = 25, seed: int = 0
) -> list[tuple[Callable[..., list[Part]], tuple[Any, ...]]]:
    """What there is to do: each a function and its arguments.

    Args:
        kinds: whose laws to set against their slips.
        runs: samples for each rate of a statistical test.
        repeats: seeds for each statistical law.
        examples: inputs for each law and slip.
        seed: of everything.

    Raises:
        ValueError: if a kind is unknown.
    """
    if strangers := [kind for kind in kinds if kind not in KINDS]:
        raise ValueError(f"kind must be one of {', '.join(sorted(KINDS))}, got {strangers[0]!r}")
    found: list[tuple[Callable[..., list[Part]], tuple[Any, ...]]] = [(law_alarms, (repeats, seed))]
    found += [(kill_matrix, (kind, examples, seed)) for kind in kinds]
    return found + [(calibration, (trial.name, runs, seed)) for trial in trials()]


def run(
    todo: Sequence[tuple[Callable[..., list[Part]], tuple[Any, ...]]], workers: int = 1
) -> Generator[tuple[int, list[Part]]]:
    """Does the jobs and yields (place in `todo`, what was found) as they finish."""
    if workers == 1:
        yield from ((place, job(*arguments)) for place, (job, arguments) in enumerate(todo))
        return
    with processes(workers) as pool:
        running = {pool.submit(job, *arguments): place for place, (job, arguments) in enumerate(todo)}
        for future in as_completed(running):
            yield running[future], future.result()
