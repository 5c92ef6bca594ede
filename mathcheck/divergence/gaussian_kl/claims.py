"""What the closed forms and the estimator of the divergence of two normal distributions claim."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.divergence.divergence import Divergence, definition
from mathcheck.divergence.gaussian_kl.kl import kl_cholesky, kl_diagonal, kl_full, kl_monte_carlo
from mathcheck.engine import arguments
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Ball, Kind, Residual, at_most, close
from mathcheck.engine.strategies import BATCH_SHAPES
from mathcheck.oracles import arb
from mathcheck.probability.families import Parameters, normals

diagonal = Divergence(kl_diagonal, normals("log_variance"), batch_shapes=BATCH_SHAPES)
full = Divergence(kl_full, normals("covariance"), batch_shapes=BATCH_SHAPES)
cholesky = Divergence(kl_cholesky, normals("scale_tril"), batch_shapes=BATCH_SHAPES)

ClosedForm = Callable[[definition.Row], Any]
Estimator = Callable[..., Tensor]


def closed_form(row: definition.Row) -> Any:
    r"""The textbook formula for one row with diagonal covariance, in the arithmetic of its scalars.

    $\tfrac12\sum_i\big[\sigma_{q,i}^2/\sigma_{p,i}^2 - 1 - \log(\sigma_{q,i}^2/\sigma_{p,i}^2) +
    (\mu_{q,i}-\mu_{p,i})^2/\sigma_{p,i}^2\big]$.

    Args:
        row: mean and log-variance of q, mean and log-variance of p, as lists of balls.

    Raises:
        TypeError, ValueError: if `row` does not consist of four lists of numbers.
    """
    arguments.sequences(Sequence, row=row)
    if len(row) != 4:
        raise ValueError(f"row must hold 4 lists, got {len(row)}")
    arguments.rows(**{f"row[{i}]": part for i, part in enumerate(row)})
    return _closed_form(row, 1.0)


def _closed_form(row: definition.Row, trace: float, power: int = 1) -> Any:
    total: Any = -trace if trace != 1.0 else 0
    for m, lv, a, lw in zip(*row, strict=True):
        v, w = arb.exp(lv / power), arb.exp(lw / power)
        total = total + v / w - (1 if trace == 1.0 else 0) - arb.log(v / w) + (m - a) * (m - a) / w
    return total / 2


@claim(
    given=lambda form, dtype: normals("log_variance").pairs(torch.float64, batches=((),)),
    reference=closed_form,
    mutants={
        "the arguments are swapped": lambda form: lambda row: form([row[2], row[3], row[0], row[1]]),
        "variances are replaced by standard deviations": lambda form: lambda row: _closed_form(row, 1.0, 2),
        "the dimension is dropped from the trace": lambda form: lambda row: form(row) + (len(row[0]) - 1) / 2,
        "the constant n is missing": lambda form: lambda row: form(row) + len(row[0]) / 2,
        "the sign of the log-determinant is changed": lambda form: (
            lambda row: form(row) + sum(a - b for a, b in zip(row[1], row[3], strict=True))
        ),
    },
)
def closed_form_is_the_definition(form: ClosedForm, q: Parameters, p: Parameters) -> Iterator[Residual]:
    r"""The closed form of the divergence is the expectation that defines it.

    $\tfrac12[\mathrm{tr}(\Sigma_p^{-1}\Sigma_q) - n - \log\det(\Sigma_p^{-1}\Sigma_q) + (\mu_q-\mu_p)^\top\Sigma_p^{-1}
    (\mu_q-\mu_p)] = \mathbb E_{x\sim q}[\log q(x) - \log p(x)]$.

    Error bound: the radii of both sides, which ball arithmetic keeps below $2^{-60}$ of the value.
    """
    row = [arb.exact_list(t) for t in (*q, *p)]
    both = arb.enclose(lambda: [form(row), definition.expectation(normals("log_variance"), row)], rel_bits=60)
    ours, true = (Ball(both.mid[i], both.radius[i], kind=Kind.ENCLOSED, source=both.source) for i in (0, 1))
    yield at_most(ours, true, what="closed form <= definition")
    yield at_most(true, ours, what="definition <= closed form")


def _noise(n: int, dtype: torch.dtype) -> Tensor:
    """All 2^n vectors of signs, whose mean is the expectation under a standard normal for separable quadratics."""
    return torch.tensor(list(itertools.product((1.0, -1.0), repeat=n)), dtype=dtype)


def _estimated(estimate: Estimator, q: Parameters, p: Parameters) -> tuple[Tensor, list[Tensor]]:
    leaves = [t.detach().clone().requires_grad_() for t in (*q, *p)]
    value = estimate(*leaves, _noise(q[0].shape[-1], q[0].dtype).to(q[0].device))
    gradients = torch.autograd.grad(value, leaves, allow_unused=True)
    return value.detach(), [torch.zeros_like(t) if g is None else g for t, g in zip(leaves, gradients, strict=True)]


def _moderate(estimate: Estimator, dtype: torch.dtype) -> st.SearchStrategy[tuple[Parameters, Parameters]]:
    return normals("log_variance", reach=10.0).pairs(dtype, largest=2, batches=((),))


def _scale(q: Parameters, p: Parameters) -> Tensor:
    """Size of the estimator's terms, which are larger than their mean."""
    wide = [t.double().cpu() for t in (*q, *p)]
    spread = (wide[1] - wide[3]).exp() + (wide[0] - wide[2]).square() * (-wide[3]).exp()
    return (2 + 2 * spread + wide[1].abs() + wide[3].abs()).sum() * (1 + wide[1].abs().amax() + wide[3].abs().amax())


