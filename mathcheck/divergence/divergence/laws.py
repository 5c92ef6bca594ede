"""The laws of a Kullback-Leibler divergence, and `check_divergence`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Unpack

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.divergence.divergence import definition, slips
from mathcheck.divergence.divergence.record import Divergence
from mathcheck.engine.adapting import subject
from mathcheck.engine.check import Options, check
from mathcheck.engine.claim import claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Kind, Residual, Undecided, at_most, close, exactly
from mathcheck.probability.families import Normals, Parameters


def _pairs(
    kl: Divergence, dtype: torch.dtype, largest: int = 3, rows: int = 6, several: bool = False
) -> st.SearchStrategy[slips.Pair]:
    """Pairs of the domain in at most `largest` dimensions.

    In the batch shapes of at most `rows` rows, of `several` rows if asked; or in the smallest there is.
    """
    smallest = min(kl.batch_shapes, key=math.prod)
    batches = [shape for shape in kl.batch_shapes if several < math.prod(shape) <= rows] or [smallest]
    return kl.domain.pairs(dtype, largest=largest, batches=batches)


def _remedy(kl: Divergence) -> str:
    """The form of the catalogue that keeps the digits of a family."""
    forms = {"covariance": "kl_full", "scale_tril": "kl_cholesky"}
    diagonal = "kl_diagonal, which takes log-variances"
    return f"use mathcheck.divergence.gaussian_kl.{forms.get(kl.domain.spread, diagonal)}"


def _values(kl: Divergence, q: Parameters, p: Parameters) -> Tensor:
    return kl.divergence(*q, *p)


@claim(given=_pairs, mutants=slips.SIGN, repairs=slips.REPAIRS, examples=200, half=True, remedy=_remedy)
def never_negative(kl: Divergence, q: Parameters, p: Parameters) -> Iterator[Residual]:
    r"""A divergence is never negative, to the last bit: $\mathrm{KL}(q\,\|\,p) \ge 0$.

    Error bound: 0; a sum of terms that are each non-negative in floating point stays non-negative.
    """
    yield at_most(-_values(kl, q, p), 0.0, what="-KL(q, p) <= 0")


@claim(
    given=lambda kl, dtype: _pairs(kl, dtype).map(lambda pair: (pair[0],)),
    mutants=slips.CONSTANT | {"eps is added": slips.then(lambda value, n: value + torch.finfo(value.dtype).eps)},
    repairs=slips.REPAIRS,
    half=True,
    remedy=_remedy,
)
def zero_on_equal_arguments(kl: Divergence, q: Parameters) -> Iterator[Residual]:
    r"""A divergence is exactly zero on equal arguments: $\mathrm{KL}(q\,\|\,q) = 0$.

    Error bound: 0; differences of equal floats and logarithms of 1 are exact.
    """
    if not kl.domain.near_equal:
        raise NotImplementedError("the domain excludes equal arguments")
    value = _values(kl, q, q)
    yield exactly(value, torch.zeros_like(value), what="KL(q, q)")


@claim(
    given=lambda kl, dtype: _pairs(kl, dtype, 2, 3),
    mutants=slips.SWAP | slips.SPREAD | slips.FACTOR | slips.DIMENSION | slips.CONSTANT | slips.SIGN,
    repairs=slips.REPAIRS,
    half=True,
    remedy=_remedy,
)
def equals_the_definition(kl: Divergence, q: Parameters, p: Parameters) -> Iterator[Residual]:
    r"""The divergence is what its definition says.

    $\mathrm{KL}(q\,\|\,p) = \mathbb E_{x\sim q}[\log q(x) - \log p(x)]$.

    Error bound: 8 roundings, each as large as a relative change of one unit in the last place of every parameter makes
    it, $\sum_i \lvert x_i\,\partial_i\mathrm{KL}\rvert + \mathrm{KL}$, plus the oracle's radius. The oracle takes the
    expectation over points that integrate the log-densities' difference exactly.
    """
    true = definition.kl(kl.domain, q, p)
    yield close(_values(kl, q, p), true, scale=definition.sensitivity(kl.domain, q, p), what="KL(q, p)")


@claim(
    # Moderate spreads: far apart, an adaptive integral spends seconds on what the other oracle says at once.
    given=lambda kl, dtype: _pairs(
        replace(kl, domain=replace(kl.domain, reach=min(kl.domain.reach, 5.0))), dtype, 1, 1
    ),
    mutants=slips.SWAP | slips.FACTOR | slips.CONSTANT,
    repairs=slips.REPAIRS,
    examples=12,
    remedy=_remedy,
)
def equals_the_certified_integral(kl: Divergence, q: Parameters, p: Parameters) -> Iterator[Residual]:
    r"""In one dimension the divergence is the integral over the whole line.

    $\mathrm{KL}(q\,\|\,p) = \int_{-\infty}^{\infty} q(x)\,\log\frac{q(x)}{p(x)}\,\mathrm dx$.

    Error bound: as in `equals_the_definition`; the radius of the integral includes the mass of the tails.
    """
    true = definition.kl_integral(kl.domain, q, p)
    yield close(_values(kl, q, p), true, scale=definition.sensitivity(kl.domain, q, p), what="KL(q, p)")


@claim(
    given=lambda kl, dtype: st.tuples(*[_pairs(kl, dtype, 1, 0)] * 2),
    mutants={
        **slips.DIMENSION,
        "1 is added": slips.then(lambda value, n: value + 1),
        "its square root is taken": slips.then(lambda value, n: value.sqrt()),
    },
    repairs=slips.REPAIRS,
    remedy=_remedy,
)
def additive_over_independent_coordinates(kl: Divergence, first: slips.Pair, second: slips.Pair) -> Iterator[Residual]:
    r"""Independent coordinates add.

    $\mathrm{KL}(q_1 q_2\,\|\,p_1 p_2) = \mathrm{KL}(q_1\,\|\,p_1) + \mathrm{KL}(q_2\,\|\,p_2)$.

    Error bound: 8 roundings of each of the three values, as in `equals_the_definition`.
    """
    joint = [kl.domain.product(a, b) for a, b in zip(first, second, strict=True)]
    parts = [_values(kl, *pair) for pair in (first, second)]
    scale = sum((definition.sensitivity(kl.domain, *pair) for pair in (first, second)), torch.zeros(()))
    total = parts[0].double() + parts[1].double()
    rounded = close(_values(kl, *joint), total, ulps=16, scale=scale, what="KL of the product")
    # An overflow of one part is an overflow of the sum, never a disagreement.
    yield rounded if bool(total.isfinite()) else exactly(bool(_values(kl, *joint).isinf()), True, kind=Kind.NUMERICAL)


@claim(
    given=lambda kl, dtype: _pairs(kl, dtype, 2, several=True),
    mutants=slips.BATCH,
    repairs=slips.REPAIRS,
    examples=30,
    half=True,
)
def rows_are_independent(kl: Divergence, q: Parameters, p: Parameters) -> Iterator[Residual]:
    r"""Every row of a batch is judged alone: $\mathrm{KL}(q, p)_b$ does not change with the other rows.

    Error bound: 8 roundings of the value: the batch keeps its shape, so every row is summed in the same order.
    """
    if max(map(math.prod, kl.batch_shapes)) < 2:
        raise NotImplementedError("the divergence takes one row at a time")
    batch = q[0].shape[:-1]
    value = _values(kl, q, p)
    if value.shape != batch:
        yield exactly(tuple(value.shape), tuple(batch), kind=Kind.NUMERICAL, what="the shape of KL(q, p)")
        return
    for k in (0, math.prod(batch) - 1):
        row = [t.reshape(-1, *t.shape[len(batch) :])[k].expand(t.shape).contiguous() for t in (*q, *p)]
        alone = kl.divergence(*row).reshape(-1)[k]
        yield close(value.reshape(-1)[k], alone, what=f"KL of row {k} among other rows")


@claim(
    given=lambda kl, dtype: _pairs(kl, dtype, 1 if kl.domain.full else 2, 1),
    mutants={"the second argument is detached": slips.detached} | slips.SWAP | slips.FACTOR,
    repairs={"gradients flow to every argument (one of them is detached)": slips.attached, **slips.REPAIRS},
    examples=40,
    remedy=_remedy,
)
def gradient_is_that_of_the_definition(kl: Divergence, q: Parameters, p: Parameters) -> Iterator[Residual]:
    r"""Its gradient is that of the definition.

    $\nabla\mathrm{KL}(q\,\|\,p) = \nabla\,\mathbb E_{x\sim q}[\log q(x) - \log p(x)]$ in all four parameters.

    Error bound: 16 roundings, each as large as a relative change of one unit in the last place of every parameter makes
    the gradient: $\sum_j \lvert x_j\,\partial_j\partial_i\mathrm{KL}\rvert + \lvert\partial_i\mathrm{KL}\rvert$.
    """
    leaves = [t.detach().clone().requires_grad_() for t in (*q, *p)]
    value = kl.divergence(*leaves)
    gradients: Sequence[Tensor | None] = [None] * len(leaves)
    if value.requires_grad:
        gradients = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
    exact, scales = definition.kl_gradient(kl.domain, q, p), definition.gradient_sensitivity(kl.domain, q, p)
    for i, (leaf, gradient, ball, scale) in enumerate(zip(leaves, gradients, exact, scales, strict=True)):
        got = kl.domain.canonical(i % 2, torch.zeros_like(leaf) if gradient is None else gradient)
        name = f"gradient in the {kl.domain.parameters[i % 2]} of {'qp'[i // 2]}"
        yield close(got, ball, ulps=16, scale=scale, what=name)


@claim(
    given=lambda kl, dtype: _pairs(kl, dtype, 2),
    mutants={
        "it is computed in another dtype": slips.then(
            lambda value, n: value.to(torch.float32 if value.dtype == torch.float64 else torch.float64)
        ),
        "it is summed over the batch": slips.BATCH["it is summed over the batch"],
    },
    repairs=slips.REPAIRS,
    examples=50,
)
def shape_and_dtype_are_those_of_the_arguments(kl: Divergence, q: Parameters, p: Parameters) -> Iterator[Residual]:
    r"""The value has the batch's shape and the arguments' dtype, whatever their memory layout.

    For parameters of shape `(*batch, n)` the value $\mathrm{KL}$ has shape `(*batch,)`.

    Error bound: 0 for shape and dtype; 8 roundings between a row and the same row repeated without a copy.
    """
    value = _values(kl, q, p)
    yield exactly(tuple(value.shape), tuple(q[0].shape[:-1]), kind=Kind.NUMERICAL, what="the shape of KL(q, p)")
    yield exactly(value.dtype, q[0].dtype, kind=Kind.NUMERICAL, what="the dtype of KL(q, p)")
    if value.ndim == 0 and (3,) in kl.batch_shapes:
        repeated = _values(kl, *(tuple(t.expand(3, *t.shape) for t in member) for member in (q, p)))
        yield close(
            repeated,
            value.expand(3),
            scale=definition.sensitivity(kl.domain, q, p).expand(3),
            what="KL of a repeated row",
        )


@claim(
    given=lambda kl, dtype: kl.domain.extremes(dtype, min(kl.batch_shapes, key=math.prod)),
    mutants={
        "it is squared and its root is taken (an overflow in between)": slips.then(
            lambda value, n: (value * value).sqrt()
        ),
    },
    repairs=slips.REPAIRS,
    extreme=True,
    remedy=_remedy,
)
def finite_wherever_the_true_value_is(kl: Divergence, q: Parameters, p: Parameters) -> Iterator[Residual]:
    r"""Extreme parameters give a finite value wherever the true one is representable.

    $\lvert\mathrm{KL}(q\,\|\,p)\rvert < \infty$ at log-variances up to 600 in double, 80 in single precision.

    Error bound: 8 roundings of the largest float: what is asked here is a number, `equals_the_definition` asks which.
    True values above the largest float are passed over.
    """
    if not kl.domain.near_equal:
        raise NotImplementedError("the domain is restricted to members that lie well apart")
    value, true = _values(kl, q, p), definition.kl(kl.domain, q, p)
    if bool((true.upper > torch.finfo(value.dtype).max).any()):
        raise Undecided("the true value is above the largest float")
    yield close(value, true, scale=torch.finfo(value.dtype).max, what="KL(q, p)")


def check_divergence(
    divergence: Divergence | Callable[..., Tensor],
    domain: Normals | None = None,
    **options: Unpack[Options],
) -> list[Evidence]:
    r"""Judges an implementation of $\mathrm{KL}(q\,\|\,p)$ by every law of a divergence.

    Args:
        divergence: a `Divergence`, or the function that one would hold; or something that an adapter takes, such as
            `torch.distributions.Normal`.
        domain: the family, if `divergence` is a function; default normals by mean and log-variance.
        options: `expected_failures`, `require`, `settings`, `dtype`, `device`, `name` as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample, the true value and a diagnosis.
        TypeError: if `divergence` is neither a record nor a function, or `domain` comes with a record.
    """
    if isinstance(divergence, Divergence):
        if domain is not None:
            raise TypeError("domain must be given in the Divergence record, or with a function")
    elif domain is not None and callable(divergence):
        divergence = Divergence(divergence, domain)
    return check(subject("divergence", Divergence, divergence), laws(Divergence), **options)
