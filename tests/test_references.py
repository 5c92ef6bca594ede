"""The reference implementations as people use them: bad input, extremes, gradients, devices."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor

from mathcheck.convex.smooth_max import smooth_max
from mathcheck.divergence.gaussian_kl import kl_cholesky, kl_diagonal, kl_full, kl_monte_carlo
from mathcheck.flows.coupling import additive_coupling, affine_coupling, example_conditioner

F64 = torch.float64
VECTOR, MATRIX = torch.zeros(2, dtype=F64), torch.eye(2, dtype=F64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a", VECTOR, VECTOR, VECTOR), "mean_q must be a floating tensor, got str"),
        ((VECTOR.long(), VECTOR, VECTOR, VECTOR), "mean_q must be a floating tensor, got torch.int64"),
        ((VECTOR, VECTOR[:1], VECTOR, VECTOR), r"log_variance_q has shape \(1,\), expected \(2,\)"),
        ((VECTOR, VECTOR, VECTOR.float(), VECTOR), "mean_p is torch.float32"),
        ((VECTOR, VECTOR, VECTOR[None], VECTOR), r"mean_p has shape \(1, 2\), expected \(2,\)"),
        ((VECTOR[:0],) * 4, "n >= 1"),
        ((VECTOR[0],) * 4, r"\(\*batch, n\)"),
    ],
)
def test_the_diagonal_divergence_refuses(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        kl_diagonal(*arguments)


@pytest.mark.parametrize(
    ("function", "spread", "message"),
    [
        (kl_full, -MATRIX, "covariance_q must be positive definite"),
        (kl_full, MATRIX[:1], "covariance_q has shape"),
        (kl_cholesky, -MATRIX, "scale_tril_q must have a positive diagonal"),
        (kl_cholesky, VECTOR, "scale_tril_q has shape"),
    ],
)
def test_the_full_divergence_refuses(function: Any, spread: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(VECTOR, spread, VECTOR, MATRIX)


def test_the_estimator_refuses_noise_of_another_shape() -> None:
    with pytest.raises(ValueError, match="noise has shape"):
        kl_monte_carlo(VECTOR, VECTOR, VECTOR, VECTOR, VECTOR)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3.0,), "x must be"),
        ((VECTOR.long(),), "x must be"),
        ((VECTOR[:0],), "n >= 1"),
        ((VECTOR, 0.0), "beta"),
        ((VECTOR, -1.0), "beta"),
        ((VECTOR, math.inf), "beta"),
        ((VECTOR, math.nan), "beta"),
        ((VECTOR, "1"), "beta"),
    ],
)
def test_the_smooth_maximum_refuses(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        smooth_max(*arguments)


@pytest.mark.parametrize("build", [affine_coupling, additive_coupling])
@pytest.mark.parametrize(
    ("kept", "n", "message"),
    [
        ((), 3, "kept"),
        ((0, 1, 2), 3, "kept"),
        ((0, 0), 3, "kept"),
        ((3,), 3, "kept"),
        ((0.5,), 3, "kept"),
        (None, 3, "kept"),
        ("01", 3, "kept"),
        ((0,), 1, "n must"),
        ((0,), 2.5, "n must"),
    ],
)
def test_couplings_refuse_what_is_no_index_set(build: Any, kept: Any, n: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        build(kept, n, example_conditioner(1, 1))


def test_couplings_refuse_points_and_conditioners_that_do_not_fit() -> None:
    layer = affine_coupling((0,), 3, example_conditioner(1, 2))
    with pytest.raises(ValueError, match=r"x must have shape \(\*batch, 3\), got \(2,\)"):
        layer.forward(VECTOR)
    with pytest.raises(TypeError, match="x must be a floating tensor"):
        layer.forward(torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="log-scales of shape"):
        affine_coupling((0,), 3, example_conditioner(1, 1)).forward(torch.zeros(3, dtype=F64))


@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9, 1e-12])
def test_nearly_equal_normals_keep_their_digits(distance: float) -> None:
    """Against 60 digits; the textbook formula has no digit left from 1e-9 on."""
    mean, log_variance = torch.tensor([distance], dtype=F64), torch.tensor([distance], dtype=F64)
    value = float(kl_diagonal(mean, log_variance, torch.zeros(1, dtype=F64), torch.zeros(1, dtype=F64)))
    with mpmath.workdps(60):
        d = mpmath.mpf(distance)
        true = (mpmath.exp(d) - 1 - d + d * d) / 2
        error = abs(mpmath.mpf(value) - true) / true
    assert error <= 8 * torch.finfo(F64).eps


@pytest.mark.parametrize("function", [kl_cholesky, kl_full])
def test_the_matrix_forms_agree_with_the_diagonal_one(function: Any) -> None:
    g = torch.Generator().manual_seed(1)
    mean_q, log_q, mean_p, log_p = (torch.randn(5, 3, generator=g, dtype=F64) for _ in range(4))
    spreads = [torch.diag_embed((t / 2 if function is kl_cholesky else t).exp()) for t in (log_q, log_p)]
    value, diagonal = function(mean_q, spreads[0], mean_p, spreads[1]), kl_diagonal(mean_q, log_q, mean_p, log_p)
    assert bool(((value - diagonal).abs() <= 64 * torch.finfo(F64).eps * (diagonal + 3)).all())


def test_an_empty_batch_gives_an_empty_result() -> None:
    empty = torch.zeros(0, 2, dtype=F64)
    assert kl_diagonal(empty, empty, empty, empty).shape == (0,)
    assert smooth_max(empty).shape == (0,)


def test_gradients_are_finite_beside_infinite_entries() -> None:
    x = torch.tensor([[0.0, -math.inf], [1.0, 2.0]], dtype=F64, requires_grad=True)
    smooth_max(x, 2.0).sum().backward()
    assert x.grad is not None
    assert x.grad[0].tolist() == [1.0, 0.0]
    assert bool(x.grad.isfinite().all())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_the_references_run_on_a_gpu() -> None:
    g = torch.Generator().manual_seed(0)
    leaves = [torch.randn(7, 3, generator=g, dtype=F64).cuda().requires_grad_() for _ in range(4)]
    kl_diagonal(*leaves).sum().backward()
    matrices = [torch.diag_embed(t.detach().exp()) for t in leaves]
    kl_full(leaves[0], matrices[1], leaves[2], matrices[3]).sum().backward()
    layer = affine_coupling((0,), 3, example_conditioner(1, 2))
    for value in (smooth_max(leaves[0]), layer.forward(leaves[0]), layer.log_abs_det_jacobian(leaves[0])):  # type: ignore[misc]
        assert value.is_cuda
