"""Flows: couplings, linear layers, planar and radial maps, elementwise maps, inverses by iteration."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mathcheck import Bijection, Interval, check_bijection
from right_code.subject import Right, always

POSITIVE, UNIT = Interval(0.0, reach=10.0), Interval(0.0, 1.0)


def numbers(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def net(seed: int, inputs: int, outputs: int, dtype: torch.dtype) -> nn.Module:
    layers = nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, outputs)).to(dtype)
    for k, parameter in enumerate(layers.parameters()):
        parameter.data = numbers(10 * seed + k, *parameter.shape, dtype=dtype) / 2
    return layers


def flow(make: Callable[[torch.dtype], Bijection]) -> Right:
    return Right(check_bijection, make)


def affine_coupling(dtype: torch.dtype) -> Bijection:
    s, t = net(1, 2, 2, dtype), net(2, 2, 2, dtype)

    def forward(x: Tensor) -> Tensor:
        x1, x2 = x.chunk(2, dim=1)
        return torch.cat([x1, x2 * torch.exp(s(x1)) + t(x1)], dim=1)

    def inverse(y: Tensor) -> Tensor:
        y1, y2 = y.chunk(2, dim=1)
        return torch.cat([y1, (y2 - t(y1)) * torch.exp(-s(y1))], dim=1)

    return Bijection(forward, inverse, lambda x: s(x[:, :2]).sum(1), (4,), lambda y: -s(y[:, :2]).sum(1), dtype=dtype)


def additive_coupling(dtype: torch.dtype) -> Bijection:
    t = net(3, 1, 1, dtype)

    def shift(x: Tensor, sign: int) -> Tensor:
        return torch.cat([x[:, :1], x[:, 1:] + sign * t(x[:, :1])], 1)

    return Bijection(
        lambda x: shift(x, 1),
        lambda y: shift(y, -1),
        lambda x: x.new_zeros(len(x)),
        (2,),
        lambda y: y.new_zeros(len(y)),
        volume_preserving=True,
        dtype=dtype,
    )


def real_nvp_with_a_mask(dtype: torch.dtype) -> Bijection:
    network, mask = net(4, 3, 6, dtype), torch.tensor([1.0, 0.0, 1.0], dtype=dtype)

    def parts(x: Tensor) -> tuple[Tensor, Tensor]:
        s, t = network(x * mask).chunk(2, dim=-1)
        return torch.tanh(s) * (1 - mask), t * (1 - mask)

    def forward(x: Tensor) -> Tensor:
        s, t = parts(x)
        return x * s.exp() + t

    def inverse(y: Tensor) -> Tensor:
        s, t = parts(y)
        return (y - t) * torch.exp(-s)

    return Bijection(forward, inverse, lambda x: parts(x)[0].sum(-1), (3,), lambda y: -parts(y)[0].sum(-1), dtype=dtype)


def real_nvp_in_layers(dtype: torch.dtype) -> Bijection:
    """Three couplings with the halves exchanged in between."""
    nets = [net(k, 1, 2, dtype) for k in (5, 6, 7)]

    def forward_and_log_det(x: Tensor) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(x.shape[0])
        for network in nets:
            a, b = x[:, :1], x[:, 1:]
            s, t = network(a).chunk(2, 1)
            s = torch.tanh(s)
            x, log_det = torch.cat([b * s.exp() + t, a], 1), log_det + s.sum(1)
        return x, log_det

    def inverse(y: Tensor) -> Tensor:
        for network in reversed(nets):
            b, a = y[:, :1], y[:, 1:]
            s, t = network(a).chunk(2, 1)
            y = torch.cat([a, (b - t) * (-torch.tanh(s)).exp()], 1)
        return y

    return Bijection(
        lambda x: forward_and_log_det(x)[0],
        inverse,
        lambda x: forward_and_log_det(x)[1],
        (2,),
        forward_and_log_det=forward_and_log_det,
        dtype=dtype,
    )


def conditional(dtype: torch.dtype) -> Bijection:
    """y -> y exp(s) + t, with s and t from a net of a fixed context."""
    s, t = net(8, 2, 4, dtype)(numbers(9, 2, dtype=dtype)).detach().chunk(2)
    t = t * 1e-11
    return Bijection(
        lambda y: y * s.exp() + t, lambda z: (z - t) * (-s).exp(), lambda y: s.sum().expand(len(y)), (2,), dtype=dtype
    )


def autoregressive(dtype: torch.dtype) -> Bijection:
    nets = [net(10 + k, k, 2, dtype) for k in (1, 2)]

    def parameters(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        if k == 0:
            return x.new_full((len(x),), 0.3), x.new_full((len(x),), -0.2)
        m, a = nets[k - 1](x[:, :k]).unbind(1)
        return m, a.tanh()

    def forward(x: Tensor) -> Tensor:
        return torch.stack([x[:, k] * parameters(x, k)[1].exp() + parameters(x, k)[0] for k in range(3)], 1)

    def inverse(y: Tensor) -> Tensor:
        x = torch.zeros_like(y)
        for k in range(3):
            m, a = parameters(x, k)
            x = torch.cat([x[:, :k], ((y[:, k] - m) * (-a).exp()).unsqueeze(1), x[:, k + 1 :]], 1)
        return x

    return Bijection(forward, inverse, lambda x: sum(parameters(x, k)[1] for k in range(3)), (3,), dtype=dtype)


def inverse_autoregressive(dtype: torch.dtype) -> Bijection:
    """Kingma and others' gated update of two coordinates; no inverse is written."""
    network = net(13, 1, 2, dtype)

    def gate(x: Tensor) -> tuple[Tensor, Tensor]:
        m, s = network(x[:, :1]).unbind(1)
        return m, torch.sigmoid(s + 1)

    def forward(x: Tensor) -> Tensor:
        m, sigma = gate(x)
        return torch.stack([x[:, 0], sigma * x[:, 1] + (1 - sigma) * m], 1)

    return Bijection(forward, None, lambda x: gate(x)[1].log(), (2,), dtype=dtype)


