"""Times kernels: verified first, then all contenders in turn, round after round, beside what the machine can do."""

from __future__ import annotations

import functools
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.benchmark import Timer

from mathcheck.bench import kernel as kernels
from mathcheck.bench.kernel import OURS, PLAIN, Call, Kernel, Size
from mathcheck.engine.claim import Settings
from mathcheck.engine.evidence import Status
from mathcheck.linear.kernels.product import product as linear_product
from mathcheck.runner import catalogue


@dataclass(frozen=True)
class Machine:
    """What the numbers were taken on.

    Attributes:
        device: its name. `torch`: the version. `threads`: used on the CPU.
        copy: bytes a second, read and written, of a copy beyond every cache.
        product: floating-point operations a second of a large matrix product, by dtype.
    """

    device: str
    torch: str
    threads: int
    copy: float
    product: Mapping[str, float]


@dataclass(frozen=True)
class Timing:
    """How one contender did at one size.

    Attributes:
        name: of the contender.
        seconds: of a call, the median over the rounds; `quartiles` of the same.
        ratio: how many times as fast as the plain code in the same round, the median over the rounds, and `ratios` the
            quartiles; `None` without plain code.
        error: the largest error as a multiple of its bound; above 1 the result is wrong.
        first: seconds of preparing and of the first call, where compiling happens.
        peak: bytes allocated at once beyond the inputs during a call, as torch sees it.
    """

    name: str
    seconds: float
    quartiles: tuple[float, float]
    ratio: float | None
    ratios: tuple[float, float] | None
    error: float
    first: float
    peak: int | None


@dataclass(frozen=True)
class Measurement:
    """One kernel at one size.

    Attributes:
        kernel: its name; `title`, for people. `size`, `dtype`.
        floor: seconds that the machine needs for the work alone, at its speed of copying and multiplying.
        timings: of every contender that did not fail.
        failures: contender -> what it raised.
    """

    kernel: str
    title: str
    size: Size
    dtype: str
    floor: float
    timings: tuple[Timing, ...]
    failures: Mapping[str, str]

    def of(self, name: str) -> Timing | None:
        """The timing of a contender."""
        return next((t for t in self.timings if t.name == name), None)


class Unverified(AssertionError):
    """A claim of the kernel's derivation does not hold: nothing of it is timed."""


@functools.cache
def verify(derivation: str, dtype: torch.dtype, device: str) -> int:
    """Checks the claims of a derivation; returns how many hold.

    Raises:
        Unverified: if one does not.
    """
    held = 0
    for entry in catalogue.entries():
        if entry.derivation == derivation:
            evidence = entry.verify(dtype=dtype, device=device, settings=Settings(examples=10))
            if evidence.status is Status.VACUOUS or evidence.status is Status.HOLDS:
                held += 1
            elif evidence.status is not Status.SKIPPED:
                raise Unverified(str(evidence))
    return held


def machine(device: str, threads: int) -> Machine:
    """Measures the machine: the best of a few copies, and of products in single and double precision by two libraries."""
    big = device.startswith("cuda")
    source = torch.ones(2**28 if big else 2**25, device=device)
    target = torch.empty_like(source)
    copy = 2 * source.nbytes / _best(lambda: target.copy_(source), threads)
    product = {}
    for dtype in (torch.float32, torch.float64):
        n = 4096 if big else 1024
        a, b = torch.ones(n, n, dtype=dtype, device=device), torch.ones(n, n, dtype=dtype, device=device)
        calls = [functools.partial(multiply, a, b) for multiply in (torch.matmul, linear_product)]
        product[str(dtype)] = 2 * n**3 / min(_best(call, threads) for call in calls)
    name = torch.cuda.get_device_name(device) if big else _processor()
    return Machine(name, torch.__version__, threads, copy, product)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            named = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        named = ""
    return f"{named or platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _best(call: Call, threads: int) -> float:
    return min(_seconds(call, 3, threads) for _ in range(5))


def _seconds(call: Call, number: int, threads: int) -> float:
    """Seconds of a call, the mean of `number` in a row; waits for the device before and after."""
    timer = Timer("call()", globals={"call": call}, num_threads=threads)
    return float(timer.timeit(number).mean)


