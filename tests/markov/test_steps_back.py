"""Integrators that lose the sign of the step size are refuted; those that keep it, or refuse a negative one, are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mathcheck import Integrator, Potential, Settings
from mathcheck.engine.claim import verify
from mathcheck.engine.evidence import Status
from mathcheck.markov.integrator import Step, negative_steps_go_back

QUICK = Settings(examples=20)
Phase = tuple[Tensor, Tensor]
Size = Callable[[float], float]


def _keep(e: float) -> float:
    return e


def leapfrog(kick: Size = _keep, drift: Size = _keep, last: Size = _keep) -> Step:
    def step(u: Potential, q: Tensor, p: Tensor, e: float, steps: int) -> Phase:
        for _ in range(steps):
            p = p - kick(e) / 2 * u.gradient(q)
            q = q + drift(e) * p
            p = p - last(e) / 2 * u.gradient(q)
        return q, p

    return step


def drift_first(u: Potential, q: Tensor, p: Tensor, e: float, steps: int) -> Phase:
    for _ in range(steps):
        q = q + e / 2 * p
        p = p - e * u.gradient(q)
        q = q + e / 2 * p
    return q, p


def refusing(u: Potential, q: Tensor, p: Tensor, e: float, steps: int) -> Phase:
    if e <= 0:
        raise ValueError("the step size must be positive")
    return leapfrog()(u, q, p, e, steps)


def until_the_time_is_over(u: Potential, q: Tensor, p: Tensor, e: float, steps: int) -> Phase:
    time = 0.0
    while time < steps * e:
        q, p = leapfrog()(u, q, p, e, 1)
        time += abs(e)
    return q, p


WRONG: dict[str, Step] = {
    "its absolute value is taken": leapfrog(abs, abs, abs),
    "its absolute value is taken in the drift": leapfrog(drift=abs),
    "its absolute value is taken in the last kick": leapfrog(last=abs),
    "it is clamped from below": leapfrog(*[lambda e: max(e, 1e-3)] * 3),
    "no step is taken": until_the_time_is_over,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_lost_sign_is_refuted(name: str) -> None:
    evidence = verify(negative_steps_go_back, Integrator(WRONG[name]), settings=QUICK)
    assert evidence.status is Status.REFUTED
    assert evidence.diagnosis == "a negative step is a positive one between two flips of the momentum"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_right_ones_go_back(dtype: torch.dtype) -> None:
    for subject in (Integrator(leapfrog()), Integrator(drift_first, starts_with="drift")):
        assert verify(negative_steps_go_back, subject, dtype=dtype, settings=QUICK).status is Status.HOLDS


def test_the_oscillator_goes_back() -> None:
    q, p = leapfrog()(Potential("", lambda q: q, lambda q: q, 1, 1.0, 0.0), torch.ones(1), torch.zeros(1), -0.1, 1)
    assert torch.allclose(q, torch.tensor([0.995]))
    assert torch.allclose(p, torch.tensor([0.09975]))


def test_a_refusal_is_no_wrong_answer() -> None:
    evidence = verify(negative_steps_go_back, Integrator(refusing), settings=QUICK)
    assert evidence.status is Status.SKIPPED
    assert "takes no negative step size" in (evidence.reason or "")
