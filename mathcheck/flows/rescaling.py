r"""Diagonal scaling $y = e^{s}\odot x$, and the logistic base density $-\mathrm{softplus}(z) - \mathrm{softplus}(-z)$ of NICE."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Generator, Tensor

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Residual, close
from mathcheck.engine.strategies import BATCH_SHAPES, Interval
from mathcheck.flows.bijection import Bijection
from mathcheck.oracles import arb
from mathcheck.probability.density import Density


def rescaling(log_scales: Tensor) -> Bijection:
    r"""$y = e^{s}\odot x$ with $\log\lvert\det J\rvert = \sum_i s_i$ at every point, and $-\sum_i s_i$ for the inverse.

    Args:
        log_scales: s, `(n,)`, n at least 1.

    Returns:
        The bijection of `(*batch, n)`. It works in the dtype and on the device of the point, and is differentiable in
        the point and in s.

    Raises:
        TypeError, ValueError: for log-scales that are no finite floating vector, or later for points of another shape
            or dtype.

    References:
        Dinh, Krueger, Bengio, NICE: Non-linear independent components estimation (2015), section 3.3.
    """
    arguments.finite_floating(log_scales=log_scales)
    if log_scales.ndim != 1 or log_scales.shape[0] < 1:
        raise ValueError(f"log_scales must have shape (n,) with n >= 1, got {tuple(log_scales.shape)}")
    n = log_scales.shape[0]

    def scales(x: Tensor, name: str) -> Tensor:
        arguments.events((n,), **{name: x})
        return log_scales.to(x)

    def log_det(x: Tensor, name: str, sign: int) -> Tensor:
        return (sign * scales(x, name).sum()).expand(x.shape[:-1])

    return Bijection(
        lambda x: x * scales(x, "x").exp(),
        lambda y: y * (-scales(y, "y")).exp(),
        lambda x: log_det(x, "x", 1),
        (n,),
        lambda y: log_det(y, "y", -1),
        batch_shapes=BATCH_SHAPES,
    )


def logistic_log_prob(z: Tensor) -> Tensor:
    r"""$\log p(z) = \sum_i\big[-\mathrm{softplus}(z_i) - \mathrm{softplus}(-z_i)\big]$, the standard logistic log-density.

    Since $\mathrm{softplus}(z) + \mathrm{softplus}(-z) = \lvert z\rvert + 2\log(1 + e^{-\lvert z\rvert})$, nothing overflows.

    Args:
        z: `(*batch, n)`.

    Returns:
        `(*batch,)`, in nats, differentiable.

    Raises:
        TypeError, ValueError: for a point that is no floating tensor, or a number without dimension.
    """
    arguments.vectors(z=z)
    return _logistic(z).sum(-1)


def _logistic(z: Tensor) -> Tensor:
    # logaddexp, unlike |z|, has the right gradient at 0.
    zero = torch.zeros_like(z)
    return -torch.logaddexp(z, zero) - torch.logaddexp(-z, zero)


def logistic_sample(
    shape: tuple[int, ...],
    generator: Generator | None = None,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Tensor:
    r"""$z = \log u - \log(1 - u)$ with u uniform on the odd multiples of $2^{-m-1}$, never 0 and never 1: always finite.

    Args:
        shape: of the result.
        generator: source of the randomness.
        dtype: float64 (m = 52) or float32 (m = 23).
        device: of the generator.

    Raises:
        TypeError: for arguments of another type, or another dtype.
    """
    arguments.sequences(int, shape=shape)
    arguments.dtypes(dtype=dtype)
    arguments.devices(device=device)
    if generator is not None:
        arguments.instances(Generator, generator=generator)
    bits = 52 if dtype == torch.float64 else 23
    u = (torch.randint(2**bits, shape, generator=generator, device=device).to(dtype) + 0.5) * 2.0**-bits
    return torch.logit(u)


LogDet = Callable[[Tensor, bool], Tensor]


def directed_log_det(log_scales: Tensor, reverse: bool) -> Tensor:
    r"""$\sum_i s_i$ for the scaling, and $-\sum_i s_i$ for its inverse.

    Args:
        log_scales: `(n,)`.
        reverse: whether the inverse is applied.

    Raises:
        TypeError, ValueError: as `rescaling`, or if `reverse` is neither True nor False.
    """
    arguments.instances(bool, reverse=reverse)
    b = rescaling(log_scales)
    function = b.inverse_log_abs_det_jacobian if reverse else b.log_abs_det_jacobian
    assert function is not None
    return function(torch.zeros_like(log_scales))


@claim(
    given=lambda f, dtype: st.tuples(
        strategies.of_each(st.integers(1, 4), lambda n: strategies.tensors((n,), dtype, Interval(reach=30.0))),
        st.booleans(),
    ),
    reference=directed_log_det,
    mutants={
        "the inverse reports the log-determinant of the map": lambda f: lambda s, reverse: f(s, False),
        "the sign is changed in both directions": lambda f: lambda s, reverse: f(s, not reverse),
        "the log-scales are averaged": lambda f: lambda s, reverse: f(s, reverse) / len(s),
        "the scales are added instead of their logarithms": lambda f: (
            lambda s, reverse: s.exp().sum() * (-1 if reverse else 1)
        ),
    },
)
def log_det_follows_the_direction(f: LogDet, log_scales: Tensor, reverse: bool) -> Iterator[Residual]:
    r"""The log-determinant changes its sign with the direction: $\log\lvert\det\mathrm{diag}(e^{\pm s})\rvert = \pm\sum_i s_i$.

    Error bound: n roundings of $\sum_i\lvert s_i\rvert$; the logarithm of the product of the scales is enclosed.
    """

    def true() -> Any:
        product = arb.exact(1)
        for s in arb.exact_list(log_scales):
            product = product / arb.exp(s) if reverse else product * arb.exp(s)
        return arb.log(product)

    size = log_scales.double().abs().sum()
    yield close(f(log_scales, reverse), arb.enclose(true), ulps=len(log_scales), scale=size, what="log|det J|")


LogProb = Callable[[Tensor], Tensor]


@claim(
    given=lambda f, dtype: st.tuples(strategies.tensors((2,), dtype, Interval(reach=3000.0))),
    reference=logistic_log_prob,
    mutants={
        "softplus is written as log(1 + exp(z)), which overflows": lambda f: (
            lambda z: (-torch.log(1 + z.exp()) - torch.log(1 + (-z).exp())).sum(-1)
        ),
        "one of the two terms is left out": lambda f: lambda z: -torch.logaddexp(z, torch.zeros_like(z)).sum(-1),
        "the log-density is averaged over the coordinates": lambda f: lambda z: f(z) / z.shape[-1],
        "z is added, which is the other parametrisation": lambda f: lambda z: f(z) + z.sum(-1),
    },
)
def logistic_density_is_the_derivative(f: LogProb, z: Tensor) -> Iterator[Residual]:
    r"""The logistic density is the derivative of its distribution function.

    The logistic density is the derivative of $F(z) = 1/(1 + e^{-z})$: $\log p(z) = \log\big(F(z)(1 - F(z))\big)$.

    Error bound: 8 roundings of the value, whose terms have one sign; the derivative is taken by dual numbers in balls.
    """

    def true() -> Any:
        slopes = [arb.gradient(lambda v: 1 / (1 + arb.exp(-v[0])), [x])[0] for x in arb.exact_list(z)]
        return sum((arb.log(s) for s in slopes), arb.exact(0))

    yield close(f(z), arb.enclose(true, max_bits=20000), what="log p(z)")


Sample = Callable[[Tensor], Tensor]


def logistic_quantile(u: Tensor) -> Tensor:
    r"""$\log u - \log(1 - u)$, for u in (0, 1).

    Args:
        u: `(*batch,)`.

    Raises:
        TypeError: for levels that are no floating tensor.
        ValueError: for levels outside (0, 1), where the quantile is infinite or none.
    """
    arguments.floating(u=u)
    if not bool(((u > 0) & (u < 1)).all()):
        raise ValueError(f"u must lie in (0, 1), got {u.detach().flatten()[:8].tolist()}")
    return torch.logit(u)


@claim(
    given=lambda f, dtype: st.tuples(strategies.tensors((), dtype, strategies.unit_interval)),
    reference=logistic_quantile,
    mutants={
        "the sign is changed": lambda f: lambda u: -f(u),
        "1 - u is forgotten": lambda f: lambda u: u.log(),
        "u is shifted by eps to keep it from 0": lambda f: lambda u: (u + 1e-6).log() - (1 - u).abs().log(),
    },
)
def quantile_inverts_the_distribution_function(f: Sample, u: Tensor) -> Iterator[Residual]:
    r"""The logistic quantile inverts the distribution function: $z = \log u - \log(1 - u)$ has $1/(1 + e^{-z}) = u$.

    Error bound: 8 roundings of z and, since u/(1 - u) is rounded, 8 of 1; both logarithms are enclosed.
    """
    level = arb.exact(u)
    true = arb.enclose(lambda: arb.log(level / (1 - level)))
    yield close(f(u), true, scale=true.mid.abs() + 1, what="z(u)")


logistic = Density(_logistic, Interval(reach=500.0), cdf=torch.sigmoid, batch_shapes=BATCH_SHAPES)
three_scales = rescaling(torch.tensor([0.75, -1.5, 0.25], dtype=torch.float64))
