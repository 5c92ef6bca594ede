r"""What every variational form of an f-divergence must satisfy, and the well-known ones.

$\mathbb E_P[g_f(V)] - \mathbb E_Q[f^*(g_f(V))] \le D_f(P, Q)$ for every function V, where $f^*(s) = \sup_{u\ge 0}(us - f(u))$
and the activation $g_f$ maps the reals into the domain of $f^*$. Equality holds if $g_f(V)$ is a subgradient of f at p/q.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Unpack

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.divergence import f_divergence as family
from mathcheck.divergence.f_divergence import FDivergence
from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import Options, check, claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Residual, at_most, close
from mathcheck.engine.strategies import Interval
from mathcheck.oracles import arb

Elementwise = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class VariationalForm:
    r"""How a critic's output V becomes a lower bound of an f-divergence.

    Args:
        activation: $g_f$, elementwise on real V.
        penalty: $V \mapsto f^*(g_f(V))$ in one function, which is safe where $f^*$ after $g_f$ is not.
        optimal: $(p, q) \mapsto V$ with which the bound is attained, for positive p and q; entries may be infinite.
        divergence: the divergence bounded, with its f.
        conjugate: $f^*$ inside its domain, for balls.
        exact_activation: $g_f$ for balls.
    """

    activation: Elementwise
    penalty: Elementwise
    optimal: Callable[[Tensor, Tensor], Tensor]
    divergence: FDivergence
    conjugate: Callable[[Any], Any]
    exact_activation: Callable[[Any], Any]


def variational_bound(form: VariationalForm, v: Tensor, p: Tensor, q: Tensor) -> Tensor:
    r"""$\sum_i p_i\,g_f(v_i) - \sum_i q_i f^*(g_f(v_i))$, at most $D_f(P, Q)$ whatever v is.

    With samples for p and q it is the objective of an f-GAN, to be maximised by the critic.

    Args:
        form: activation and penalty.
        v: `(*batch, n)`, what a critic says of each outcome.
        p: `(*batch, n)`, a distribution, or weights 1/n of a sample.
        q: like p.

    Returns:
        `(*batch,)`, differentiable in v.

    Raises:
        TypeError, ValueError: if the three are not floating tensors of one shape, dtype and device.

    References:
        Nguyen, Wainwright, Jordan (2010), Estimating divergence functionals and the likelihood ratio by convex risk
        minimization, lemma 1. Nowozin, Cseke, Tomioka (2016), f-GAN, section 2.4.
    """
    arguments.instances(VariationalForm, form=form)
    arguments.alike(v=v, p=p, q=q)
    arguments.vectors(v=v)
    return (p * form.activation(v) - q * form.penalty(v)).sum(-1)


def _slope(f: Elementwise, v: Tensor) -> Tensor:
    """The size of the derivative at v, by autograd: it only scales a bound, and counts as 0 where f has none."""
    leaf = v.double().clone().requires_grad_()
    value = f(leaf)
    if not value.requires_grad:
        return torch.zeros_like(leaf)
    return torch.autograd.grad(value.sum(), leaf)[0].nan_to_num().abs()


def _size(form: VariationalForm, v: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """Magnitude of the bound's terms, which cancel, and of what a rounding of v changes in them."""
    moved = torch.where(v.isfinite(), v, 0.0).double().abs()
    reward, penalty = (f(v.double()).abs() + moved * _slope(f, v) for f in (form.activation, form.penalty))
    return (p.double() * reward + q.double() * penalty).sum(-1)


def _cases(form: VariationalForm, dtype: torch.dtype) -> st.SearchStrategy[Any]:
    """What a critic says, and a pair of distributions."""

    def of(n: int) -> st.SearchStrategy[Any]:
        critic = strategies.tensors((n,), dtype, Interval(reach=8.0))
        return st.tuples(critic, family.pairs(form.divergence, dtype, (n,)))

    return st.sampled_from([2, 3]).flatmap(of).map(lambda t: (t[0], *t[1]))


def _positive(form: VariationalForm, dtype: torch.dtype) -> st.SearchStrategy[Any]:
    weights = st.sampled_from([2, 3]).flatmap(
        lambda n: st.tuples(*[strategies.tensors((n,), dtype, st.sampled_from([1.0, 2.0, 5.0, 0.01, 30.0]))] * 2))  # fmt: skip
    return weights.map(lambda pair: tuple(t / t.sum() for t in pair))


Slip = Callable[[VariationalForm], VariationalForm]


def _not_activated(form: VariationalForm) -> VariationalForm:
    probe = torch.tensor([-1.0, 0.25], dtype=torch.float64)
    if torch.equal(form.activation(probe), probe):
        raise NotImplementedError("the activation is the identity")

    def printed(v: Tensor) -> Tensor:
        # f* as its formula has it, also where it is not f*, or has no value.
        values = [form.conjugate(arb.exact(x)) for x in v.detach().flatten().tolist()]
        numbers = [float(x.mid()) if x.is_finite() else math.nan for x in values]
        return torch.tensor(numbers, dtype=v.dtype).reshape(v.shape).to(v)

    return replace(form, penalty=printed)


