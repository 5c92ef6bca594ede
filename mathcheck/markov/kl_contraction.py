r"""How a Markov chain forgets where it started: the Kullback-Leibler divergence to its stationary law only falls.

$\mathrm{KL}(qT\,\|\,p) + \mathrm{KL}(q\,\|\,qTT^*) \le \mathrm{KL}(q\,\|\,p)$ for a transition matrix T that leaves p
invariant, where $T^*_{yx} = p_x T_{xy}/p_y$ is the chain run backwards. A chain in detailed balance has $T^* = T$. What
is lost is itself a divergence, $\sum_y (qT)_y\,\mathrm{KL}(B_y\,\|\,T^*_y)$ with $B_y$ the law of the state before y.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import flint
import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Ball, Kind, Residual, at_most, close, exactly
from mathcheck.engine.strategies import of_each
from mathcheck.markov.exact_chain import Flow, Law, Rows, chain_of, kl, reverse, step
from mathcheck.oracles import arb


def _check_chain(transition: Tensor, **laws: Tensor) -> None:
    arguments.floating(transition=transition, **laws)
    shape, eps = tuple(transition.shape), torch.finfo(transition.dtype).eps
    if transition.ndim < 2 or shape[-1] != shape[-2] or shape[-1] < 1:
        raise ValueError(f"transition must have shape (*batch, n, n) with n >= 1, got {shape}")
    sums = transition.detach().sum(-1)
    if not bool((transition >= 0).all()) or not bool(((sums - 1).abs() <= 4 * shape[-1] * eps).all()):
        raise ValueError(
            f"transition must have rows of numbers >= 0 that sum to 1, got sums {sums.flatten().tolist()[:8]}"
        )
    for name, t in laws.items():
        if tuple(t.shape) != shape[:-1]:
            raise ValueError(f"{name} has shape {tuple(t.shape)}, expected {shape[:-1]}")
        if not bool((t >= 0).all()) or (name == "stationary" and not bool((t > 0).all())):
            least = "above 0" if name == "stationary" else "at least 0"
            raise ValueError(f"{name} must be {least}, got {float(t.min())}")
    if "stationary" in laws:
        p = laws["stationary"].detach()
        off = ((p.unsqueeze(-2) @ transition.detach()).squeeze(-2) / p - 1).abs().amax()
        if not bool(off <= math.sqrt(eps)):
            raise ValueError(
                f"stationary must satisfy pT = p, got a law that a step changes by {float(off):.2g} of itself"
            )


def stationary_distribution(transition: Tensor) -> Tensor:
    r"""The law p with $pT = p$, $\sum_x p_x = 1$, of an irreducible chain, every entry to a few units in the last place.

    States are removed one after the other, and the chain is watched where it remains: sums and products of non-negative
    numbers only, so that nothing cancels, however nearly the chain falls into pieces. The diagonal is not read: it is
    taken for what the rest of the row leaves.

    Args:
        transition: T, `(*batch, n, n)`, non-negative rows that sum to 1.

    Returns:
        `(*batch, n)`, differentiable.

    Raises:
        TypeError, ValueError: if `transition` is no batch of transition matrices, or a chain is certainly reducible.

    References:
        Grassmann, Taksar, Heyman (1985), Regenerative analysis and steady state distributions for Markov chains,
        Operations Research 33. O'Cinneide (1993), Entrywise perturbation theory and error analysis for Markov chains,
        Numerische Mathematik 65.
    """
    _check_chain(transition)
    watched, entries = transition, []
    for k in range(transition.shape[-1] - 1, 0, -1):
        leaving = watched[..., k, :k]
        total = leaving.sum(-1, keepdim=True)
        if not bool((total > 0).all()):
            raise ValueError(f"transition must be irreducible, but states 0 to {k - 1} are not reached from state {k}")
        visits = watched[..., :k, k] / total
        watched = watched[..., :k, :k] + visits.unsqueeze(-1) * leaving.unsqueeze(-2)
        entries.append(visits)
    law = torch.ones_like(transition[..., 0, :1])
    for visits in reversed(entries):
        law = torch.cat((law, (law * visits).sum(-1, keepdim=True)), -1)
    return law / law.sum(-1, keepdim=True)


def time_reversal(transition: Tensor, stationary: Tensor) -> Tensor:
    r"""$T^*_{yx} = p_x T_{xy}/p_y$: the transition matrix of the stationary chain run backwards.

    Args:
        transition: T, `(*batch, n, n)`.
        stationary: p, `(*batch, n)`, positive, with pT = p.

    Returns:
        `(*batch, n, n)`; it leaves p invariant too, and equals T exactly if T is in detailed balance with p.

    Raises:
        TypeError, ValueError: if the arguments are no transition matrices and positive laws of the same shape.
    """
    _check_chain(transition, stationary=stationary)
    return (stationary.unsqueeze(-1) * transition / stationary.unsqueeze(-2)).mT


# 1/(k (k - 1)) with alternating signs from k = 2: the series of ((1 + x) log(1 + x) - x) / x^2, to 1e-17 for |x| <= 1/4.
_SERIES = [(-1) ** k / (k * (k - 1)) for k in range(2, 28)]


def _excess(x: Tensor) -> Tensor:
    r"""$(1 + x)\log(1 + x) - x \ge 0$ for $x \ge -1$, relatively accurate everywhere."""
    small = x.clamp(-0.25, 0.25)
    series = torch.full_like(small, _SERIES[-1])
    for coefficient in reversed(_SERIES[:-1]):
        series = series * small + coefficient
    return torch.where(x.abs() <= 0.25, small * small * series, torch.special.xlog1py(1 + x, x) - x)


def kl_loss(q: Tensor, transition: Tensor, stationary: Tensor) -> Tensor:
    r"""$\mathrm{KL}(q\,\|\,p) - \mathrm{KL}(qT\,\|\,p)$, what one step of the chain loses, without subtracting the two.

    It is $\sum_y (qT)_y\,\mathrm{KL}(B_y\,\|\,T^*_y)$: a sum of terms that are never negative, which keeps its digits near
    stationarity, where both divergences are about $\delta^2$ and their difference is smaller still.

    Args:
        q: `(*batch, n)`, the law before the step.
        transition: T, `(*batch, n, n)`.
        stationary: p, `(*batch, n)`, positive, with pT = p.

    Returns:
        `(*batch,)`, in nats, never negative.

    Raises:
        TypeError, ValueError: if the arguments are no laws and transition matrices of the same shape.
    """
    _check_chain(transition, q=q, stationary=stationary)
    back = time_reversal(transition, stationary)
    d = (q - stationary) / stationary
    e = (back @ d.unsqueeze(-1)).squeeze(-1)
    after = 1 + e
    reached = after > 0
    x = torch.where(reached.unsqueeze(-1), (d.unsqueeze(-2) - e.unsqueeze(-1)) / after.unsqueeze(-1), 0.0)
    joint = (stationary * after.clamp(min=0)).unsqueeze(-1) * back
    return (joint * _excess(x.clamp(min=-1))).sum((-2, -1))


def _flows(*, dyadic: bool = False) -> st.SearchStrategy[Flow]:
    """Flows of stationary chains, as much in as out of every state: sums of cycles, which is what all of them are."""

    def of(n: int) -> st.SearchStrategy[Flow]:
        lengths = st.one_of(st.integers(1, n), st.just(n))
        cycle = st.tuples(st.permutations(range(n)), lengths).map(lambda pair: tuple(pair[0][: pair[1]]))
        cycles = st.lists(st.tuples(cycle, st.integers(1, 5)), min_size=1, max_size=5)
        return cycles.map(lambda weighted: _circulation(n, weighted, dyadic))

    return of_each(st.sampled_from([2, 3, 4, 4]), of)


def _circulation(n: int, cycles: Sequence[tuple[tuple[int, ...], int]], dyadic: bool) -> Flow:
    flow = [[0] * n for _ in range(n)]
    for cycle, weight in cycles:
        for x, y in zip(cycle, (*cycle[1:], cycle[0]), strict=True):
            flow[x][y] += weight
    for x in range(n):
        # A loop changes no other state's balance: it covers states left out, or rounds the row up to a power of two.
        size = sum(flow[x])
        flow[x][x] += (1 << (size - 1).bit_length()) - size if dyadic and size else int(size == 0)
    return tuple(tuple(row) for row in flow)


def _laws(flow: Flow) -> st.SearchStrategy[tuple[int, ...]]:
    free = st.lists(st.integers(0, 6), min_size=len(flow), max_size=len(flow)).filter(any).map(tuple)
    return st.one_of(free, st.just(tuple(sum(row) for row in flow)))


def _cases() -> st.SearchStrategy[tuple[Flow, tuple[int, ...]]]:
    return _flows().flatmap(lambda flow: st.tuples(st.just(flow), _laws(flow)))


Reverse = Callable[[Rows, Law], Rows]


_SLIPS: dict[str, Callable[[Reverse], Reverse]] = {
    "the chain itself is taken for its reversal": lambda f: lambda t, p: t,
    "the transpose is taken, its rows scaled": lambda f: (
        lambda t, p: [[row[y] / sum(r[y] for r in t) for row in t] for y in range(len(t))]
    ),
    "the reversal is that of a uniform law": lambda f: lambda t, p: f(t, [Fraction(1, len(p))] * len(p)),
}


@claim(
    given=lambda f, dtype: _cases(),
    reference=reverse,
    mutants={
        name: _SLIPS[name]
        for name in ("the chain itself is taken for its reversal", "the transpose is taken, its rows scaled")
    },
    examples=80,
)
def divergence_contracts(back: Reverse, flow: Flow, weights: tuple[int, ...]) -> Iterator[Residual]:
    r"""A step towards the stationary law loses at least what running it back would tell.

    $\mathrm{KL}(qT\,\|\,p) + \mathrm{KL}(q\,\|\,qTT^*) \le \mathrm{KL}(q\,\|\,p)$ for every T with pT = p.

    Error bound: the radii of both sides; rational chains, logarithms in ball arithmetic.
    """
    t, p, q = chain_of(flow, weights)
    after = step(q, t)
    both = arb.enclose(lambda: [kl(after, p) + kl(q, step(after, back(t, p))), kl(q, p)])
    left, right = (Ball(both.mid[i], both.radius[i], kind=Kind.ENCLOSED, source=both.source) for i in (0, 1))
    yield at_most(left, right, what="KL(qT, p) + KL(q, qTT*) <= KL(q, p)")


@claim(given=lambda f, dtype: _cases(), reference=reverse, mutants=_SLIPS, examples=80)
def what_is_lost_is_a_divergence(back: Reverse, flow: Flow, weights: tuple[int, ...]) -> Iterator[Residual]:
    r"""What a step loses is how surprised the reversal is by where the chain came from.

    $\mathrm{KL}(q\,\|\,p) = \mathrm{KL}(qT\,\|\,p) + \sum_y (qT)_y\,\mathrm{KL}(B_y\,\|\,T^*_y)$ with $B_{yx} = q_x
    T_{xy}/(qT)_y$.

    Error bound: the radii of both sides.
    """
    t, p, q = chain_of(flow, weights)
    n, after, reversal = range(len(p)), step(q, t), back(t, p)
    came = [[q[x] * t[x][y] / after[y] for x in n] if after[y] else None for y in n]

    def lost() -> Any:
        return sum((arb.exact(after[y]) * kl(row, reversal[y]) for y, row in enumerate(came) if row), flint.arb(0))

    both = arb.enclose(lambda: [kl(after, p) + lost(), kl(q, p)])
    left, right = (Ball(both.mid[i], both.radius[i], kind=Kind.ENCLOSED, source=both.source) for i in (0, 1))
    yield at_most(left, right, what="KL(qT, p) + loss <= KL(q, p)")
    yield at_most(right, left, what="KL(q, p) <= KL(qT, p) + loss")


def is_kept(q: Law, transition: Rows, stationary: Law) -> bool:
    r"""Whether a step keeps the divergence, $\mathrm{KL}(qT\,\|\,p) = \mathrm{KL}(q\,\|\,p)$: whether $qTT^* = q$.

    Raises:
        TypeError, ValueError: as `reverse`.
    """
    arguments.sequences((Fraction, int), stationary=stationary, q=q)
    arguments.same_length(stationary=stationary, q=q)
    return step(step(q, transition), reverse(transition, stationary)) == list(q)


@claim(
    given=lambda f, dtype: _cases(),
    reference=is_kept,
    mutants={
        "it is asked whether T is constant": lambda f: lambda q, t, p: all(list(row) == list(t[0]) for row in t),
        "it is asked whether q is the stationary law": lambda f: lambda q, t, p: list(q) == list(p),
        "it is asked whether q is kept": lambda f: lambda q, t, p: step(q, t) == list(q),
        "the chain is run twice (T for its reversal)": lambda f: lambda q, t, p: step(step(q, t), t) == list(q),
    },
    examples=80,
)
def equality_exactly_if_the_way_back_restores_it(
    kept: Callable[[Law, Rows, Law], bool], flow: Flow, weights: tuple[int, ...]
) -> Iterator[Residual]:
    r"""Nothing is lost exactly if running the chain back restores the law: $\mathrm{KL}(qT\,\|\,p) =
    \mathrm{KL}(q\,\|\,p) \iff qTT^* = q$.

    Error bound: none; a loss counts as one if its ball, of radius below $10^{-21}$ of the divergences, lies above 0.
    """
    t, p, q = chain_of(flow, weights)
    both = arb.enclose(lambda: [kl(step(q, t), p), kl(q, p)])
    lost = float(both.mid[1] - both.mid[0]) > float(both.radius.sum()) + 4 * math.ulp(float(both.mid.amax()))
    yield exactly(bool(kept(q, t, p)), not lost, kind=Kind.ENCLOSED, what="nothing is lost")


def _transitions(dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
    """Irreducible chains of two to four states, some nearly in pieces."""
    entry = st.sampled_from([1.0, 0.5, 0.3, 2.0, 1e-3, 2.0**-20, 1e-9])

    def of(n: int) -> st.SearchStrategy[Tensor]:
        return st.lists(entry, min_size=n * n, max_size=n * n).map(
            lambda e: (lambda t: t / t.sum(-1, keepdim=True))(torch.tensor(e, dtype=dtype).reshape(n, n))
        )

    return of_each(st.integers(2, 4), of)


def _solved(transition: Tensor) -> list[Fraction]:
    """The stationary law of the chain with these entries off the diagonal, by exact elimination."""
    n = transition.shape[-1]
    off = [
        [Fraction(0) if x == y else Fraction(v) for y, v in enumerate(row)] for x, row in enumerate(transition.tolist())
    ]
    rows = [[off[x][y] - (sum(off[x]) if x == y else 0) for x in range(n)] for y in range(n - 1)] + [[Fraction(1)] * n]
    matrix = flint.fmpq_mat([[flint.fmpq(v.numerator, v.denominator) for v in row] for row in rows])
    solution = matrix.solve(flint.fmpq_mat(n, 1, [0] * (n - 1) + [1]))
    return [Fraction(int(solution[x, 0].p), int(solution[x, 0].q)) for x in range(n)]


@claim(
    given=lambda f, dtype: _transitions(dtype).map(lambda t: (t,)),
    reference=stationary_distribution,
    mutants={
        "it is found by least squares (small entries drown)": lambda f: _by_least_squares,
        "the chain's transpose is taken": lambda f: lambda t: f(t.mT / t.mT.sum(-1, keepdim=True)),
        "it is not normalised": lambda f: lambda t: 2 * f(t),
    },
)
def stationary_law_is_solved_for(stationary: Callable[[Tensor], Tensor], transition: Tensor) -> Iterator[Residual]:
    r"""The stationary law is solved for: $pT = p$, $\sum_x p_x = 1$.

    Error bound: $4n^2$ roundings of each entry, however small: sums and products of n non-negative numbers, n times. The
    oracle solves the same system in rational numbers.
    """
    true = [arb.exact(x) for x in _solved(transition)]
    ball = arb.to_ball(true, "exact elimination in rational numbers")
    yield close(stationary(transition), ball, ulps=4 * len(true) ** 2, what="the stationary law")


def _by_least_squares(transition: Tensor) -> Tensor:
    n = transition.shape[-1]
    system = torch.cat((transition.mT - torch.eye(n).to(transition), torch.ones(1, n).to(transition)))
    right = torch.zeros(n + 1, 1).to(transition)
    right[-1] = 1.0
    solution: Tensor = torch.linalg.lstsq(system, right).solution[:, 0]
    return solution


def _near_or_far(dtype: torch.dtype) -> st.SearchStrategy[tuple[Flow, Tensor]]:
    """A flow whose chain has no rounding, and a law near to its stationary one or anywhere."""
    digits = 20 if dtype == torch.float32 else 45

    def law(flow: Flow, steps: list[int], power: int) -> tuple[Flow, Tensor]:
        p = torch.tensor([sum(row) / sum(map(sum, flow)) for row in flow], dtype=dtype)
        return flow, p * (1 + 2.0**-power * torch.tensor(steps[: len(flow)], dtype=dtype))

    steps = st.lists(st.integers(-4, 8), min_size=4, max_size=4)
    return st.builds(law, _flows(dyadic=True), steps, st.integers(2, digits))


@claim(
    given=lambda f, dtype: _near_or_far(dtype),
    reference=kl_loss,
    mutants={
        "the divergences are subtracted": lambda f: _subtracted,
        "the chain is taken for its reversal": lambda f: lambda q, t, p: f(q, time_reversal(t, p), p),
        "half of it is lost": lambda f: lambda q, t, p: f(q, t, p) / 2,
        "it is the divergence from q to qT": lambda f: (
            lambda q, t, p: torch.special.xlogy(q, q / (q.unsqueeze(-2) @ t).squeeze(-2)).sum(-1)
        ),
    },
)
def loss_is_the_difference(loss: Callable[..., Tensor], flow: Flow, q: Tensor) -> Iterator[Residual]:
    r"""The loss is the difference of the two divergences, to the last digits: $\mathrm{KL}(q\,\|\,p) -
    \mathrm{KL}(qT\,\|\,p)$.

    Error bound: with $d = q/p - 1$, $e = T^* d$, 16 roundings of the value and of $\sum_{xy} (qT)_y T^*_{yx}\lvert\log(1 +
    d_x) - \log(1 + e_y)\rvert(\lvert d_x\rvert + (T^*\lvert d\rvert)_y)/(1 + e_y)$, by which rounding d moves it. The chain
    has entries without rounding, so that p is stationary.
    """
    n = range(len(flow))
    exact_t, _, _ = chain_of(flow, [1] * len(flow))
    t = torch.tensor([[float(v) for v in row] for row in exact_t], dtype=q.dtype, device=q.device)
    p = torch.tensor([sum(row) / sum(map(sum, flow)) for row in flow], dtype=q.dtype, device=q.device)
    laws = [[Fraction(v) for v in law.tolist()] for law in (q, p)]
    after = step(laws[0], exact_t)
    true = arb.enclose(lambda: kl(laws[0], laws[1]) - kl(after, laws[1]), source="rational laws, logarithms in balls")
    d = [q_x / p_x - 1 for q_x, p_x in zip(*laws, strict=True)]
    back = reverse(exact_t, laws[1])
    e, size = step(d, list(zip(*back, strict=True))), step([abs(x) for x in d], list(zip(*back, strict=True)))
    scale = abs(float(true.mid))
    for y in n:
        for x in n:
            if back[y][x] and after[y]:
                ratio = float((1 + d[x]) / (1 + e[y]))
                move = float((abs(d[x]) + size[y]) / (1 + e[y]))
                scale += float(after[y] * back[y][x]) * move * (abs(math.log(ratio)) if ratio > 0 else 1.0)
    yield close(loss(q, t, p), true, ulps=16, scale=scale, what="KL(q, p) - KL(qT, p)")
    yield at_most(-loss(q, t, p), 0.0, what="the loss is not negative")


def _subtracted(q: Tensor, t: Tensor, p: Tensor) -> Tensor:
    after = (q.unsqueeze(-2) @ t).squeeze(-2)
    difference: Tensor = (torch.special.xlogy(q, q / p) - torch.special.xlogy(after, after / p)).sum(-1)
    return difference
