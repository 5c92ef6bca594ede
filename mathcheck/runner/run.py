"""The runner: verifies entries of the catalogue and runs proofs, here or in worker processes, and loses nothing."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    as_completed,
    wait,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mathcheck.engine.claim import Claim, Settings, verify
from mathcheck.engine.evidence import Evidence, Status
from mathcheck.runner import catalogue, index, proofs
from mathcheck.runner.proofs import StepResult

DIED = "the worker process died: it was killed, ran out of memory, or crashed in native code"


@dataclass(frozen=True)
class Options:
    """How a run looks: the device of the inputs, and how hard to search."""

    device: str = "cpu"
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class Task:
    """One entry or one proof to run, in plain data: it is found again by name in a worker, since claims do not pickle.

    Attributes:
        name: of the entry, or the proof, in the catalogue.
        derivation: what it belongs to, e.g. "divergence.gaussian_kl".
        claim, title: the claim's name and the law in words; of a proof, its name.
        attribute: the subject's name in its module; `None` for a claim's own reference.
        proof: path of the proof to run; `None` for an entry.
        dtype: of the inputs; a proof chooses its own.
        strict: every mutant must be refuted; false where the subject is somebody else's.
    """

    name: str
    derivation: str
    claim: str
    title: str
    attribute: str | None = None
    proof: str | None = None
    dtype: str = "float64"
    strict: bool = True


@dataclass(frozen=True)
class Result:
    """What one task gave: the evidence of an entry, or the steps of a proof."""

    task: Task
    evidence: Evidence | None = None
    steps: tuple[StepResult, ...] = ()
    seconds: float = 0.0

    @property
    def unrefuted(self) -> list[str]:
        """The mutants that were not refuted, where they must be."""
        fates = self.evidence.applicable_mutants if self.evidence is not None and self.task.strict else {}
        return [name for name, fate in fates.items() if fate != "refuted"]

    @property
    def failed(self) -> bool:
        """True if the claim is refuted, vacuous or in error, a mutant is not refuted, or a step does not hold."""
        if self.evidence is None:
            return not all(step.holds for step in self.steps)
        return self.evidence.status.fails or (self.evidence.status is Status.HOLDS and bool(self.unrefuted))


def tasks(
    keep: Callable[[str], bool] = lambda name: True,
    *,
    among: Sequence[str] = (),
    dtypes: Sequence[str] = ("float64",),
    with_proofs: bool = True,
) -> list[Task]:
    """What there is to do, derivation by derivation: the entries, then the proof.

    Args:
        keep: of a name, whether to take it.
        among: names of the catalogue that hold everything to keep, so that the rest is not imported.
        dtypes: names of the dtypes to verify in; a subject that has its own is verified in that one only.
        with_proofs: whether to run proofs too.

    Raises:
        ValueError: if two entries of the catalogue have the same name, so that one would hide the other.
    """
    found: dict[str, list[Task]] = {}
    entries = catalogue.entries(*among)
    names = [entry.name for entry in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"the catalogue has two entries called {twice[0]!r}, expected every name once")
    for entry in entries:
        own = getattr(entry.subject, "dtype", None)
        for dtype in [str(own).removeprefix("torch.")] if isinstance(own, torch.dtype) else dtypes:
            task = Task(entry.name, entry.derivation, entry.claim.name, entry.claim.title, entry.attribute, None, dtype)
            found.setdefault(entry.derivation, []).extend([task] if keep(entry.name) else [])
    for name, path in index.proofs().items() if with_proofs else ():
        task = Task(name, name, name, f"proof of {name}", proof=_short(path))
        found.setdefault(name, []).extend([task] if keep(name) else [])
    topics = {topic: place for place, topic in enumerate(index.TOPICS)}
    order = sorted(found, key=lambda name: topics.get(name.split(".")[0], len(topics)))
    return [task for derivation in order for task in found[derivation]]


def _short(path: Path) -> str:
    """`path` as a reader of the terminal would type it."""
    with contextlib.suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)


def perform(task: Task, options: Options) -> Result:
    """Runs one task; whatever it raises, short of an interrupt, becomes a result with the status `ERROR`."""
    start = time.perf_counter()
    try:
        if task.proof is not None:
            steps = tuple(proofs.run(task.proof, settings=options.settings))
            return Result(task, steps=steps, seconds=time.perf_counter() - start)
        entry = next(entry for entry in catalogue.entries(task.name) if entry.name == task.name)
        evidence = entry.verify(dtype=getattr(torch, task.dtype), device=options.device, settings=options.settings)
    except (Exception, SystemExit) as error:
        return failure(task, options, _explain(error), time.perf_counter() - start)
    return Result(task, evidence, seconds=time.perf_counter() - start)


def judge(
    subject: Any, claims: Sequence[Claim], *, name: str, origin: str, dtypes: Sequence[str], options: Options
) -> tuple[list[Task], Generator[Result]]:
    """The tasks of verifying claims on somebody's own subject, and the iterator that does it, in this process.

    Args:
        subject: the implementation under test.
        claims: what to verify.
        name: of the subject; `origin`: the Python statement that makes it.
        dtypes: names of the dtypes to verify in; a subject that has its own is verified in that one only.
        options: how.
    """
    own = getattr(subject, "dtype", None)
    used = [str(own).removeprefix("torch.")] if isinstance(own, torch.dtype) else dtypes
    pairs = [
        (claim, Task(claim.name, name, claim.name, claim.title, dtype=dtype, strict=False))
        for claim in claims
        for dtype in used
    ]

    def results() -> Generator[Result]:
        for claim, task in pairs:
            try:
                evidence = verify(
                    claim,
                    subject,
                    dtype=getattr(torch, task.dtype),
                    device=options.device,
                    settings=options.settings,
                    name=name,
                    origin=origin,
                )
            except (Exception, SystemExit) as error:
                yield failure(task, options, _explain(error))
            else:
                yield Result(task, evidence, seconds=evidence.seconds)

    return [task for _, task in pairs], results()


def _explain(error: BaseException) -> str:
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({at.filename}:{at.lineno})"


def failure(task: Task, options: Options, reason: str, seconds: float = 0.0) -> Result:
    """The result of a task that could not be run to its end."""
    if task.proof is not None:
        return Result(
            task, steps=(StepResult(task.name, "(the proof)", 1, (), f"{task.proof}:1: {reason}"),), seconds=seconds
        )
    subject = f"{task.derivation}.{task.attribute}" if task.attribute else f"reference of {task.claim}"
    subject = subject if task.strict else task.derivation
    evidence = Evidence(
        task.claim,
        task.title,
        "",
        subject,
        Status.ERROR,
        reason=reason,
        seconds=seconds,
        dtype=task.dtype,
        device=options.device,
        seed=options.settings.seed,
    )
    return Result(task, evidence, seconds=seconds)


def run(
    todo: Sequence[Task],
    options: Options | None = None,
    *,
    workers: int = 1,
    executor: Executor | None = None,
) -> Generator[Result]:
    """Runs tasks and yields their results as they finish.

    Closing the iterator early, or an interrupt, stops the workers that were started here. With workers, one that dies
    costs only the task that killed it: those that ran beside it are run again, each alone.

    Args:
        todo: what to run.
        options: how.
        workers: processes to use; 1 runs everything here, one after the other.
        executor: anything with the `concurrent.futures` interface, to use instead; it must know the same catalogue, and
            run one task at a time in a process, since all threads share torch's random numbers. If it breaks, every
            task that it has not answered is an error.

    Raises:
        ValueError: if `workers` is below 1.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    options = options or Options()
    if executor is not None:
        return _in_executor(todo, options, executor)
    if workers == 1 or len(todo) <= 1:
        return (perform(task, options) for task in todo)
    return _in_processes(todo, options, workers)