def convolution(dtype: torch.dtype) -> Bijection:
    w = numbers(14, 3, 3, dtype=dtype) + 2 * torch.eye(3, dtype=dtype)

    def log_det(x: Tensor) -> Tensor:
        return (x.shape[-1] * x.shape[-2] * torch.linalg.slogdet(w)[1]).expand(len(x))

    return Bijection(
        lambda x: functional.conv2d(x, w[:, :, None, None]),
        lambda y: functional.conv2d(y, torch.inverse(w)[:, :, None, None]),
        log_det,
        (3, 2, 2),
        lambda y: -log_det(y),
        dtype=dtype,
    )


def dense(dtype: torch.dtype) -> Bijection:
    w, b = numbers(15, 3, 3, dtype=dtype) + torch.eye(3, dtype=dtype), numbers(16, 3, dtype=dtype)
    return Bijection(
        lambda x: x @ w.T + b,
        lambda y: torch.linalg.solve(w, (y - b).T).T,
        lambda x: torch.linalg.slogdet(w).logabsdet.expand(len(x)),
        (3,),
        dtype=dtype,
    )


def triangular_factors(dtype: torch.dtype) -> Bijection:
    """A linear layer by its LU factors, whose log-determinant is a sum."""
    raw, s = numbers(17, 3, 3, dtype=dtype), numbers(18, 3, dtype=dtype)
    lower = torch.tril(raw, -1) + torch.eye(3, dtype=dtype)
    upper = torch.triu(raw, 1) + torch.diag(s.exp())

    def inverse(y: Tensor) -> Tensor:
        z = torch.linalg.solve_triangular(lower, y.T, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, z, upper=True).T

    return Bijection(lambda x: x @ (lower @ upper).T, inverse, lambda x: s.sum().expand(len(x)), (3,), dtype=dtype)


def householder(dtype: torch.dtype) -> Bijection:
    v = numbers(19, 3, dtype=dtype)

    def reflect(x: Tensor) -> Tensor:
        return x - 2 * (x @ v)[:, None] * v / (v @ v)

    return Bijection(reflect, reflect, lambda x: x.new_zeros(len(x)), (3,), volume_preserving=True, dtype=dtype)


def act_norm(dtype: torch.dtype) -> Bijection:
    mean, log_scale = numbers(20, 1, 2, 1, 1, dtype=dtype), numbers(21, 1, 2, 1, 1, dtype=dtype)
    return Bijection(
        lambda x: (x + mean) * log_scale.exp(),
        lambda y: y * torch.exp(-log_scale) - mean,
        lambda x: (x.shape[2] * x.shape[3] * log_scale.sum()).expand(len(x)),
        (2, 2, 3),
        dtype=dtype,
    )


