"""The laws of a bound on the evidence, and `check_evidence_bound`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import strategies
from mathcheck.engine.check import check
from mathcheck.engine.claim import Settings, claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Ball, Kind, Residual, at_most, close, exactly
from mathcheck.engine.strategies import Interval
from mathcheck.inference.evidence_bound import latent_models, slips
from mathcheck.inference.evidence_bound.latent_models import size
from mathcheck.inference.evidence_bound.record import EvidenceBound
from mathcheck.oracles import arb


def _remedy(b: EvidenceBound) -> str | None:
    """The form of the catalogue that keeps the digits of a mean of weights."""
    return None if b.averages else "use mathcheck.inference.importance_weighted_bound.importance_weighted_bound"


def _log_weights(
    b: EvidenceBound, dtype: torch.dtype, entries: st.SearchStrategy[float] | None = None
) -> st.SearchStrategy[Tensor]:
    numbers = entries if entries is not None else Interval(reach=b.reach).elements(dtype)
    shapes = st.tuples(st.sampled_from(list(b.batch_shapes)), st.integers(1, 6))
    return strategies.of_each(shapes, lambda s: strategies.tensors((*s[0], s[1]), dtype, numbers))


def _given(b: EvidenceBound, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor]]:
    return _log_weights(b, dtype).map(lambda w: (w,))


def _definition(b: EvidenceBound) -> latent_models.Form:
    return latent_models.mean if b.averages else latent_models.log_mean_exp


@claim(
    given=_given,
    mutants=slips.COUNT | slips.SIGN | slips.FORM | slips.NAIVE | slips.PICK,
    repairs=slips.REPAIRS,
    half=True,
    remedy=_remedy,
)
def equals_the_definition(b: EvidenceBound, log_weights: Tensor) -> Iterator[Residual]:
    r"""The estimate is the logarithm of the mean weight, or for an average the mean of the logarithms.

    $\hat L_K(\ell) = \log\frac1K\sum_{k=1}^K e^{\ell_k}$, or $\frac1K\sum_k\ell_k$ as stated.

    Error bound: 8 roundings of $2\max_k\lvert\ell_k\rvert + 1 + \log K$: of the differences to the largest log-weight, of the
    sum and its logarithm, and of the largest log-weight added again.
    """
    true = latent_models.enclosed(log_weights, _definition(b), log_weights.shape[:-1])
    yield close(b.bound(log_weights), true, scale=size(log_weights), what="the bound")


@claim(
    given=lambda b, dtype: st.tuples(
        st.sampled_from(list(b.batch_shapes)), st.integers(1, 6), Interval(reach=b.reach).elements(dtype)
    ).map(lambda s: (torch.full((*s[0], s[1]), s[2], dtype=dtype),)),
    mutants=slips.COUNT | slips.SIGN,
    repairs=slips.REPAIRS,
    examples=50,
    remedy=_remedy,
)
def tight_at_the_posterior(b: EvidenceBound, log_weights: Tensor) -> Iterator[Residual]:
    r"""If the proposal is the posterior, every weight is the evidence, and so is the bound, for every K.

    $q(z) = p(z\mid x)$ makes $\ell_k = \log p(x)$ for all k, and $\hat L_K(c, \dots, c) = c$.

    Error bound: 8 roundings of $2\lvert c\rvert + 1 + \log K$.
    """
    yield close(b.bound(log_weights), log_weights[..., 0], scale=size(log_weights), what="bound of equal weights")


# Numbers of draws to compare, and the outcomes of the latent variable: at most 4^4 tuples.
_MOST_DRAWS = 4


def _finite_models(b: EvidenceBound, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    def of(n: int) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
        joint = strategies.tensors((n,), dtype, Interval(reach=min(b.reach, 30.0)))
        masses = st.lists(st.integers(1, 9), min_size=n, max_size=n)
        return st.tuples(joint, masses.map(lambda m: torch.tensor(m, dtype=torch.float64)))

    return strategies.of_each(st.integers(2, 4), of)


@claim(
    given=_finite_models,
    mutants=slips.COUNT
    | slips.SIGN
    | {
        "the largest weight stands for their mean": slips.then(lambda value, w: w.amax(-1)),
        "half the spread of the log-weights is added": slips.then(
            lambda value, w: value + (w.amax(-1) - w.amin(-1)) / 2
        ),
    },
    repairs=slips.REPAIRS,
    examples=30,
)
def bounds_tighten_on_a_finite_model(b: EvidenceBound, log_joint: Tensor, masses: Tensor) -> Iterator[Residual]:
    r"""On a finite latent space the bounds increase with the number of draws, up to the evidence.

    $L_1 \le L_2 \le L_3 \le L_4 \le \log\sum_z p(x, z)$ with $L_K = \sum_{z_1, \dots, z_K} q(z_1)\cdots q(z_K)\,
    \hat L_K(\ell_{z_1}, \dots, \ell_{z_K})$ over all tuples. Two oracles: the evidence in ball arithmetic, and every $L_K$ by
    its definition in ball arithmetic.

    Error bound: the mean over q of 16 roundings of $2\max_k\lvert\ell_k\rvert + 1 + \log K$.
    """
    q = masses.double().cpu() / masses.sum().cpu()
    log_weights = (log_joint.double().cpu() - q.log()).to(log_joint.dtype)
    with arb.precision(192):
        total = arb.exact(float(masses.sum()))
        model = arb.exact_list(log_weights), [arb.exact(float(m)) / total for m in masses]
        evidence = arb.to_ball(latent_models.log_evidence(*model), "evidence in ball arithmetic")
        exact = [latent_models.expected_bound(*model, draws, averages=b.averages) for draws in (1, 2)]
    means = latent_models.finite_means(b.bound, log_weights.to(log_joint.device), q, _MOST_DRAWS)
    for draws, ours in enumerate(means, start=1):
        if draws > 1:
            yield at_most(means[draws - 2], ours, what=f"L_{draws - 1} <= L_{draws}")
        yield at_most(ours, evidence, what=f"L_{draws} <= log p(x)")
    for draws, (ours, true) in enumerate(zip(means, exact, strict=False), start=1):
        both = Ball(true.mid, true.radius + ours.radius, kind=true.kind, source=true.source)
        yield close(ours.mid, both, what=f"L_{draws}")


def _normal_models(b: EvidenceBound, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor]]:
    numbers = [Interval(reach=3.0), Interval(reach=2.0), Interval(0.4, 1.4, reach=1.4)]
    drawn = st.tuples(*(interval.elements(dtype) for interval in numbers))
    return drawn.map(lambda values: (torch.tensor(values, dtype=dtype),))


@claim(
    given=_normal_models,
    mutants=slips.COUNT | slips.SIGN,
    repairs=slips.REPAIRS,
    examples=15,
)
def bounds_tighten_on_a_normal_model(b: EvidenceBound, model: Tensor) -> Iterator[Residual]:
    r"""On a linear model with normal variables the bounds increase with the number of draws, up to the evidence.

    For $z \sim \mathcal N(0, 1)$, $x\mid z \sim \mathcal N(z, 1)$ and the proposal $\mathcal N(m, s^2)$, drawn as $(x, m, s)$:
    $L_1 \le L_2 \le L_3 \le \log\mathcal N(x; 0, 2)$, and $L_1 = \log\mathcal N(x; 0, 2) - \mathrm{KL}(q\,\|\,\mathcal N(\tfrac
    x2, \tfrac12))$.

    Error bound: the radius of the Gauss-Hermite rule, which integrates $L_1$ exactly, for $\log\frac1K\sum_k e^{\ell_k}$ is
    smooth; for $L_1$ also 8 roundings of the size of its terms.
    """
    x, mean, deviation = model.tolist()
    means = latent_models.normal_means(b.bound, model)
    log_evidence = latent_models.normal_log_evidence(x)
    rounding = 8 * torch.finfo(model.dtype).eps * latent_models.normal_terms(x, mean, deviation)
    evidence = Ball(log_evidence, rounding, kind=Kind.NUMERICAL, source="log N(x; 0, 2)")
    elbo = log_evidence - latent_models.normal_gap(x, mean, deviation)
    first = Ball(elbo, rounding + means[0].radius, kind=Kind.NUMERICAL, source="log p(x) - KL(q, posterior)")
    yield close(means[0].mid, first, what="L_1")
    for draws, ours in enumerate(means, start=1):
        yield at_most(ours, evidence, what=f"L_{draws} <= log p(x)")
        if draws > 1:
            upper = Ball(ours.mid, ours.radius + rounding, kind=ours.kind, source=ours.source)
            yield at_most(means[draws - 2], upper, what=f"L_{draws - 1} <= L_{draws}")


@claim(
    repairs=slips.REPAIRS,
    given=lambda b, dtype: _log_weights(b, dtype).flatmap(
        lambda w: st.tuples(st.just(w), strategies.permutations(w.shape[-1]))
    ),
    mutants=slips.PICK
    | {"the draws are weighted by their place": slips.then(lambda value, w: value + (w[..., 0] - w[..., -1]) / 8)},
    examples=50,
    half=True,
    remedy=_remedy,
)
def symmetric(b: EvidenceBound, log_weights: Tensor, order: tuple[int, ...]) -> Iterator[Residual]:
    r"""The order of the draws does not matter: $\hat L_K(P\ell) = \hat L_K(\ell)$ for every permutation P.

    Error bound: 8 roundings of $2\max_k\lvert\ell_k\rvert + 1 + \log K$, since a sum may be taken in another order.
    """
    value = b.bound(log_weights)
    yield close(b.bound(log_weights[..., list(order)]), value, scale=size(log_weights), what="bound of permuted draws")


@claim(
    repairs=slips.REPAIRS,
    given=lambda b, dtype: st.tuples(_log_weights(b, dtype), Interval(reach=b.reach).elements(dtype)),
    mutants=slips.NAIVE
    | {
        "the value is doubled": slips.then(lambda value, w: 2 * value),
        "the largest log-weight is not added back": slips.then(lambda value, w: value - w.amax(-1)),
    },
    remedy=_remedy,
)
def shifts_with_its_weights(b: EvidenceBound, log_weights: Tensor, shift: float) -> Iterator[Residual]:
    r"""A factor of the joint density passes through: $\hat L_K(\ell + c) = \hat L_K(\ell) + c$, and both are finite.

    Error bound: 16 roundings of the sizes of both values; the shifted log-weights are rounded too.
    """
    shift = strategies.within(b.reach, log_weights, shift)
    moved = log_weights + shift
    scale = size(log_weights) + size(moved) + abs(shift)
    value, expected = b.bound(moved), b.bound(log_weights).double() + shift
    yield close(value, expected, ulps=16, scale=scale, what="bound of shifted log-weights")
    # Both sides may be infinite together, after an overflow.
    yield exactly(bool(value.isfinite().all()), True, kind=Kind.NUMERICAL, what="the bound of finite weights is finite")


@claim(
    given=_given,
    mutants={
        "the gradient is detached": slips.then(lambda value, w: value.detach() + w[..., 0] - w[..., 0].detach()),
        "the value is doubled": slips.then(lambda value, w: 2 * value),
        "the gradient is that of the other form": lambda b: replace(
            b,
            bound=lambda w: b.bound(w).detach() + slips.other_form(b).bound(w) - slips.other_form(b).bound(w).detach(),
        ),
    },
    repairs=slips.REPAIRS,
    examples=50,
    remedy=_remedy,
)
def gradient_is_the_normalised_weights(b: EvidenceBound, log_weights: Tensor) -> Iterator[Residual]:
    r"""Each draw counts by its share of the total weight: $\partial\hat L_K/\partial\ell_k = e^{\ell_k}/\sum_j e^{\ell_j}$.

    For an average of log-weights every share is $1/K$.

    Error bound: 16 roundings of the share times $1 + \log K + \lvert\ell_k\rvert + 2\max_j\lvert\ell_j\rvert$, which is what
    roundings of the differences to the largest log-weight change.
    """
    leaf = log_weights.detach().clone().requires_grad_()
    value = b.bound(leaf)
    if not value.requires_grad:
        raise NotImplementedError("the bound is not differentiable by autograd")
    gradient = torch.autograd.grad(value.sum(), leaf)[0]

    shares = latent_models.equal_shares if b.averages else latent_models.shares
    true = latent_models.enclosed(log_weights, shares, log_weights.shape)
    wide = log_weights.double().cpu().abs()
    scale = true.mid * (size(log_weights)[..., None] + wide)
    yield close(gradient, true, ulps=16, scale=scale, what="gradient")


@claim(
    given=lambda b, dtype: _log_weights(
        b, dtype, st.sampled_from([0.0, -math.inf, min(1.0, b.reach), -min(1e3, b.reach)])
    ).map(lambda w: (w,)),
    mutants=slips.NAIVE
    | {
        "draws of weight 0 are left out of the count": slips.then(
            lambda value, w: torch.logsumexp(w, -1) - (w > -math.inf).sum(-1).clamp(min=1).log(), averages=False
        ),
        "draws of weight 0 are taken for draws of weight e^-100": slips.then(
            lambda value, w: w.clamp(min=-100.0).mean(-1)
        ),
    },
    repairs=slips.REPAIRS,
    half=True,
    remedy=_remedy,
)
def draws_of_weight_zero_are_limits(b: EvidenceBound, log_weights: Tensor) -> Iterator[Residual]:
    r"""A draw of weight 0 adds nothing to the sum but counts as a draw; without any weight the bound is infinite.

    $\hat L_K(\ell, -\infty) = \hat L_{K-1}(\ell) + \log\frac{K-1}K$ and $\hat L_K(-\infty, \dots, -\infty) = -\infty$; an average
    is $-\infty$ as soon as one log-weight is.

    Error bound: as in `equals_the_definition` on the finite log-weights of a row; 0 for infinite values.
    """
    values = b.bound(log_weights).reshape(-1)
    count = log_weights.shape[-1]
    for k, row in enumerate(log_weights.reshape(-1, count)):
        finite = row[row > -math.inf]
        if not finite.numel() or (b.averages and finite.numel() < count):
            yield close(values[k], torch.tensor(-math.inf, dtype=torch.float64), what="bound of weights that are 0")
            continue
        true = latent_models.with_empty_draws(_definition(b), finite, count)
        yield close(values[k], true, scale=size(finite) + math.log(count), what="bound with weights that are 0")


@claim(
    given=_given,
    mutants=slips.BATCH
    | {
        "it is computed in another dtype": slips.then(
            lambda value, w: value.to(torch.float32 if value.dtype == torch.float64 else torch.float64)
        )
    },
    repairs=slips.REPAIRS,
    examples=50,
    half=True,
)
def rows_are_independent(b: EvidenceBound, log_weights: Tensor) -> Iterator[Residual]:
    r"""One bound for each row, of the dtype of the log-weights: $\hat L_K(\ell)_b = \hat L_K(\ell_b)$.

    Log-weights `(*batch, K)` have bounds `(*batch,)`.

    Error bound: 0 for shape and dtype; 8 roundings of $2\max_k\lvert\ell_k\rvert + 1 + \log K$ for the values, since a batch
    may be summed in another order than a row.
    """
    value = b.bound(log_weights)
    yield exactly(tuple(value.shape), tuple(log_weights.shape[:-1]), kind=Kind.NUMERICAL, what="the shape of the bound")
    yield exactly(value.dtype, log_weights.dtype, kind=Kind.NUMERICAL, what="the dtype of the bound")
    rows = slips.row_by_row(b).bound(log_weights)
    yield close(value, rows, scale=size(log_weights), what="bound of a row in its batch")


def check_evidence_bound(
    bound: EvidenceBound | Callable[[Tensor], Tensor],
    *,
    expected_failures: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> list[Evidence]:
    r"""Judges an estimate of a lower bound on $\log p(x)$ by every law of an evidence bound.

    Args:
        bound: an `EvidenceBound`, or the function from log-weights `(*batch, K)` to importance-weighted bounds `(*batch,)`
            that one would hold.
        expected_failures, settings, dtype, device: as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample, the true value and a diagnosis.
        TypeError: if `bound` is neither a record nor a function.
    """
    if not isinstance(bound, EvidenceBound):
        if not callable(bound):
            raise TypeError(f"bound must be an EvidenceBound or a function, got {type(bound).__name__}")
        bound = EvidenceBound(bound)
    return check(
        bound, laws(EvidenceBound), expected_failures=expected_failures, settings=settings, dtype=dtype, device=device
    )
