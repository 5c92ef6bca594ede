r"""The planar flow with its log-determinant, forward.

flowjax constrains u by another function, and so computes another map from the same weights.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from mathcheck.bench.kernel import COMPILED, OURS, PLAIN, Call, Contender, Kernel, Size, Work, against
from mathcheck.flows.planar import planar

SIZES = ({"rows": 64, "n": 2}, {"rows": 4096, "n": 16}, {"rows": 65536, "n": 64})
CARD_SIZES = ({"rows": 65536, "n": 64}, {"rows": 524288, "n": 64}, {"rows": 1048576, "n": 256})
Pair = tuple[Tensor, Tensor]


def _inputs(size: Size, generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Points, w, u and b; w.z is about 1."""
    n = size["n"]
    z, w, u = (torch.randn(*shape, generator=generator) for shape in ((size["rows"], n), (n,), (n,)))
    return z.to(dtype), (w * n**-0.5).to(dtype), u.to(dtype), torch.tensor(0.25, dtype=dtype)


def _ours(*, compile: bool = False) -> Contender:
    def prepare(z: Tensor, w: Tensor, u: Tensor, b: Tensor) -> Call:
        function = planar(w, u, b).forward_and_log_det
        assert function is not None
        called = torch.compile(function, dynamic=False) if compile else function
        return lambda: called(z)

    return Contender(prepare)


def _plain(z: Tensor, w: Tensor, u: Tensor, b: Tensor) -> Pair:
    """The paper's formulas."""
    product = w @ u
    direction = u + (torch.log1p(product.exp()) - 1 - product) * w / (w @ w)
    h = torch.tanh(z @ w + b)
    slope = (1 - h * h).unsqueeze(-1) * w
    return z + direction * h.unsqueeze(-1), torch.log(torch.abs(1 + slope @ direction))


def _normflows(z: Tensor, w: Tensor, u: Tensor, b: Tensor) -> Call:
    library: Any = importlib.import_module("normflows.flows.planar")
    flow = library.Planar(tuple(w.shape), u=u[None], w=w[None], b=b[None])

    def run() -> Pair:
        with torch.no_grad():
            pair: Pair = flow(z)
            return pair

    return run


def _pyro(z: Tensor, w: Tensor, u: Tensor, b: Tensor) -> Call:
    transforms: Any = importlib.import_module("pyro.distributions.transforms")
    flow = transforms.Planar(len(w)).to(z)
    with torch.no_grad():
        for parameter, value in ((flow.w, w), (flow.u, u), (flow.bias, b)):
            parameter.copy_(value)

    def run() -> Pair:
        with torch.no_grad():
            flow.clear_cache()  # it remembers the last point
            y = flow(z)
            return y, flow.log_abs_det_jacobian(z, y)

    return run


def _terms(z: Tensor, w: Tensor, u: Tensor, b: Tensor) -> Pair:
    r"""What roundings move: a = w.z + b by its terms, so tanh a and the determinant, $1 + c\,\mathrm{sech}^2 a$, too."""
    product, products = w @ u, w.abs() @ u.abs()
    direction = u.abs() + (torch.log1p(product.exp()) + 1 + products) * w.abs() / (w @ w)
    noise = 1 + z.abs() @ w.abs() + b.abs()
    c = w.abs() @ direction
    determinant = _plain(z, w, u, b)[1].exp()
    return z.abs() + direction * noise.unsqueeze(-1), (1 + c * noise) / determinant


KERNELS = (
    Kernel(
        "planar",
        "Planar flow with its log-determinant, forward",
        "flows.planar",
        SIZES,
        _inputs,
        {
            OURS: _ours(),
            COMPILED: _ours(compile=True),
            PLAIN: Contender(lambda *inputs: lambda: _plain(*inputs)),
            "normflows": Contender(_normflows, needs=("normflows",)),
            "pyro": Contender(_pyro, needs=("pyro",)),
        },
        against(_plain, _terms),
        lambda size: Work(2 * size["rows"] * size["n"] + size["rows"], 4 * size["rows"] * size["n"]),
        CARD_SIZES,
    ),
)