def _optimum(change: Callable[[Tensor], Tensor]) -> Slip:
    return lambda form: replace(form, optimal=lambda p, q: change(form.optimal(p, q)))


def _exchanged(form: VariationalForm) -> VariationalForm:
    probe = torch.tensor([-1.0, 0.25], dtype=torch.float64)
    if torch.equal(form.activation(probe), form.penalty(probe)):
        raise NotImplementedError("reward and penalty are the same function")
    return replace(form, activation=form.penalty, penalty=form.activation)


def _activated(form: VariationalForm) -> VariationalForm:
    """What is written for numbers in the domain of the conjugate is given the activated critic."""

    def both(x: float) -> tuple[float, float]:
        at = arb.exact(x)
        slope = arb.gradient(lambda xs: form.exact_activation(xs[0]), [at])[0]
        return float(form.exact_activation(at).mid()), float(slope.mid())

    def activated(v: Tensor) -> Tensor:
        finite = v.clamp(-700.0, 700.0)
        pairs = torch.tensor([both(x) for x in finite.detach().flatten().tolist()], dtype=torch.float64).to(v)
        value, slope = (part.reshape(v.shape) for part in pairs.unbind(-1))
        return value + slope * (finite - finite.detach())

    return replace(
        form, activation=lambda v: form.activation(activated(v)), penalty=lambda v: form.penalty(activated(v))
    )


_REPAIRS: dict[str, Slip] = {"the output activation is applied to the critic": _activated}
_MISSING: dict[str, Slip] = {"the activation is missing in the penalty": _not_activated}
_ADDED: dict[str, Slip] = {"the penalty is added": lambda form: replace(form, penalty=lambda v: -form.penalty(v))}
_HALVED: dict[str, Slip] = {"the penalty is halved": lambda form: replace(form, penalty=lambda v: form.penalty(v) / 2)}


@claim(
    given=_cases,
    examples=60,
    repairs=_REPAIRS,
    mutants=_MISSING | _ADDED | {"reward and penalty are exchanged": _exchanged},
)
def never_exceeds_the_divergence(form: VariationalForm, v: Tensor, p: Tensor, q: Tensor) -> Iterator[Residual]:
    r"""Whatever the critic says, the bound is one.

    $\mathbb E_P[g_f(V)] - \mathbb E_Q[f^*(g_f(V))] \le D_f(P, Q)$.

    Error bound: 16 roundings of the terms and of their change under a rounding of v; the divergence is enclosed.
    """
    true = family.enclosed(form.divergence, p, q)
    if not bool(true.mid.isfinite()):
        return
    bound = variational_bound(form, v, p, q)
    yield at_most(bound, true, ulps=16, scale=_size(form, v, p, q), what="the bound <= D(p, q)")


@claim(given=_positive, examples=60, mutants={
    "the optimal V is cut off at 1/2": _optimum(lambda v: v.clamp(-0.5, 0.5)),
    "the optimal V is negated": _optimum(lambda v: -v),
    "p and q are exchanged in the optimal V": lambda form: replace(form, optimal=lambda p, q: form.optimal(q, p)),
    **_ADDED, **_HALVED,
}, repairs=_REPAIRS)  # fmt: skip
def attained_at_the_optimal_critic(form: VariationalForm, p: Tensor, q: Tensor) -> Iterator[Residual]:
    r"""The bound is attained where the activated critic is a subgradient of f at the ratio of the distributions.

    $\sup_V \mathbb E_P[g_f(V)] - \mathbb E_Q[f^*(g_f(V))] = D_f(P, Q)$.

    Error bound: 32 roundings of the terms and of their change under a rounding of v. The definition in ball arithmetic
    takes p and q as they are; they sum to 1 up to rounding, and the identity holds for any positive numbers.
    """
    v = form.optimal(p, q)
    true = family.enclosed(form.divergence, p, q)
    scale = _size(form, v, p, q) + true.mid.abs()
    yield close(variational_bound(form, v, p, q), true, ulps=32, scale=scale, what="the bound at the optimal V")


@claim(given=lambda form, dtype: strategies.tensors((3,), dtype, Interval(reach=15.0)).map(lambda v: (v,)), examples=60,
       mutants=_MISSING | _ADDED | _HALVED, repairs=_REPAIRS)  # fmt: skip