def measure(
    kernel: Kernel,
    size: Size,
    *,
    machine: Machine,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    peers: bool = True,
    rounds: int = 9,
    least: float = 0.02,
    tell: Callable[[str], None] = lambda name: None,
) -> Measurement:
    """Times every contender of a kernel that is present, in turn, `rounds` times; each result is verified before.

    Args:
        kernel, size: what.
        machine: what `machine` measured.
        device, dtype: where and in what precision; the kernel's own dtype by default.
        peers: whether packages beside torch take part.
        rounds: how often each contender has its turn.
        least: seconds that a turn takes at least, in as many calls as that needs.
        tell: called with the name of each contender before it is prepared.
    """
    dtype = dtype or kernel.dtype
    calls: dict[str, Call] = {}
    first, errors, failures = dict[str, float](), dict[str, float](), dict[str, str]()
    # What was compiled for other kernels and sizes counts towards a limit, beyond which nothing is compiled any more.
    torch.compiler.reset()
    with _threads(machine.threads):
        for name, contender in kernel.present(device, peers=peers).items():
            tell(name)
            inputs = kernel.problem(size, device, dtype)
            try:
                start = time.perf_counter()
                call = contender.prepare(*inputs)
                result = call()
                _wait(device)
                first[name] = time.perf_counter() - start
                errors[name] = max(r.ratio for r in kernel.residuals(inputs, result))
                calls[name] = call
            except Exception as error:  # a contender's failure is a finding, and the others go on
                failures[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        peaks = {name: peak_bytes(call, device) for name, call in calls.items()}
        numbers = {name: _repetitions(call, least, machine.threads) for name, call in calls.items()}
        taken: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(rounds):
            # Each round begins with another contender: what disturbs the machine disturbs all alike.
            names = [*calls][turn % len(calls) :] + [*calls][: turn % len(calls)] if calls else []
            for name in names:
                taken[name].append(_seconds(calls[name], numbers[name], machine.threads))
    work = kernel.work(size)
    floor = max(work.numbers * dtype.itemsize / machine.copy, work.flops / machine.product[str(dtype)])
    timings = [_timing(name, taken, first[name], errors[name], peaks[name]) for name in calls]
    return Measurement(kernel.name, kernel.title, size, str(dtype), floor, tuple(timings), failures)


def every_size(
    name: str,
    *,
    machine: Machine,
    device: str,
    dtype: torch.dtype | None,
    peers: bool,
    rounds: int,
    tick: Callable[[], object] = lambda: None,
) -> list[Measurement]:
    """Verifies the claims behind a kernel of the catalogue, and measures it at each of its sizes.

    Args:
        name: of the kernel. The others: as for `measure`.
        tick: called after the claims, and after each size.

    Raises:
        Unverified: if a claim does not hold.
    """
    kernel = kernels.catalogue()[name]
    verify(kernel.derivation, dtype or kernel.dtype, device)
    tick()
    found = []
    for size in kernel.sizes_on(device):
        found.append(measure(kernel, size, machine=machine, device=device, dtype=dtype, peers=peers, rounds=rounds))
        tick()
    return found


def _timing(name: str, taken: Mapping[str, list[float]], first: float, error: float, peak: int | None) -> Timing:
    own = taken[name]
    low, median, high = statistics.quantiles(own, n=4)
    if PLAIN not in taken:
        return Timing(name, median, (low, high), None, None, error, first, peak)
    ratios = [plain / mine for plain, mine in zip(taken[PLAIN], own, strict=True)]
    bottom, middle, top = statistics.quantiles(ratios, n=4)
    return Timing(name, median, (low, high), middle, (bottom, top), error, first, peak)


class _threads:  # noqa: N801
    """Torch's threads set inside, and put back after."""

    def __init__(self, number: int) -> None:
        self.number, self.before = number, torch.get_num_threads()

    def __enter__(self) -> None:
        torch.set_num_threads(self.number)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.before)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _repetitions(call: Call, least: float, threads: int) -> int:
    """How many calls take `least` seconds, judged from a few that doubled in number."""
    number = 1
    while True:
        seconds = _seconds(call, number, threads)
        if seconds * number >= least / 4 or number >= 2**16:
            return max(1, min(2**16, math.ceil(least / max(seconds, 1e-9))))
        number *= 4


def peak_bytes(call: Call, device: str) -> int | None:
    """The most bytes that torch has allocated at once during a call, beyond what was there before; `None` if it cannot tell."""
    if device.startswith("cuda"):
        _wait(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result = call()
        _wait(device)
        del result
        return int(torch.cuda.max_memory_allocated(device) - before)
    # The profiler tells standard error when it starts and stops, unless it is told not to before its first use.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        result = call()
    del result
    changes: Sequence[Any] = profile.profiler.kineto_results.events() if profile.profiler else ()
    level = peak = 0
    for event in sorted((e for e in changes if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        level += event.nbytes()
        peak = max(peak, level)
    return peak or None


def exponent(measurements: Sequence[Measurement], kernel: Kernel, name: str = OURS) -> float | None:
    """The slope of log time over log work, by least squares over the sizes; `None` for fewer than two."""
    points = []
    for m in measurements:
        timing = m.of(name)
        if timing is not None:
            work = kernel.work(m.size)
            points.append((math.log(work.numbers + work.flops), math.log(timing.seconds)))
    if len({x for x, _ in points}) < 2:
        return None
    return statistics.linear_regression(*zip(*points, strict=True)).slope
