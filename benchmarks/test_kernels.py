"""The kernels beside their peers: each result is verified, then timed. Read the ratios within a group, not the times.

pytest benchmarks --benchmark-enable --benchmark-group-by=group --benchmark-columns=median,iqr,rounds
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from mathcheck.convex.smooth_max import smooth_max
from mathcheck.divergence.gaussian_kl import kl_cholesky, kl_diagonal, kl_full
from mathcheck.flows.coupling import affine_coupling, example_conditioner
from mathcheck.residual import close

Kernel = Callable[..., Tensor]


def agree(value: Tensor, peer: Tensor, scale: Tensor) -> None:
    """Nothing is timed before it is verified: both round terms as large as `scale`, a few times each."""
    residual = close(value, peer, ulps=64, scale=scale)
    assert residual.ratio <= 1, residual


def forward_and_backward(kernel: Kernel, leaves: list[Tensor]) -> Callable[[], None]:
    def run() -> None:
        torch.autograd.grad(kernel(*leaves).sum(), leaves)

    return run


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


DIAGONAL: dict[str, Kernel] = {
    "mathcheck": kl_diagonal,
    "torch.distributions": lambda a, b, c, d: kl_divergence(
        Independent(Normal(a, (b / 2).exp(), validate_args=False), 1, validate_args=False),
        Independent(Normal(c, (d / 2).exp(), validate_args=False), 1, validate_args=False),
    ),
    "textbook": lambda a, b, c, d: ((b - d).exp() - 1 - (b - d) + (a - c) ** 2 / d.exp()).sum(-1) / 2,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward+backward"])
@pytest.mark.parametrize("name", DIAGONAL)
def test_diagonal_kl(benchmark, name: str, backward: bool, dtype: torch.dtype) -> None:
    benchmark.group = f"diagonal KL 4096 x 512 {'forward+backward' if backward else 'forward'} {dtype}"
    leaves = [noise(4096, 512, seed=k).to(dtype) for k in range(4)]
    value = DIAGONAL[name](*leaves)
    agree(value, kl_diagonal(*(t.double() for t in leaves)), scale=4 * value.double() + 512)
    if backward:
        benchmark(forward_and_backward(DIAGONAL[name], [t.requires_grad_() for t in leaves]))
    else:
        benchmark(DIAGONAL[name], *leaves)


def covariance(seed: int) -> Tensor:
    root = noise(256, 64, 64, seed=seed) / 8
    return root @ root.mT + torch.eye(64)


FULL: dict[str, Kernel] = {
    "mathcheck": kl_full,
    "torch.distributions": lambda a, b, c, d: kl_divergence(
        MultivariateNormal(a, b, validate_args=False), MultivariateNormal(c, d, validate_args=False)
    ),
    "mathcheck, Cholesky factors": lambda a, b, c, d: kl_cholesky(
        a, torch.linalg.cholesky(b), c, torch.linalg.cholesky(d)
    ),
}


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward+backward"])
@pytest.mark.parametrize("name", FULL)
def test_full_kl(benchmark, name: str, backward: bool) -> None:
    benchmark.group = f"full KL 256 x (64 x 64) {'forward+backward' if backward else 'forward'}"
    leaves = [noise(256, 64, seed=0), covariance(1), noise(256, 64, seed=2), covariance(3)]
    value = FULL[name](*leaves)
    conditions = torch.linalg.cond(leaves[1]) + torch.linalg.cond(leaves[3])
    agree(value, kl_full(*(t.double() for t in leaves)), scale=conditions.double() * (value.double() + 64))
    if backward:
        benchmark(forward_and_backward(FULL[name], [t.requires_grad_() for t in leaves]))
    else:
        benchmark(FULL[name], *leaves)


MAXIMA: dict[str, Kernel] = {
    "mathcheck": smooth_max,
    "torch.logsumexp": lambda x: torch.logsumexp(x, -1),
    "naive exponentials": lambda x: x.exp().sum(-1).log(),
}


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward+backward"])
@pytest.mark.parametrize("name", MAXIMA)
def test_smooth_max(benchmark, name: str, backward: bool) -> None:
    benchmark.group = f"smooth maximum 4096 x 1000 {'forward+backward' if backward else 'forward'}"
    x = noise(4096, 1000, seed=0)
    value = MAXIMA[name](x)
    agree(value, smooth_max(x.double()), scale=value.double().abs() + 1000)
    if backward:
        benchmark(forward_and_backward(MAXIMA[name], [x.requires_grad_()]))
    else:
        benchmark(MAXIMA[name], x)


def _plain(x: Tensor) -> tuple[Tensor, Tensor]:
    """The coupling as one finds it: split, two halves, concatenate."""
    kept, moved = x[..., :32], x[..., 32:]
    s, t = CONDITIONER(kept)
    return torch.cat([kept, moved * s.exp() + t], -1), s.sum(-1)


CONDITIONER = example_conditioner(32, 32)
LAYER = affine_coupling(range(32), 64, CONDITIONER)
COUPLINGS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "mathcheck": lambda x: (LAYER.forward(x), LAYER.log_abs_det_jacobian(x)),  # type: ignore[misc]
    "plain split and concatenate": _plain,
}


@pytest.mark.parametrize("name", COUPLINGS)
def test_affine_coupling(benchmark, name: str) -> None:
    benchmark.group = "affine coupling 4096 x 64 forward and log-determinant"
    x = noise(4096, 64, seed=0)
    (y, log_det), (peer_y, peer_log_det) = COUPLINGS[name](x), _plain(x.double())
    agree(y, peer_y, scale=peer_y.abs() + 64)
    agree(log_det, peer_log_det, scale=peer_log_det.abs() + 64)
    benchmark(COUPLINGS[name], x)
