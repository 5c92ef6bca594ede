r"""The Kullback-Leibler divergence of two normal distributions: diagonal, full, by Cholesky factors, by sampling."""

from __future__ import annotations

import torch
from torch import Tensor

from mathcheck.divergence.gaussian_kl.kernels import CholeskyDivergence, DiagonalDivergence, FullDivergence
from mathcheck.divergence.kernels.excess import log_excess
from mathcheck.engine import arguments


def _checked(mean_q: Tensor, spread_q: Tensor, mean_p: Tensor, spread_p: Tensor, spread: str, rank: int) -> None:
    names = ("mean_q", f"{spread}_q", "mean_p", f"{spread}_p")
    tensors = (mean_q, spread_q, mean_p, spread_p)
    arguments.floating(**dict(zip(names, tensors, strict=True)))
    arguments.vectors(mean_q=mean_q)
    expected = (*mean_q.shape, mean_q.shape[-1]) if rank == 2 else tuple(mean_q.shape)
    for name, t, shape in zip(names, tensors, (tuple(mean_q.shape), expected) * 2, strict=True):
        if tuple(t.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(t.shape)}, expected {shape}")


def kl_diagonal(mean_q: Tensor, log_variance_q: Tensor, mean_p: Tensor, log_variance_p: Tensor) -> Tensor:
    r"""$\tfrac12\sum_i\big[e^{d_i} - 1 - d_i + (\mu_{q,i}-\mu_{p,i})^2 e^{-\ell_{p,i}}\big]$ with $d = \ell_q - \ell_p$.

    $\mathrm{KL}(q\,\|\,p)$ of normals with diagonal covariances and log-variances $\ell$, in nats. Both terms are
    non-negative and free of cancellation, so the value is never negative, exactly 0 on equal arguments, and within a
    few units in the last place (times the condition number) for nearly equal ones and for log-variances of any size.

    Args:
        mean_q, log_variance_q: `(*batch, n)`, of the distribution that the expectation is under; finite.
        mean_p, log_variance_p: `(*batch, n)`, finite.

    Returns:
        `(*batch,)`, differentiable once; infinite where the true value exceeds the dtype's largest number.

    Raises:
        TypeError, ValueError: for arguments that are not floating tensors of one shape, dtype and device.
    """
    _checked(mean_q, log_variance_q, mean_p, log_variance_p, "log_variance", 1)
    value: Tensor = DiagonalDivergence.apply(mean_q, log_variance_q, mean_p, log_variance_p)  # type: ignore[no-untyped-call]
    return value


def kl_cholesky(mean_q: Tensor, scale_tril_q: Tensor, mean_p: Tensor, scale_tril_p: Tensor) -> Tensor:
    r"""$\tfrac12\big[\lVert N\rVert_F^2 + 2\sum_i (N_{ii} - \log(1+N_{ii})) + \lVert L_p^{-1}(\mu_q-\mu_p)\rVert^2\big]$.

    $\mathrm{KL}(q\,\|\,p)$ of normals with covariances $L_q L_q^\top$ and $L_p L_p^\top$, in nats, where
    $N = L_p^{-1}(L_q - L_p)$ is triangular: with $M = I + N = L_p^{-1}L_q$ the trace is $\lVert M\rVert_F^2$ and the
    log-determinant $2\sum_i\log M_{ii}$. Every term is non-negative and free of cancellation.

    Args:
        mean_q, mean_p: `(*batch, n)`.
        scale_tril_q, scale_tril_p: `(*batch, n, n)` lower triangular with positive diagonals.

    Returns:
        `(*batch,)`, differentiable once.

    Raises:
        TypeError, ValueError: for arguments of the wrong type, shape, dtype or device, or a diagonal that is not
            positive.
    """
    _checked(mean_q, scale_tril_q, mean_p, scale_tril_p, "scale_tril", 2)
    for name, factor in (("scale_tril_q", scale_tril_q), ("scale_tril_p", scale_tril_p)):
        smallest = factor.detach().diagonal(dim1=-2, dim2=-1)
        if bool((smallest <= 0).any()):
            raise ValueError(f"{name} must have a positive diagonal, got {float(smallest.min())}")
    value: Tensor = CholeskyDivergence.apply(mean_q, scale_tril_q, mean_p, scale_tril_p)  # type: ignore[no-untyped-call]
    return value


