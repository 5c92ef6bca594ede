"""The nearest-neighbour estimate of a divergence: two searches among points in the plane."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from mathcheck.bench.kernel import OURS, PLAIN, Call, Contender, Inputs, Kernel, Size, Work, of
from mathcheck.divergence.nearest_neighbour_kl import nearest_neighbour_kl
from mathcheck.engine.residual import Residual, close

NEIGHBOUR = 3
DIMENSION = 2
# As many rows of distances at a time as make this many numbers.
_BLOCK = 2**22


def _samples(size: Size, generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    x, y = (torch.randn(size["points"], DIMENSION, generator=generator).to(dtype) for _ in range(2))
    return x, 1.5 * y + 0.5


def _ours(x: Tensor, y: Tensor) -> Tensor:
    return nearest_neighbour_kl(x, y, NEIGHBOUR)


def _estimate(own: Any, other: Any, x: Tensor, y: Tensor) -> Tensor:
    """From the distances to the neighbours."""
    ratios: Tensor = torch.as_tensor(other).log() - torch.as_tensor(own).log()
    return (x.shape[1] * ratios.double().mean() + math.log(len(y) / (len(x) - 1))).to(x)


def two_trees(x: Tensor, y: Tensor) -> Tensor:
    """The estimate as it is usually written."""
    a, b = x.numpy(), y.numpy()
    own = cKDTree(a).query(a, k=NEIGHBOUR + 1)[0][:, -1]
    return _estimate(own, cKDTree(b).query(a, k=NEIGHBOUR)[0][:, -1], x, y)


def _sklearn(x: Tensor, y: Tensor) -> Call:
    neighbors: Any = importlib.import_module("sklearn.neighbors")

    def run() -> Tensor:
        a, b = x.numpy(), y.numpy()
        own = neighbors.NearestNeighbors(n_neighbors=NEIGHBOUR + 1).fit(a).kneighbors(a)[0][:, -1]
        other = neighbors.NearestNeighbors(n_neighbors=NEIGHBOUR).fit(b).kneighbors(a)[0][:, -1]
        return _estimate(own, other, x, y)

    return run


def _all_distances(x: Tensor, y: Tensor) -> Tensor:
    """Without a tree, a block of rows at a time: n m distances."""

    def kth(points: Tensor, k: int) -> Tensor:
        rows = torch.split(x, max(1, _BLOCK // len(points)))
        far = [torch.cdist(block, points, compute_mode="donot_use_mm_for_euclid_dist") for block in rows]
        return torch.cat([block.kthvalue(k, -1).values for block in far])

    return _estimate(kth(x, NEIGHBOUR + 1), kth(y, NEIGHBOUR), x, y)


def _residuals(inputs: Inputs, result: Any) -> Iterator[Residual]:
    r"""Beside the distances in double precision.

    A distance is rounded relatively by a few eps, its logarithm absolutely; their mean, d and the sum likewise. The
    logarithms are below 16 in size for such samples.
    """
    x, y = (t.double() for t in inputs)
    yield close(result, two_trees(x, y), ulps=8, scale=DIMENSION * (DIMENSION + 2 + 16), what="the estimate")


KERNELS = (
    Kernel(
        "nearest_neighbour_kl",
        "Nearest-neighbour KL of two samples in the plane",
        "divergence.nearest_neighbour_kl",
        ({"points": 100}, {"points": 1000}, {"points": 10_000}),
        _samples,
        {
            OURS: of(_ours),
            PLAIN: of(two_trees),
            "sklearn": Contender(_sklearn, needs=("sklearn",), devices=("cpu",)),
            "torch.cdist": of(_all_distances),
        },
        _residuals,
        lambda size: Work(2 * DIMENSION * size["points"] * math.log2(size["points"])),
    ),
)
