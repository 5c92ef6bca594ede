"""Time limits count the processor's time, and leave other people's timers running."""

from __future__ import annotations

import signal
import time
from types import FrameType

import pytest
import torch

from mathcheck.engine.guard import SubjectHangs, _time_limit


def spin(seconds: float) -> None:
    start = time.process_time()
    while time.process_time() - start < seconds:
        pass


def test_a_busy_loop_ends_after_its_share_of_the_processor() -> None:
    torch.set_num_threads(1)
    with (
        pytest.raises(SubjectHangs, match=r"f did not return within 0\.2 s of the processor's time"),
        _time_limit(0.2, "f"),
    ):
        spin(30)


def test_waiting_is_no_work_but_ends_too() -> None:
    with _time_limit(0.2, "f"):
        time.sleep(0.5)
    with pytest.raises(SubjectHangs, match="f did not return within 1 s by the clock"), _time_limit(0.1, "f"):
        time.sleep(30)


def test_a_timer_that_is_running_fires_and_keeps_its_time() -> None:
    fired: list[float] = []

    def ring(signum: int, frame: FrameType | None) -> None:
        fired.append(time.monotonic())

    before = signal.signal(signal.SIGALRM, ring)
    start = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        while not fired and time.monotonic() - start < 5:
            with _time_limit(10, "f"):
                time.sleep(0.01)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert signal.getsignal(signal.SIGALRM) is ring
        signal.signal(signal.SIGALRM, before)
    assert 0.25 < fired[0] - start < 2


def test_timers_and_handlers_are_put_back() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGPROF)]
    with _time_limit(10, "f"):
        pass
    assert [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGPROF)] == handlers
    assert signal.getitimer(signal.ITIMER_REAL) == signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