def batch_norm(dtype: torch.dtype) -> Bijection:
    layer = nn.BatchNorm1d(2).to(dtype).eval()
    layer.running_mean.copy_(numbers(22, 2))
    layer.running_var.copy_(numbers(23, 2).exp())
    nn.init.constant_(layer.weight, 1.5)

    def inverse(y: Tensor) -> Tensor:
        return (y - layer.bias) / layer.weight * (layer.running_var + layer.eps).sqrt() + layer.running_mean

    def log_det(x: Tensor) -> Tensor:
        return (layer.weight.abs().log() - 0.5 * (layer.running_var + layer.eps).log()).sum().expand(len(x))

    return Bijection(layer, inverse, log_det, (2,), dtype=dtype)


def planar(dtype: torch.dtype) -> Bijection:
    w, u, b = numbers(24, 2, dtype=dtype), numbers(25, 2, dtype=dtype), 0.3
    wu = w @ u
    u_hat = u + (functional.softplus(wu) - 1 - wu) * w / (w @ w)

    def forward(z: Tensor) -> Tensor:
        return z + u_hat * torch.tanh(z @ w + b).unsqueeze(-1)

    def log_det(z: Tensor) -> Tensor:
        psi = (1 - torch.tanh(z @ w + b).square()).unsqueeze(-1) * w
        return torch.log((1 + psi @ u_hat).abs())

    return Bijection(forward, None, log_det, (2,), dtype=dtype)


def radial(dtype: torch.dtype) -> Bijection:
    z0, alpha = numbers(26, 3, dtype=dtype), torch.tensor(1.2, dtype=dtype)
    beta = -alpha + functional.softplus(torch.tensor(0.5, dtype=dtype))

    def h(z: Tensor) -> tuple[Tensor, Tensor]:
        r = torch.linalg.vector_norm(z - z0, dim=-1)
        return r, 1 / (alpha + r)

    def forward(z: Tensor) -> Tensor:
        return z + beta * h(z)[1].unsqueeze(-1) * (z - z0)

    def log_det(z: Tensor) -> Tensor:
        r, k = h(z)
        return 2 * torch.log(1 + beta * k) + torch.log(1 + beta * k - beta * r * k**2)

    return Bijection(forward, None, log_det, (3,), dtype=dtype)


def sylvester(dtype: torch.dtype) -> Bijection:
    q = torch.linalg.qr(numbers(27, 3, 2, dtype=torch.float64))[0].to(dtype)
    r1, r2 = (torch.triu(numbers(k, 2, 2, dtype=dtype), 1) for k in (28, 29))
    r1, r2 = (
        r1 + torch.diag(torch.tensor([0.6, 0.8], dtype=dtype)),
        r2 + torch.diag(torch.tensor([0.9, 0.5], dtype=dtype)),
    )

    def inner(z: Tensor) -> Tensor:
        return z @ q @ r2.T + 0.1

    def log_det(z: Tensor) -> Tensor:
        slope = 1 - torch.tanh(inner(z)) ** 2
        return torch.log((1 + slope * torch.diagonal(r1) * torch.diagonal(r2)).abs()).sum(-1)

    return Bijection(lambda z: z + torch.tanh(inner(z)) @ (q @ r1).T, None, log_det, (3,), dtype=dtype)


def increasing(x: Tensor) -> Tensor:
    return 2 * x + torch.tanh(x)


def slope(x: Tensor) -> Tensor:
    return 3 - torch.tanh(x) ** 2


def by_bisection(y: Tensor) -> Tensor:
    low, high = torch.full_like(y, -200.0), torch.full_like(y, 200.0)
    for _ in range(60):
        middle = (low + high) / 2
        above = increasing(middle) > y
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return (low + high) / 2


def by_newton(y: Tensor) -> Tensor:
    x = y / 2
    tolerance = 1e-12 if y.dtype == torch.float64 else 1e-5
    for _ in range(100):
        step = (increasing(x) - y) / slope(x)
        x = x - step
        if bool((step.abs() <= tolerance).all()):
            break
    return x


def iterative(inverse: Callable[[Tensor], Tensor]) -> Bijection:
    return Bijection(increasing, inverse, lambda x: slope(x).log())


def stopped_early(error: float) -> Callable[[torch.dtype], Bijection]:
    """Bisection that stops when its bracket is 1e-12 wide, or in single precision 1e-5."""

    def make(dtype: torch.dtype) -> Bijection:
        width = 1e-12 if dtype == torch.float64 else 1e-4

        def inverse(y: Tensor) -> Tensor:
            low, high = torch.full_like(y, -64.0), torch.full_like(y, 64.0)
            while bool((high - low > width).any()):
                middle = (low + high) / 2
                low, high = (
                    torch.where(increasing(middle) > y, low, middle),
                    torch.where(increasing(middle) > y, middle, high),
                )
            return (low + high) / 2 + width / 7

        return Bijection(increasing, inverse, lambda x: slope(x).log(), inverse_error=error * width)

    return make


