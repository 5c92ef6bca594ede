"""The laws of a variational form, and `check_variational_form`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Unpack

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.divergence import f_divergence as family
from mathcheck.divergence.variational_f_divergence import slips
from mathcheck.divergence.variational_f_divergence.bound import variational_bound
from mathcheck.divergence.variational_f_divergence.record import Elementwise, VariationalForm
from mathcheck.engine import strategies
from mathcheck.engine.adapting import subject
from mathcheck.engine.check import Options, check
from mathcheck.engine.claim import claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Residual, at_most, close
from mathcheck.engine.strategies import Interval
from mathcheck.oracles import arb


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

    return strategies.of_each(st.sampled_from([2, 3]), of).map(lambda t: (t[0], *t[1]))


def _positive(form: VariationalForm, dtype: torch.dtype) -> st.SearchStrategy[Any]:
    weights = strategies.of_each(
        st.sampled_from([2, 3]),
        lambda n: st.tuples(*[strategies.tensors((n,), dtype, st.sampled_from([1.0, 2.0, 5.0, 0.01, 30.0]))] * 2),
    )
    return weights.map(lambda pair: tuple(t / t.sum() for t in pair))


@claim(
    given=_cases,
    examples=60,
    repairs=slips.REPAIRS,
    mutants=slips.MISSING | slips.ADDED | {"reward and penalty are exchanged": slips.exchanged},
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


@claim(
    given=_positive,
    examples=60,
    mutants={
        "the optimal V is cut off at 1/2": slips.optimum(lambda v: v.clamp(-0.5, 0.5)),
        "the optimal V is negated": slips.optimum(lambda v: -v),
        "p and q are exchanged in the optimal V": lambda form: replace(form, optimal=lambda p, q: form.optimal(q, p)),
        **slips.ADDED,
        **slips.HALVED,
    },
    repairs=slips.REPAIRS,
)
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


@claim(
    given=lambda form, dtype: strategies.tensors((3,), dtype, Interval(reach=15.0)).map(lambda v: (v,)),
    examples=60,
    mutants=slips.MISSING | slips.ADDED | slips.HALVED,
    repairs=slips.REPAIRS,
)
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


@claim(
    given=lambda form, dtype: st.tuples(strategies.log_uniform(1e-3, 1e3), st.floats(-6, 6)),
    examples=60,
    mutants={
        "the conjugate's sign is changed": lambda form: replace(form, conjugate=lambda s: -form.conjugate(s)),
        "the conjugate is halved": lambda form: replace(form, conjugate=lambda s: form.conjugate(s) / 2),
        "1/8 is subtracted from the conjugate": lambda form: replace(
            form, conjugate=lambda s: form.conjugate(s) - 0.125
        ),
    },
)
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


def check_variational_form(form: VariationalForm | Any, **options: Unpack[Options]) -> list[Evidence]:
    r"""Judges activation, penalty and optimal critic of a variational f-divergence by every law.

    Args:
        form: the functions, with the f-divergence that they bound.
        options: `expected_failures`, `require`, `settings`, `dtype`, `device`, `name` as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample and a diagnosis.
        TypeError: if `form` is not a record.
    """
    form = subject("variational_form", VariationalForm, form, argument="form")
    return check(form, laws(VariationalForm), **options)