def kl_full(mean_q: Tensor, covariance_q: Tensor, mean_p: Tensor, covariance_p: Tensor) -> Tensor:
    r"""$\tfrac12\big[\sum_i(\xi_i - \log(1+\xi_i)) + \lVert L_p^{-1}(\mu_q-\mu_p)\rVert^2\big]$.

    $\mathrm{KL}(q\,\|\,p)$ of normals with full covariances, in nats; $\xi_i$ are the eigenvalues of
    $X = L_p^{-1}(\Sigma_q - \Sigma_p)L_p^{-\top}$. That form is used where the covariances agree to a hundredth and
    $\lVert X\rVert_F \le 1/2$, since it starts from their exact difference; further apart the Cholesky factors are
    compared, as in `kl_cholesky`, since small eigenvalues drown in large ones.

    Args:
        mean_q, mean_p: `(*batch, n)`.
        covariance_q, covariance_p: `(*batch, n, n)`, symmetric positive definite; only the lower triangles are read.

    Returns:
        `(*batch,)`, differentiable.

    Raises:
        TypeError, ValueError: for arguments of the wrong type, shape, dtype or device, or a matrix that is not
            positive definite.
    """
    _checked(mean_q, covariance_q, mean_p, covariance_p, "covariance", 2)
    factors = []
    for name, matrix in (("covariance_q", covariance_q), ("covariance_p", covariance_p)):
        factor, info = torch.linalg.cholesky_ex(matrix)
        if bool((info != 0).any()):
            raise ValueError(f"{name} must be positive definite; a leading minor of order {int(info.max())} is not")
        factors.append(factor)
    lower_p = factors[1]
    value: Tensor = FullDivergence.apply(  # type: ignore[no-untyped-call]
        mean_q, covariance_q, mean_p, covariance_p, *(t.detach() for t in factors)
    )
    variances = covariance_p.diagonal(dim1=-2, dim2=-1)
    close = ((covariance_q.diagonal(dim1=-2, dim2=-1) - variances).abs() <= 0.01 * variances).all(-1)
    if not bool(close.any()):
        return value
    roots = variances[close].sqrt()
    difference = covariance_q[close].tril() - covariance_p[close].tril()
    agree = (difference.abs() <= 0.01 * roots.unsqueeze(-1) * roots.unsqueeze(-2)).all(-1).all(-1)
    near, nearly = _nearly_equal((mean_q - mean_p)[close], difference, lower_p[close])
    return value.masked_scatter(close, torch.where(near & agree, nearly, value[close]))


def _nearly_equal(shift: Tensor, difference: Tensor, lower_p: Tensor) -> tuple[Tensor, Tensor]:
    """Where the eigenvalue form of `kl_full` applies, and its value; the difference is lower triangular."""
    symmetric = difference + difference.tril(-1).mT
    half = torch.linalg.solve_triangular(lower_p, symmetric, upper=False)
    x = torch.linalg.solve_triangular(lower_p, half.mT, upper=False)
    near = torch.linalg.matrix_norm(x.detach()) <= 0.5
    eigenvalues = torch.linalg.eigvalsh(torch.where(near[..., None, None], (x + x.mT) / 2, torch.zeros_like(x)))
    z = torch.linalg.solve_triangular(lower_p, shift.unsqueeze(-1), upper=False).squeeze(-1)
    excess = log_excess(eigenvalues, 1 + eigenvalues.detach())
    return near, excess.sum(-1) / 2 + (z / 2 * z).sum(-1)


def kl_monte_carlo(
    mean_q: Tensor, log_variance_q: Tensor, mean_p: Tensor, log_variance_p: Tensor, noise: Tensor
) -> Tensor:
    r"""$\frac1K\sum_k\big[\log q(x_k) - \log p(x_k)\big]$ with $x_k = \mu_q + e^{\ell_q/2}\epsilon_k$.

    The unbiased estimator of `kl_diagonal` from reparameterised samples: its gradient is unbiased as well.

    Args:
        mean_q, log_variance_q, mean_p, log_variance_p: `(*batch, n)`.
        noise: `(K, *batch, n)`, standard normal, K at least 1.

    Returns:
        `(*batch,)`; single estimates may be negative.

    Raises:
        TypeError, ValueError: as `kl_diagonal`, or if the noise has another shape.
    """
    _checked(mean_q, log_variance_q, mean_p, log_variance_p, "log_variance", 1)
    arguments.floating(mean_q=mean_q, noise=noise)
    if noise.ndim != mean_q.ndim + 1 or noise.shape[1:] != mean_q.shape or noise.shape[0] < 1:
        raise ValueError(f"noise has shape {tuple(noise.shape)}, expected (K, *{tuple(mean_q.shape)}) with K >= 1")
    scaled = (mean_q - mean_p + torch.exp(log_variance_q / 2) * noise) * torch.exp(-log_variance_p / 2)
    terms = log_variance_p - log_variance_q + scaled * scaled - noise * noise
    return terms.sum(-1).mean(0) / 2