def penalty_is_the_conjugate_of_the_activation(form: VariationalForm, v: Tensor) -> Iterator[Residual]:
    r"""The penalty is the conjugate at the activation: $\mathrm{penalty}(v) = f^*(g_f(v))$.

    Error bound: 8 roundings of the value and of its change under a rounding of v, plus the oracle's radius.
    """
    balls = [arb.exact(x) for x in v.tolist()]
    for name, function, exact in (
        ("g(v)", form.activation, form.exact_activation),
        ("f*(g(v))", form.penalty, lambda x: form.conjugate(form.exact_activation(x))),
    ):
        true = arb.enclose(lambda e=exact: [e(x) for x in balls], source="conjugate in ball arithmetic")  # type: ignore[misc]
        yield close(function(v), true, scale=true.mid.abs() + v.double().abs() * _slope(function, v), what=name)


@claim(given=lambda form, dtype: st.tuples(strategies.log_uniform(1e-3, 1e3), st.floats(-6, 6)), examples=60, mutants={
    "the conjugate's sign is changed": lambda form: replace(form, conjugate=lambda s: -form.conjugate(s)),
    "the conjugate is halved": lambda form: replace(form, conjugate=lambda s: form.conjugate(s) / 2),
    "1/8 is subtracted from the conjugate": lambda form: replace(form, conjugate=lambda s: form.conjugate(s) - 0.125),
})  # fmt: skip
def fenchel_and_young(form: VariationalForm, u: float, v: float) -> Iterator[Residual]:
    r"""A function and its conjugate together exceed the product: $f(u) + f^*(s) \ge us$ for $s = g_f(v)$.

    With equality for $s = g_f(V)$ at the optimal V of a ratio u, where that is finite.

    Error bound: the radius of the ball. At the optimal V, known in double precision only, the gap is of second order: 64
    roundings of the three terms.
    """

    def gap(at: float) -> Any:
        s = form.exact_activation(arb.exact(at))
        return form.divergence.generator(arb.exact(u)) + form.conjugate(s) - arb.exact(u) * s

    yield at_most(0.0 * torch.zeros(()).double(), arb.to_ball(_precise(lambda: gap(v))), what="0 <= f(u) + f*(s) - us")
    best = form.optimal(torch.tensor([u], dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    if bool(best.isfinite().all()):
        ratio = float(best[0])
        s = form.exact_activation(arb.exact(ratio))
        size = abs(float(form.conjugate(s).mid())) + u * abs(float(s.mid())) + 1
        yield close(float(_precise(lambda: gap(ratio)).mid()), 0.0, ulps=64, scale=size, what="f(u) + f*(s) - us = 0")


def _precise(compute: Callable[[], Any]) -> Any:
    with arb.precision(256):
        return compute()


def check_variational_form(form: VariationalForm, **options: Unpack[Options]) -> list[Evidence]:
    r"""Judges activation, penalty and optimal critic of a variational f-divergence by every law.

    Args:
        form: the functions, with the f-divergence that they bound.
        options: `expected_failures`, `settings`, `dtype`, `device`, `name` as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample and a diagnosis.
        TypeError: if `form` is not a record.
    """
    arguments.instances(VariationalForm, form=form)
    return check(form, laws(VariationalForm), **options)


def _log_ratio(p: Tensor, q: Tensor) -> Tensor:
    return p.log() - q.log()


def _half_softplus(x: Tensor) -> Tensor:
    r"""$\tfrac12\log\frac{1 + e^x}2$, about x/4 near 0, where the difference of the logarithms cancels."""
    falling = torch.log1p(torch.expm1(x.clamp(max=0)) / 2)
    return torch.where(x <= 0, falling, x + torch.log1p(torch.expm1(-x.clamp(min=0)) / 2)) / 2


def _exact_half_softplus(x: Any) -> Any:
    return arb.log((1 + arb.exp(x)) / 2) / 2


kl = VariationalForm(
    lambda v: v, lambda v: (v - 1).exp(), lambda p, q: 1 + _log_ratio(p, q), family.kl,
    lambda s: arb.exp(s - 1), lambda v: v,
)  # fmt: skip
reverse_kl = VariationalForm(
    lambda v: -(-v).exp(), lambda v: v - 1, _log_ratio, family.reverse_kl,
    lambda s: -1 - arb.log(-s), lambda v: -arb.exp(-v),
)  # fmt: skip
squared_hellinger = VariationalForm(
    lambda v: -torch.expm1(-v), torch.expm1, lambda p, q: _log_ratio(p, q) / 2, family.squared_hellinger,
    lambda s: s / (1 - s), lambda v: -arb.expm1(-v),
)  # fmt: skip
jensen_shannon = VariationalForm(
    lambda v: -_half_softplus(-v), _half_softplus,
    _log_ratio, family.jensen_shannon,
    lambda s: -arb.log(2 - arb.exp(2 * s)) / 2, lambda v: -_exact_half_softplus(-v),
)  # fmt: skip
total_variation = VariationalForm(
    lambda v: v.tanh() / 2, lambda v: v.tanh() / 2, lambda p, q: (p - q) / torch.zeros_like(p).where(p != q, 1.0),
    family.total_variation, lambda s: s, lambda v: arb.tanh(v) / 2,
)  # fmt: skip