def residual_flow(dtype: torch.dtype) -> Bijection:
    """x + g(x) with a contraction g; the inverse is a fixed point."""
    w = 0.3 * torch.linalg.qr(numbers(30, 2, 2))[0].to(dtype)

    def g(x: Tensor) -> Tensor:
        return torch.sin(x @ w)

    def inverse(y: Tensor) -> Tensor:
        x = y
        for _ in range(80):
            x = y - g(x)
        return x

    def log_det(x: Tensor) -> Tensor:
        jacobian = torch.eye(2, dtype=dtype) + torch.cos(x @ w).unsqueeze(-1) * w.T
        return torch.linalg.slogdet(jacobian)[1]

    return Bijection(lambda x: x + g(x), inverse, log_det, (2,), dtype=dtype)


def spline(dtype: torch.dtype) -> Bijection:
    """Durkan and others' rational quadratic spline on [-3, 3], the identity outside."""
    knots_x = torch.tensor([-3.0, -1.0, 0.5, 3.0], dtype=dtype)
    knots_y = torch.tensor([-3.0, 0.0, 1.0, 3.0], dtype=dtype)
    slopes = torch.tensor([1.0, 0.5, 2.0, 1.0], dtype=dtype)

    def bins(at: Tensor, knots: Tensor) -> list[Tensor]:
        k = (torch.searchsorted(knots, at.contiguous()) - 1).clamp(0, 2)
        width, height = knots_x[k + 1] - knots_x[k], knots_y[k + 1] - knots_y[k]
        return [knots_x[k], knots_y[k], width, height, height / width, slopes[k], slopes[k + 1]]

    def forward(x: Tensor) -> Tensor:
        x0, y0, w, h, s, d0, d1 = bins(x, knots_x)
        t = (x - x0) / w
        y = y0 + h * (s * t**2 + d0 * t * (1 - t)) / (s + (d1 + d0 - 2 * s) * t * (1 - t))
        return torch.where(x.abs() < 3, y, x)

    def inverse(y: Tensor) -> Tensor:
        x0, y0, w, h, s, d0, d1 = bins(y, knots_y)
        a = h * (s - d0) + (y - y0) * (d1 + d0 - 2 * s)
        b = h * d0 - (y - y0) * (d1 + d0 - 2 * s)
        c = -s * (y - y0)
        root = 2 * c / (-b - (b**2 - 4 * a * c).clamp(min=0).sqrt())
        return torch.where(y.abs() < 3, root * w + x0, y)

    def log_det(x: Tensor) -> Tensor:
        _, _, _, _, s, d0, d1 = bins(x, knots_x)
        t = (x - bins(x, knots_x)[0]) / bins(x, knots_x)[2]
        top = s**2 * (d1 * t**2 + 2 * s * t * (1 - t) + d0 * (1 - t) ** 2)
        value = top.log() - 2 * (s + (d1 + d0 - 2 * s) * t * (1 - t)).log()
        return torch.where(x.abs() < 3, value, 0.0)

    return Bijection(forward, inverse, log_det, dtype=dtype)


def squeeze(dtype: torch.dtype) -> Bijection:
    def forward(x: Tensor) -> Tensor:
        return functional.pixel_unshuffle(x, 2)

    return Bijection(
        forward,
        lambda y: functional.pixel_shuffle(y, 2),
        lambda x: x.new_zeros(len(x)),
        (1, 2, 4),
        codomain=None,
        volume_preserving=True,
    )


ORDER = torch.tensor([2, 0, 3, 1])


def elementwise(
    forward: Any, inverse: Any, log_det: Any, domain: Interval | None = None, codomain: Interval | None = None
) -> Right:
    real = Interval(reach=10.0)
    return always(
        check_bijection, Bijection(forward, inverse, log_det, domain=domain or real, codomain=codomain or real)
    )


