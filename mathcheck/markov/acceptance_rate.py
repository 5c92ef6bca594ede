r"""How often Hamiltonian Monte Carlo accepts on a standard normal, exactly: an oracle for any implementation of it.

$P(\text{accepted}) = 1 - \tfrac2\pi\arctan\dfrac{\epsilon^2\lvert\sin L\varphi\rvert}{8\sqrt{1 - \epsilon^2/4}}$ for step
size $\epsilon < 2$ and L steps, $\sin\tfrac\varphi2 = \tfrac\epsilon2$; for one step it is $1 - \tfrac2\pi\arctan(\epsilon^3/8)$.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import flint
import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Residual, close
from mathcheck.markov.hamiltonian import Transition, hmc_step
from mathcheck.oracles import arb, statistics


def gaussian_acceptance_rate(step_size: Tensor, steps: int) -> Tensor:
    r"""$1 - \tfrac2\pi\arctan\dfrac{\epsilon^2\,\lvert\sin L\varphi\rvert}{8\sqrt{1 - \epsilon^2/4}}$, $\sin\tfrac\varphi2
    = \tfrac\epsilon2$: the exact rate at which HMC accepts on $\mathcal N(0, 1)$.

    Leapfrog turns the ellipse $p^2 + (1 - \epsilon^2/4) q^2$ by the angle $\varphi$ a step.

    Args:
        step_size: $\epsilon$, `(*batch,)`, in (0, 2).
        steps: L, at least 1.

    Returns:
        `(*batch,)`, in (0, 1].

    Raises:
        TypeError, ValueError: if a step size is not a floating number in (0, 2), or there is no step.
    """
    arguments.floating(step_size=step_size)
    arguments.at_least(1, steps=steps)
    if not bool(((step_size > 0) & (step_size < 2)).all()):
        raise ValueError(f"step_size must lie in (0, 2), got {step_size.flatten().tolist()[:8]}")
    half = step_size.double() / 2
    ratio = half * half * (2 * steps * half.asin()).sin().abs() / (2 * ((1 - half) * (1 + half)).sqrt())
    return (1 - 2 / math.pi * ratio.atan()).to(step_size.dtype)


Rate = Callable[[Tensor, int], Tensor]


def _turn(step_size: flint.arb, steps: int) -> list[list[flint.arb]]:
    """The matrix of leapfrog on the oscillator, multiplied out."""
    zero, unit = flint.arb(0), flint.arb(1)
    kick, drift = [[unit, zero], [-step_size / 2, unit]], [[unit, step_size], [zero, unit]]

    def times(a: list[list[flint.arb]], b: list[list[flint.arb]]) -> list[list[flint.arb]]:
        return [[a[i][0] * b[0][j] + a[i][1] * b[1][j] for j in (0, 1)] for i in (0, 1)]

    matrix = one = times(kick, times(drift, kick))
    for _ in range(steps - 1):
        matrix = times(one, matrix)
    return matrix


def gaussian_average(step_size: float, steps: int, power: int = 0) -> flint.arb:
    r"""$\mathbb E[q^{2k}\min(1, e^{-\Delta H})]$, k = `power` = 0 or 1, for a trajectory from $\mathcal N(0, I_2)$: an oracle.

    With $(q, p) = \sqrt{2E}\,(\cos\theta, \sin\theta)$ the energy E is exponential and the angle uniform, and $\Delta H =
    E g(\theta)$ with $g = m + \rho\cos(2\theta - \psi)$. The mean over E is $1/(1 + g^+)$, or $2\cos^2\theta/(1 + g^+)^2$; that
    over the angle is integrated in ball arithmetic, at the current precision, up to where g vanishes.

    Args:
        step_size: in (0, 2).
        steps: at least 1.
        power: 0 or 1.

    Raises:
        TypeError, ValueError: for numbers that are not so.
    """
    arguments.between(0, 2, step_size=step_size)
    arguments.at_least(1, steps=steps)
    arguments.between(-1, 2, power=power)
    (a, b), (c, d) = _turn(arb.exact(step_size), steps)
    first, mixed, second = a * a + c * c - 1, a * b + c * d, b * b + d * d - 1
    middle, half = (first + second) / 2, (first - second) / 2
    reach = (half * half + mixed * mixed).sqrt()
    if reach == 0:
        return flint.arb(1)
    turn, zero = half / reach, (-middle / reach).acos()

    def weight(u: arb.Scalar) -> arb.Scalar:
        return 1 + turn * u.cos() if power else 1 + 0 * u

    def gaining(u: arb.Scalar) -> arb.Scalar:
        return weight(u) / (1 + middle + reach * u.cos()) ** (1 + power)

    pi = flint.arb.pi()
    return (arb.integral(gaining, 0, zero) + arb.integral(weight, zero, pi)) / pi


@claim(
    given=lambda rate, dtype: st.tuples(
        st.one_of(st.sampled_from([1.0, 1.5, 2.0**-10, 1.9]), st.floats(2.0**-10, 1.9375, width=32)).map(
            lambda e: torch.tensor(e, dtype=dtype)
        ),
        st.integers(1, 6),
    ),
    reference=gaussian_acceptance_rate,
    mutants={
        "the angle is the step size times the number of steps": lambda rate: (
            lambda e, steps: 1 - 2 / math.pi * (e * e * (steps * e).sin().abs() / (8 * (1 - e * e / 4).sqrt())).atan()
        ),
        "the ellipse is taken for a circle": lambda rate: (
            lambda e, steps: 1 - 2 / math.pi * (e * e * (2 * steps * (e / 2).asin()).sin().abs() / 8).atan()
        ),
        "it is squared": lambda rate: lambda e, steps: rate(e, steps).square(),
        "one more step is taken": lambda rate: lambda e, steps: rate(e, steps + 1),
    },
    examples=40,
)
def acceptance_rate_is_the_expectation(rate: Rate, step_size: Tensor, steps: int) -> Iterator[Residual]:
    r"""The closed form of the acceptance rate on a standard normal is its expectation.

    $1 - \tfrac2\pi\arctan\dfrac{\epsilon^2\lvert\sin L\varphi\rvert}{8\sqrt{1 - \epsilon^2/4}} = \mathbb E\min(1,
    e^{-\Delta H})$.

    Error bound: 8 roundings of 1, and of the tangent times $1 + L\varphi$, by which the sine's argument carries them; the
    oracle is a certified integral over the angle, with leapfrog's matrix multiplied out.
    """
    with arb.precision(90):
        true = arb.to_ball(gaussian_average(float(step_size), steps), "certified integral over the angle")
    half = float(step_size) / 2
    tangent = half * half / (2 * math.sqrt(1 - half * half))
    scale = 1 + tangent * (1 + 2 * steps * math.asin(half))
    yield close(rate(step_size, steps), true, scale=scale, what="the acceptance rate")


Step = Callable[..., Transition]


@claim(
    given=lambda step, dtype: st.tuples(
        st.just(torch.zeros((), dtype=dtype)),
        st.integers(0, 2**31 - 1),
        st.sampled_from([1.0, 1.5, 1.75]),
        st.integers(1, 4),
    ),
    reference=hmc_step,
    mutants={
        "one more step is taken": lambda step: lambda f, x, g, e, steps: step(f, x, g, e, steps + 1),
        "the step size is halved": lambda step: lambda f, x, g, e, steps: step(f, x, g, e / 2, steps),
        "every proposal is accepted": lambda step: lambda f, x, g, e, steps: step(lambda q: 0 * f(q), x, g, e, steps),
        "the root of the density is taken": lambda step: (
            lambda f, x, g, e, steps: step(lambda q: f(q) / 2, x, g, e, steps)
        ),
    },
    examples=8,
)
def accepts_at_the_exact_rate(step: Step, unit: Tensor, seed: int, step_size: float, steps: int) -> Iterator[Residual]:
    r"""On a standard normal the step accepts at the exact rate: $P(\text{accepted}) = 1 - \tfrac2\pi\arctan(\dots)$.

    Error bound: the exact binomial test with 20,000 chains started from the normal, at $\alpha = 10^{-6}$.
    """
    generator, n = torch.Generator(device=unit.device).manual_seed(seed), 20_000
    start = torch.empty((n, 1), dtype=unit.dtype, device=unit.device).normal_(generator=generator)
    accepted = int(step(lambda q: -(q * q).sum(-1) / 2, start, generator, step_size, steps).accepted.sum())
    rate = float(gaussian_acceptance_rate(torch.tensor(step_size, dtype=torch.float64), steps))
    yield statistics.binomial(accepted, n, rate, what=f"acceptance rate, step size {step_size}, {steps} steps")
