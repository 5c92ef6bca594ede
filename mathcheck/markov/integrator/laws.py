"""The laws of an integrator, and `check_integrator`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import strategies
from mathcheck.engine.check import check
from mathcheck.engine.claim import Settings, claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.guard import SubjectFault, SubjectHangs
from mathcheck.engine.residual import Ball, Kind, Residual, Undecided, close, exactly
from mathcheck.engine.strategies import Interval
from mathcheck.markov.integrator import slips
from mathcheck.markov.integrator.record import Integrator, Step
from mathcheck.markov.potentials import OSCILLATOR, Potential
from mathcheck.oracles import derivative


def _given(
    i: Integrator, dtype: torch.dtype, *, steps: int = 6, smallest: int = 6, rows: int = 6, only: str | None = None
) -> st.SearchStrategy[tuple[str, Tensor, Tensor, float, int]]:
    """Potential, position, momentum, step size (a power of two from 1/2 down to 2^-smallest) and number of steps."""
    batches = [shape for shape in i.batch_shapes if math.prod(shape) <= rows] or [min(i.batch_shapes, key=math.prod)]

    def of(name: str) -> st.SearchStrategy[tuple[str, Tensor, Tensor, float, int]]:
        shapes = st.sampled_from([(*batch, i.potential(name).n) for batch in batches])
        moderate = Interval(reach=3.0)
        phase = strategies.of_each(shapes, lambda s: st.tuples(*[strategies.tensors(s, dtype, moderate)] * 2))
        sizes = st.integers(1, smallest).map(lambda k: 2.0**-k)
        return st.tuples(st.just(name), phase, sizes, st.integers(1, steps)).map(lambda t: (t[0], *t[1], t[2], t[3]))

    return strategies.of_each(st.sampled_from([u.name for u in i.potentials if only in (None, u.name)]), of)


def _size(t: Tensor) -> Tensor:
    """Euclidean length `(*batch,)` in float64."""
    wide = t.detach().double().cpu()
    # The squares of numbers below 1e-162 would be 0, and with them every bound.
    largest = wide.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    return (wide / largest).square().sum(-1).sqrt() * largest.squeeze(-1)


def _rounding(i: Integrator, u: Potential, q: Tensor, p: Tensor, e: float, steps: int) -> Tensor:
    r"""Largest size of what is rounded in a step, times how far a rounding may grow, times the number of steps.

    A kick by $h$ stretches a difference of two states by at most $1 + h\lVert\nabla^2 U\rVert$, a drift by $1 + h$, so
    a step by at most $e^{\epsilon(1 + K)}$ and the trajectory by $e^{L\epsilon(1 + K)}$.
    """
    largest = torch.zeros(q.shape[:-1], dtype=torch.float64)
    for _ in range(steps + 1):
        largest = largest.maximum(_size(q) + _size(p) + e * (_size(u.gradient(q)) + u.curvature * _size(q)))
        q, p = i.step(u, q, p, e, 1)
        if q.shape[:-1] != largest.shape:
            return torch.full_like(largest, math.inf)
    growth: Tensor = largest * steps * math.exp(steps * e * (1 + u.curvature))
    return growth.unsqueeze(-1)


@claim(given=_given, mutants={**slips.HALF_STEPS, **slips.EULER, **slips.FRICTION}, repairs=slips.REPAIRS, examples=40)
def reversible(i: Integrator, name: str, q: Tensor, p: Tensor, e: float, steps: int) -> Iterator[Residual]:
    r"""Flipping the momentum runs it backwards: $\Phi(F\Phi(q, p)) = F(q, p)$ with $F(q, p) = (q, -p)$.

    Error bound: 8 roundings a step of the largest state met, each grown by $e^{L\epsilon(1 + K)}$ at most, where K bounds
    the Hessian (there, and on the way back).
    """
    u = i.potential(name)
    there = i.step(u, q, p, e, steps)
    back = i.step(u, there[0], -there[1], e, steps)
    scale = _rounding(i, u, q, p, e, steps).expand(q.shape)
    for what, got, start in (("position", back[0], q), ("momentum", -back[1], p)):
        yield close(got, start, ulps=8, scale=scale, what=f"the {what} after going there and back on {u.name}")


@claim(
    given=lambda i, dtype: _given(i, dtype, steps=3, smallest=3, rows=1),
    mutants={**slips.EULER, **slips.FRICTION},
    repairs=slips.REPAIRS,
    examples=15,
)
def volume_preserving(i: Integrator, name: str, q: Tensor, p: Tensor, e: float, steps: int) -> Iterator[Residual]:
    r"""It preserves volume in phase space: $\lvert\det \partial\Phi/\partial(q, p)\rvert = 1$.

    Error bound: the perturbation of the determinant by the errors of its Jacobian, found twice: by autograd (where it
    reaches through the subject) and by extrapolated differences.
    """
    u = i.potential(name)
    q, p = (t.reshape(-1, u.n)[0] for t in (q, p))

    def flow(z: Tensor) -> Tensor:
        return torch.cat(slips.single(i, u, z[: u.n], z[u.n :], e, steps))

    for jacobian in (derivative.jacobian, derivative.difference_jacobian):
        try:
            found = derivative.log_abs_det(jacobian(flow, torch.cat((q, p))))
        except Undecided:
            continue
        yield close(torch.zeros((), dtype=q.dtype), found, what=f"log|det| on {u.name}")


@claim(
    given=_given,
    mutants={**slips.SIGN, **slips.FRICTION},
    repairs={**slips.BACKWARDS, **slips.REPAIRS},
    examples=40,
)
def negative_steps_go_back(i: Integrator, name: str, q: Tensor, p: Tensor, e: float, steps: int) -> Iterator[Residual]:
    r"""Steps of negative size go back in time: $\Phi_{-\epsilon} = F\,\Phi_\epsilon F = \Phi_\epsilon^{-1}$.

    With $F(q, p) = (q, -p)$. So all that the other laws say of steps forwards holds of steps back. An integrator that
    refuses a negative step size, by an exception, is not judged by this law.

    Error bound: as in `reversible`.
    """
    u = i.potential(name)
    there = i.step(u, q, p, e, steps)
    flipped = i.step(u, q, -p, e, steps)
    try:
        back, undone = i.step(u, q, p, -e, steps), i.step(u, *there, -e, steps)
    except SubjectHangs:
        raise
    except SubjectFault as refusal:
        raise NotImplementedError(f"it takes no negative step size: {refusal}") from refusal
    rounding = _rounding(i, u, q, p, e, steps)
    scales = [s.expand(q.shape) for s in (rounding.maximum(_rounding(i, u, q, -p, e, steps)), rounding)]
    for what, got, expected in (("position", back[0], flipped[0]), ("momentum", back[1], -flipped[1])):
        yield close(got, expected, ulps=8, scale=scales[0], what=f"the {what} after steps of -{e} on {u.name}")
    for what, got, start in (("position", undone[0], q), ("momentum", undone[1], p)):
        yield close(got, start, ulps=8, scale=scales[1], what=f"the {what} after {steps} steps of {e} and of -{e}")


@claim(
    given=lambda i, dtype: _given(i, dtype, smallest=4),
    mutants={**slips.HALF_STEPS, **slips.COUNT},
    repairs=slips.REPAIRS,
    examples=40,
)
def steps_compose(i: Integrator, name: str, q: Tensor, p: Tensor, e: float, steps: int) -> Iterator[Residual]:
    r"""Many steps are one after the other: $\Phi_L = \Phi_1 \circ \dots \circ \Phi_1$.

    Error bound: as in `reversible`, for two ways of getting there.
    """
    u = i.potential(name)
    whole = i.step(u, q, p, e, steps + 1)
    last_apart = i.step(u, *i.step(u, q, p, e, steps), e, 1)
    one_by_one = (q, p)
    for _ in range(steps + 1):
        one_by_one = i.step(u, *one_by_one, e, 1)
    scale = _rounding(i, u, q, p, e, steps + 1).expand(q.shape)
    for k, what in enumerate(("position", "momentum")):
        for how, other in (("one by one", one_by_one), ("the last apart", last_apart)):
            yield close(whole[k], other[k], ulps=8, scale=scale, what=f"the {what} after {steps + 1} steps, {how}")


@claim(
    given=lambda i, dtype: _given(i, dtype, steps=1, smallest=8).map(lambda z: z[:4]),
    mutants={
        **slips.HALF_STEPS,
        **slips.FORCE,
        **slips.COUNT,
        "the step size is halved": lambda i: replace(i, step=lambda u, q, p, e, steps: i.step(u, q, p, e / 2, steps)),
    },
    repairs=slips.REPAIRS,
    examples=60,
)
def a_step_is_right_to_second_order(i: Integrator, name: str, q: Tensor, p: Tensor, e: float) -> Iterator[Residual]:
    r"""A step follows the true motion to second order in the step size.

    $q' = q + \epsilon p - \tfrac12\epsilon^2\nabla U(q) + O(\epsilon^3)$ and
    $p' = p - \tfrac12\epsilon[\nabla U(q) + \nabla U(q + \epsilon p)] + O(\epsilon^3)$.

    Error bound: with K and M bounding the second and third derivative, the terms of third order of a step made of kicks
    and drifts are at most half of $\epsilon^3(K(\lvert p\rvert + \lvert\nabla U\rvert) + M\lvert p\rvert^2)$ each (a quarter
    for one force a step); 8 roundings.
    """
    u = i.potential(name)
    moved = i.step(u, q, p, e, 1)
    wide_q, wide_p = q.double(), p.double()
    gradient = u.gradient(wide_q)
    true = (
        wide_q + e * wide_p - e * e / 2 * gradient,
        wide_p - e / 2 * (gradient + u.gradient(wide_q + e * wide_p)),
    )
    third = e**3 / 2 * (u.curvature * (_size(p) + _size(gradient)) + u.bend * _size(p) ** 2)
    scale = _rounding(i, u, q, p, e, 1).expand(q.shape)
    for k, what in enumerate(("position", "momentum")):
        ball = Ball(true[k], third.unsqueeze(-1).expand(q.shape), kind=Kind.NUMERICAL, source="Taylor's theorem")
        yield close(moved[k], ball, ulps=8, scale=scale, what=f"the {what} after a step on {u.name}")


@claim(
    given=lambda i, dtype: _given(i, dtype, steps=10, smallest=8),
    mutants={**slips.HALF_STEPS, **slips.FORCE, **slips.FRICTION},
    repairs=slips.REPAIRS,
    examples=40,
)
def energy_error_is_of_second_order(
    i: Integrator, name: str, q: Tensor, p: Tensor, e: float, steps: int
) -> Iterator[Residual]:
    r"""The energy is kept to second order in the step size: $\lvert H(\Phi_L(q, p)) - H(q, p)\rvert \le C L\epsilon^3$.

    Error bound: the true motion keeps the energy, and a step misses it by at most $\sqrt2\,\epsilon^3 (K(\lvert p\rvert +
    \lvert\nabla U\rvert) + M\lvert p\rvert^2)$ (half of that for the step's third order, half for the motion's), which
    changes the energy by at most that times $\lvert\nabla U\rvert + \lvert p\rvert$; all at their largest on the way,
    times $1 + \epsilon(1 + K)$ for what lies between two steps; 8 roundings of the energies.
    """
    u = i.potential(name)
    end = i.step(u, q, p, e, steps)
    largest = [torch.zeros(q.shape[:-1], dtype=torch.float64) for _ in range(2)]
    state = (q, p)
    for _ in range(steps + 1):
        largest = [old.maximum(_size(x)) for old, x in zip(largest, (u.gradient(state[0]), state[1]), strict=True)]
        state = i.step(u, *state, e, 1)
    force, speed = ((1 + e * (1 + u.curvature)) * x for x in largest)
    local = math.sqrt(2) * e**3 * (u.curvature * (speed + force) + u.bend * speed**2) * (force + speed)
    before, after = u.energy(q.double(), p.double()), u.energy(end[0].double(), end[1].double())
    scale = _rounding(i, u, q, p, e, steps).squeeze(-1) * (force + speed) + before.abs().cpu()
    eps = torch.finfo(q.dtype).eps
    yield close(
        after,
        Ball(before, steps * local + 8 * eps * scale, kind=Kind.NUMERICAL, source="the energy before"),
        what=f"the energy after {steps} steps on {u.name}",
    )


@claim(
    given=lambda i, dtype: _given(replace(i, potentials=(OSCILLATOR,)), dtype, steps=12, smallest=4),
    mutants={**slips.HALF_STEPS, **slips.EULER, "drifts and kicks are exchanged": slips.other_scheme},
    repairs={**slips.DECLARED, **slips.REPAIRS},
    examples=50,
)
def keeps_the_shadow_energy_of_the_oscillator(
    i: Integrator, name: str, q: Tensor, p: Tensor, e: float, steps: int
) -> Iterator[Residual]:
    r"""On the oscillator it keeps a nearby energy exactly: $p^2 + (1 - \epsilon^2/4) q^2$.

    That is what half a kick, a drift and half a kick keep; a half drift first keeps $(1 - \epsilon^2/4) p^2 + q^2$.

    Error bound: 8 roundings a step, grown as in `reversible`, times twice the size of the state.
    """
    if i.starts_with is None or OSCILLATOR not in i.potentials:
        raise NotImplementedError("the scheme is another, or it does not take the oscillator")

    def shadow(q: Tensor, p: Tensor) -> Tensor:
        squares = [(t.double() ** 2).sum(-1) for t in (q, p)]
        stretch = 1 - e * e / 4
        return stretch * squares[0] + squares[1] if i.starts_with == "kick" else squares[0] + stretch * squares[1]

    end = i.step(OSCILLATOR, q, p, e, steps)
    size = _rounding(i, OSCILLATOR, q, p, e, steps).squeeze(-1) * 2 * (_size(q) + _size(p))
    ball = Ball(shadow(q, p), 8 * torch.finfo(q.dtype).eps * size, kind=Kind.NUMERICAL, source="the value before")
    yield close(shadow(*end), ball, what=f"the shadow energy after {steps} steps")


@claim(
    given=lambda i, dtype: _given(i, dtype, steps=2, smallest=2),
    mutants={
        **slips.BATCH,
        **slips.DTYPE,
    },
    repairs=slips.REPAIRS,
    examples=40,
)
def trajectories_are_independent(
    i: Integrator, name: str, q: Tensor, p: Tensor, e: float, steps: int
) -> Iterator[Residual]:
    r"""Every trajectory of a batch is computed alone, and keeps its shape and dtype: $\Phi(q, p)_b = \Phi(q_b, p_b)$.

    Error bound: 0 for shape and dtype; otherwise as in `steps_compose`.
    """
    u = i.potential(name)
    moved = i.step(u, q, p, e, steps)
    rows = slips.row_by_row(i).step(u, q, p, e, steps)
    scale = _rounding(i, u, q, p, e, steps).expand(q.shape)
    for what, got, alone in zip(("position", "momentum"), moved, rows, strict=True):
        yield exactly(tuple(got.shape), tuple(q.shape), kind=Kind.NUMERICAL, what=f"the shape of the {what}")
        yield exactly(got.dtype, q.dtype, kind=Kind.NUMERICAL, what=f"the dtype of the {what}")
        yield close(got, alone, ulps=8, scale=scale, what=f"the {what} of a trajectory in its batch on {u.name}")


def check_integrator(
    integrator: Integrator | Step,
    *,
    expected_failures: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> list[Evidence]:
    """Judges an integrator of Hamilton's equations by every law that Monte Carlo needs of it.

    Args:
        integrator: an `Integrator`, or the function `step(potential, position, momentum, step_size, steps)` that one
            would hold.
        expected_failures, settings, dtype, device: as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample, the true value and a diagnosis.
        TypeError: if `integrator` is neither a record nor a function.
    """
    if not isinstance(integrator, Integrator):
        if not callable(integrator):
            raise TypeError(f"integrator must be an Integrator or a function, got {type(integrator).__name__}")
        integrator = Integrator(integrator)
    return check(
        integrator, laws(Integrator), expected_failures=expected_failures, settings=settings, dtype=dtype, device=device
    )
