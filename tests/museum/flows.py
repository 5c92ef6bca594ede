"""Slips of normalizing flows."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mathcheck import Bijection, check_bijection
from mathcheck.engine.strategies import Interval
from museum.exhibit import THOROUGH, Exhibit


class Coupling(nn.Module):
    """RealNVP's layer with a binary mask: what is masked is kept, and says how the rest is scaled and shifted."""

    mask = torch.tensor([1.0, 0.0, 1.0, 0.0])

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8)).to(dtype)
        for parameter in self.net.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(dtype)
        self.register_buffer("b", self.mask.to(dtype))

    def scale_and_shift(self, x: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.net(self.b * x).chunk(2, dim=1)
        return torch.tanh(s), t

    def forward(self, x: Tensor) -> Tensor:
        s, t = self.scale_and_shift(x)
        return self.b * x + (1 - self.b) * (x * s.exp() + t)

    def inverse(self, y: Tensor) -> Tensor:
        s, t = self.scale_and_shift(y)
        return self.b * y + (1 - self.b) * (y - t) * (-s).exp()

    def log_det(self, x: Tensor) -> Tensor:
        return ((1 - self.b) * self.scale_and_shift(x)[0]).sum(1)

    def log_det_of_all(self, x: Tensor) -> Tensor:
        return self.scale_and_shift(x)[0].sum(1)


def coupling(dtype: torch.dtype) -> Bijection:
    flow = Coupling(dtype)
    return Bijection(flow.forward, flow.inverse, flow.log_det, (4,), lambda y: -flow.log_det(y), dtype=dtype)


def coupling_with_the_sign_of_the_map(dtype: torch.dtype) -> Bijection:
    flow = Coupling(dtype)
    return Bijection(flow.forward, flow.inverse, flow.log_det, (4,), flow.log_det, dtype=dtype)


def coupling_that_counts_what_it_keeps(dtype: torch.dtype) -> Bijection:
    flow = Coupling(dtype)
    return Bijection(flow.forward, flow.inverse, flow.log_det_of_all, (4,), dtype=dtype)


MIX = torch.tensor([[0.5, 1.0, 0.0, -0.5], [0.0, 2.0, 1.0, 0.0], [1.0, 0.0, -1.5, 0.5], [0.0, -1.0, 0.5, 1.0]]).double()


def two_layers(*, reversed_order: bool) -> Any:
    """A coupling and a linear layer; the inverse undoes the last one first, or forgets to."""

    def make(dtype: torch.dtype) -> Bijection:
        flow, w = Coupling(dtype), MIX.to(dtype)
        undo = [lambda y: y @ torch.linalg.inv(w).T, flow.inverse]

        def inverse(y: Tensor) -> Tensor:
            for layer in undo if reversed_order else undo[::-1]:
                y = layer(y)
            return y

        return Bijection(
            lambda x: flow(x) @ w.T, inverse, lambda x: flow.log_det(x) + torch.linalg.slogdet(w)[1], (4,), dtype=dtype
        )

    return make


def linear(*, transposed: bool) -> Any:
    def make(dtype: torch.dtype) -> Bijection:
        w = MIX.to(dtype)
        back = torch.linalg.inv(w) if transposed else torch.linalg.inv(w).T
        log_det = torch.linalg.slogdet(w)[1]
        return Bijection(lambda x: x @ w.T, lambda y: y @ back, lambda x: log_det.expand(len(x)), (4,), dtype=dtype)

    return make


# No power of it below its third is its inverse.
ORDER = torch.tensor([1, 2, 3, 0])


def permutation(inverse: Tensor) -> Bijection:
    return Bijection(
        lambda x: x[:, ORDER], lambda y: y[:, inverse], lambda x: x.new_zeros(len(x)), (4,), volume_preserving=True
    )


def convolution(*, positions: bool) -> Any:
    """Glow's invertible 1x1 convolution on two channels of 2 by 3 pixels."""

    def make(dtype: torch.dtype) -> Bijection:
        w = torch.tensor([[1.0, 0.5], [-0.5, 2.0]], dtype=dtype)

        def log_det(x: Tensor) -> Tensor:
            h, width = x.shape[2:]
            return (torch.linalg.slogdet(w)[1] * (h * width if positions else 1)).expand(len(x))

        return Bijection(
            lambda x: functional.conv2d(x, w[:, :, None, None]),
            lambda y: functional.conv2d(y, torch.linalg.inv(w)[:, :, None, None]),
            log_det,
            (2, 2, 3),
            dtype=dtype,
        )

    return make


class Planar(nn.Module):
    """Rezende and Mohamed's layer, with the constraint u.w > -1 or without."""

    def __init__(self, dtype: torch.dtype, constrained: bool):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, -0.5], dtype=dtype))
        self.u = nn.Parameter(torch.tensor([-1.5, 1.0], dtype=dtype))
        self.b = nn.Parameter(torch.tensor(0.25, dtype=dtype))
        self.constrained = constrained

    def u_hat(self) -> Tensor:
        wu = self.w @ self.u
        if not self.constrained:
            return self.u
        return self.u + (functional.softplus(wu) - 1 - wu) * self.w / (self.w @ self.w)

    def forward(self, z: Tensor) -> Tensor:
        return z + self.u_hat() * torch.tanh(z @ self.w + self.b)[:, None]

    def log_det(self, z: Tensor) -> Tensor:
        psi = (1 - torch.tanh(z @ self.w + self.b) ** 2)[:, None] * self.w
        return torch.log(torch.abs(1 + psi @ self.u_hat()))