@claim(
    given=_moderate,
    reference=kl_monte_carlo,
    mutants={
        "the noise is not scaled": lambda e: lambda m, lv, a, lw, z: e(m, lv, a, lw, z * (-lv / 2).exp()),
        "the log-density of the sample is left out": lambda e: (
            lambda m, lv, a, lw, z: e(m, lv, a, lw, z) + (z * z).sum(-1).mean(0) / 2
        ),
        "the arguments are swapped": lambda e: lambda m, lv, a, lw, z: e(a, lw, m, lv, z),
    },
)
def estimator_is_unbiased(estimate: Estimator, q: Parameters, p: Parameters) -> Iterator[Residual]:
    r"""The Monte Carlo estimator has the divergence for its mean.

    $\mathbb E_\epsilon[\widehat{\mathrm{KL}}] = \mathrm{KL}(q\,\|\,p)$.
    It is quadratic in each noise coordinate, so the mean over all signs $\epsilon\in\{-1,1\}^n$ is the expectation.

    Error bound: 16 roundings of the size of its terms, which cancel in the mean.
    """
    value, _ = _estimated(estimate, q, p)
    yield close(value, definition.kl(normals("log_variance"), q, p), ulps=16, scale=_scale(q, p), what="mean estimate")


@claim(
    given=_moderate,
    reference=kl_monte_carlo,
    mutants={
        "the sample is detached": lambda e: lambda m, lv, a, lw, z: e(m, lv, (a + m - m.detach()), lw, z),
        "the arguments are swapped": lambda e: lambda m, lv, a, lw, z: e(a, lw, m, lv, z),
    },
)
def estimator_gradient_is_unbiased(estimate: Estimator, q: Parameters, p: Parameters) -> Iterator[Residual]:
    r"""The gradient through the sample is unbiased.

    $\mathbb E_\epsilon[\nabla\widehat{\mathrm{KL}}] = \nabla\mathrm{KL}(q\,\|\,p)$.

    Error bound: 32 roundings of the size of its terms times $1 + 1/\sigma_p$, by which a mean's shift is scaled.
    """
    _, gradients = _estimated(estimate, q, p)
    family = normals("log_variance")
    size = _scale(q, p) * (1 + (-p[1].double().cpu()).exp().amax() + (-p[1].double().cpu() / 2).exp().amax())
    for i, (gradient, true) in enumerate(zip(gradients, definition.kl_gradient(family, q, p), strict=True)):
        name = f"mean gradient in the {family.parameters[i % 2]} of {'qp'[i // 2]}"
        yield close(gradient, true, ulps=32, scale=size, what=name)