SUBJECTS = {
    "affine map of a number": elementwise(
        lambda x: 3 * x + 1, lambda y: (y - 1) / 3, lambda x: torch.full_like(x, math.log(3))
    ),
    "affine coupling": flow(affine_coupling),
    "additive coupling": flow(additive_coupling),
    "RealNVP with a mask": flow(real_nvp_with_a_mask),
    "RealNVP of three layers": flow(real_nvp_in_layers),
    "conditional affine map": flow(conditional),
    "masked autoregressive flow": flow(autoregressive),
    "inverse autoregressive flow": flow(inverse_autoregressive),
    "1x1 convolution": flow(convolution),
    "dense layer": flow(dense),
    "linear layer by LU factors": flow(triangular_factors),
    "Householder reflection": flow(householder),
    "activation normalisation": flow(act_norm),
    "batch normalisation": flow(batch_norm),
    "planar flow": flow(planar),
    "radial flow": flow(radial),
    "Sylvester flow": flow(sylvester),
    "residual flow": flow(residual_flow),
    "rational quadratic spline": flow(spline),
    "squeeze": flow(squeeze),
    "permutation": always(
        check_bijection,
        Bijection(
            lambda x: x[:, ORDER],
            lambda y: y[:, ORDER.argsort()],
            lambda x: x.new_zeros(len(x)),
            (4,),
            volume_preserving=True,
        ),
    ),
    "flip": always(
        check_bijection,
        Bijection(
            lambda x: x.flip(-1), lambda y: y.flip(-1), lambda x: x.new_zeros(len(x)), (3,), volume_preserving=True
        ),
    ),
    "inverse by bisection": always(check_bijection, iterative(by_bisection)),
    "inverse by Newton's method to 1e-12": always(check_bijection, iterative(by_newton)),
    "inverse by bisection to 1e-12": Right(check_bijection, stopped_early(0.0)),
    "inverse by bisection to 1e-12, promised": Right(check_bijection, stopped_early(1.0)),
    "exponential map": elementwise(torch.exp, torch.log, lambda x: x, codomain=POSITIVE),
    "logarithm": elementwise(torch.log, torch.exp, lambda x: -x.log(), domain=POSITIVE),
    "sigmoid": elementwise(
        torch.sigmoid,
        lambda y: y.log() - torch.log1p(-y),
        lambda x: functional.logsigmoid(x) + functional.logsigmoid(-x),
        codomain=UNIT,
    ),
    "sigmoid by its softplus": elementwise(
        torch.sigmoid, torch.logit, lambda x: -functional.softplus(x) - functional.softplus(-x), codomain=UNIT
    ),
    "logit": elementwise(
        lambda x: torch.log(x / (1 - x)),
        torch.sigmoid,
        lambda x: -x.log() - torch.log1p(-x),
        domain=UNIT,
    ),
    "tanh with softplus": elementwise(
        torch.tanh,
        torch.atanh,
        lambda x: 2 * (math.log(2) - x - functional.softplus(-2 * x)),
        codomain=Interval(-1.0, 1.0),
    ),
    "softplus": elementwise(
        lambda x: functional.softplus(x, threshold=1000),
        lambda y: y + torch.log(-torch.expm1(-y)),
        lambda x: functional.logsigmoid(x),
        codomain=POSITIVE,
    ),
    "leaky ReLU": elementwise(
        lambda x: functional.leaky_relu(x, 0.1),
        lambda y: functional.leaky_relu(y, 10.0),
        lambda x: torch.where(x < 0, math.log(0.1), 0.0).to(x),
    ),
    "sinh": elementwise(torch.sinh, torch.asinh, lambda x: x.cosh().log()),
    "sinh-arcsinh": elementwise(
        lambda x: torch.sinh(1.5 * torch.asinh(x) + 0.5),
        lambda y: torch.sinh((torch.asinh(y) - 0.5) / 1.5),
        lambda x: torch.log(1.5 * torch.cosh(1.5 * torch.asinh(x) + 0.5)) - 0.5 * torch.log1p(x * x),
    ),
    "cubic": elementwise(
        lambda x: x + x**3,
        lambda y: _cubic_root(y),
        lambda x: torch.log1p(3 * x**2),
    ),
    "snake": elementwise(lambda x: x + 0.5 * x.sin(), lambda y: _fixed_point(y), lambda x: (1 + 0.5 * x.cos()).log()),
}


def _cubic_root(y: Tensor) -> Tensor:
    x = y.sign() * y.abs().clamp(min=1e-300 if y.dtype == torch.float64 else 1e-30).pow(1 / 3).minimum(y.abs())
    for _ in range(60):
        x = x - (x + x**3 - y) / (1 + 3 * x**2)
    return x


def _fixed_point(y: Tensor) -> Tensor:
    x = y
    for _ in range(70):
        x = y - 0.5 * x.sin()
    return x