def _answer(future: Future[Result], task: Task, options: Options) -> Result:
    """The result of a finished future; a broken executor and an interrupt are passed on."""
    try:
        return future.result()
    except BrokenExecutor:
        raise
    except Exception as error:
        return failure(task, options, _explain(error))


def _in_executor(todo: Iterable[Task], options: Options, executor: Executor) -> Generator[Result]:
    running: dict[Future[Result], Task] = {}
    try:
        for task in todo:
            try:
                running[executor.submit(perform, task, options)] = task
            except BrokenExecutor as error:
                yield failure(task, options, str(error) or DIED)
        for future in as_completed(running):
            try:
                yield _answer(future, running[future], options)
            except BrokenExecutor as error:
                yield failure(running[future], options, str(error) or DIED)
    finally:
        for future in running:
            future.cancel()


def _in_processes(todo: Iterable[Task], options: Options, workers: int) -> Generator[Result]:
    waiting = deque(todo)
    while waiting:
        # Never more tasks than workers are handed out, so that a death leaves few suspects.
        suspects: list[Task] = []
        running: dict[Future[Result], Task] = {}
        with processes(workers) as pool:
            while (waiting or running) and not suspects:
                while waiting and len(running) < workers:
                    task = waiting.popleft()
                    try:
                        running[_submit(pool, task, options)] = task
                    except BrokenExecutor:
                        suspects.append(task)
                        break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    task = running.pop(future)
                    try:
                        yield _answer(future, task, options)
                    except BrokenExecutor:
                        suspects.append(task)
            suspects += running.values()
        for task in suspects:
            yield _alone(task, options) if len(suspects) > 1 else failure(task, options, DIED)


def _alone(task: Task, options: Options) -> Result:
    with processes(1) as pool:
        try:
            return _answer(_submit(pool, task, options), task, options)
        except BrokenExecutor:
            return failure(task, options, DIED)


def _submit(pool: Executor, task: Task, options: Options) -> Future[Result]:
    """Hands out a task with interrupts held back: a worker that is started here inherits that, and stays silent."""
    if not hasattr(signal, "pthread_sigmask"):
        return pool.submit(perform, task, options)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(perform, task, options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


# By hand, since a pool of loky 3.7.0 breaks as a whole too when a worker dies, so that it would save six lines here; its
# worker takes 2.7 s to its first answer instead of 1.9 s, and prints a traceback if interrupted while it starts.
@contextlib.contextmanager
def processes(workers: int) -> Iterator[Executor]:
    """Fresh worker processes, which are gone when the block is left, whatever they were doing."""
    before = {process.pid for process in multiprocessing.active_children()}
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            if process.pid not in before:
                process.kill()