def planar(*, constrained: bool) -> Any:
    def make(dtype: torch.dtype) -> Bijection:
        flow = Planar(dtype, constrained)
        return Bijection(flow.forward, None, flow.log_det, (2,), domain=Interval(reach=5.0), codomain=None, dtype=dtype)

    return make


def squashed(log_det: Any) -> Bijection:
    """The tanh at the end of a policy."""
    return Bijection(torch.tanh, torch.atanh, log_det, codomain=Interval(-1.0, 1.0), domain=Interval(reach=20.0))


EXHIBITS = [
    Exhibit(
        "an inverse with the log-determinant of the map",
        check_bijection,
        coupling_with_the_sign_of_the_map,
        coupling,
        named="the log-determinant of the inverse is negated",
    ),
    Exhibit(
        "a 1x1 convolution without h * w",
        check_bijection,
        convolution(positions=False),
        convolution(positions=True),
        named="multiplied by the number of positions h * w",
    ),
    Exhibit(
        "a coupling that counts the scale of what it keeps",
        check_bijection,
        coupling_that_counts_what_it_keeps,
        coupling,
        named=None,
        why="the scales of the single coordinates are inside: only their sum is to be seen",
    ),
    Exhibit(
        "a planar flow without the constraint",
        check_bijection,
        planar(constrained=False),
        planar(constrained=True),
        named=None,
        why="the law itself says that the map folds; what unfolds it are other parameters",
    ),
    Exhibit(
        "log(1 - tanh^2)",
        check_bijection,
        squashed(lambda x: torch.log(1 - torch.tanh(x) ** 2)),
        squashed(lambda x: 2 * (math.log(2) - x - functional.softplus(-2 * x))),
        named="it saturates",
        settings=THOROUGH,
    ),
    Exhibit(
        "a matrix for its transpose in the inverse of a linear flow",
        check_bijection,
        linear(transposed=True),
        linear(transposed=False),
        named="the matrix of the inverse is transposed",
    ),
    Exhibit(
        "a permutation for its inverse in a flow",
        check_bijection,
        permutation(ORDER),
        permutation(ORDER.argsort()),
        named="a permutation for its inverse",
    ),
    Exhibit(
        "an inverse in the order of the map",
        check_bijection,
        two_layers(reversed_order=False),
        two_layers(reversed_order=True),
        named=None,
        why="the layers are not to be seen from outside",
    ),
]
