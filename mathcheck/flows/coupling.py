r"""Additive and affine coupling over any index set.

$y_\Omega = x_\Omega$ and $y_{\Omega^c} = e^{s(x_\Omega)}\odot x_{\Omega^c} + t(x_\Omega)$. Listing $\Omega$ before its
complement is a permutation P of the coordinates, and $P J P^\top$ is block triangular with diagonal $(1, \dots, 1, e^{s})$:
whatever the index set, $\log\lvert\det J\rvert = \sum_i s_i(x_\Omega)$.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flint
import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Ball, Kind, Residual, close, exactly
from mathcheck.engine.strategies import BATCH_SHAPES, Interval
from mathcheck.flows.bijection import Bijection
from mathcheck.oracles import arb, derivative

Conditioner = Callable[[Tensor], tuple[Tensor, Tensor]]


Index = slice | Tensor


def _index(places: list[int]) -> Index:
    """Evenly spaced places, such as a half or every other one, as a slice, which makes a view; others to be gathered."""
    step = places[1] - places[0] if len(places) > 1 else 1
    even = step > 0 and places == list(range(places[0], places[-1] + 1, step))
    return slice(places[0], places[-1] + 1, step) if even else torch.tensor(places)


def _indices(kept: Sequence[int], n: int) -> tuple[Index, Index]:
    arguments.sequences(int, kept=kept)
    arguments.at_least(2, n=n)
    chosen = list(kept)
    inside = set(chosen)
    if len(inside) != len(chosen) or any(i < 0 or i >= n for i in chosen) or not 0 < len(chosen) < n:
        raise ValueError(f"kept must be a non-empty proper subset of 0, ..., {n - 1}, got {chosen}")
    return _index(chosen), _index([i for i in range(n) if i not in inside])


def _part(x: Tensor, index: Index) -> Tensor:
    return x[..., index] if isinstance(index, slice) else x.index_select(-1, index.to(x.device))


def _put(x: Tensor, index: Index, values: Tensor) -> Tensor:
    if not isinstance(index, slice):
        return x.index_copy(-1, index.to(x.device), values)
    y = x.clone()
    y[..., index] = values
    return y


def affine_coupling(kept: Sequence[int], n: int, conditioner: Conditioner) -> Bijection:
    r"""$y_\Omega = x_\Omega$, $y_{\Omega^c} = e^{s}\odot x_{\Omega^c} + t$ with $(s, t)$ = `conditioner`$(x_\Omega)$.

    The inverse needs no inverse of the conditioner: $x_{\Omega^c} = e^{-s}\odot(y_{\Omega^c} - t)$ with the same s and
    t, since $y_\Omega = x_\Omega$. $\log\lvert\det J\rvert = \sum_i s_i$. `forward_and_log_det` and `inverse_and_log_det`
    call the conditioner, which is nearly all of the work, once.

    Args:
        kept: the index set $\Omega$, a non-empty proper subset of 0, ..., n-1, in any order; the conditioner sees the
            coordinates in that order. Evenly spaced ones in rising order are not copied.
        n: number of coordinates, at least 2.
        conditioner: `(*batch, len(kept))` -> the log-scales s and the shifts t, each `(*batch, n - len(kept))`, for the
            other coordinates in increasing order. Any function that leaves what it is given as it is; it is never
            inverted.

    Returns:
        The bijection of `(*batch, n)`.

    Raises:
        TypeError, ValueError: for an index set that is none, or later for points of another shape or dtype.

    References:
        Dinh, Sohl-Dickstein, Bengio, Density estimation using Real NVP (2017), equations (7) and (8).
    """
    chosen, rest = _indices(kept, n)
    arguments.functions(conditioner=conditioner)

    def conditioned(x: Tensor, name: str) -> tuple[Tensor, Tensor]:
        arguments.events((n,), **{name: x})
        s, t = conditioner(_part(x, chosen))
        expected = (*x.shape[:-1], n - len(kept))
        for label, value in (("log-scales", s), ("shifts", t)):
            if tuple(value.shape) != expected:
                raise ValueError(f"conditioner gave {label} of shape {tuple(value.shape)}, expected {expected}")
        return s, t

    def forward_and_log_det(x: Tensor) -> tuple[Tensor, Tensor]:
        s, t = conditioned(x, "x")
        # A half of a network's output is strided, where exp takes half as long again.
        return _put(x, rest, torch.addcmul(t, _part(x, rest), s.contiguous().exp())), s.sum(-1)

    def inverse_and_log_det(y: Tensor) -> tuple[Tensor, Tensor]:
        s, t = conditioned(y, "y")
        return _put(y, rest, (_part(y, rest) - t) * (-s).exp()), -s.sum(-1)

    return Bijection(
        lambda x: forward_and_log_det(x)[0],
        lambda y: inverse_and_log_det(y)[0],
        lambda x: conditioned(x, "x")[0].sum(-1),
        (n,),
        lambda y: -conditioned(y, "y")[0].sum(-1),
        batch_shapes=BATCH_SHAPES,
        forward_and_log_det=forward_and_log_det,
        inverse_and_log_det=inverse_and_log_det,
    )


def additive_coupling(kept: Sequence[int], n: int, shift: Callable[[Tensor], Tensor]) -> Bijection:
    r"""$y_\Omega = x_\Omega$, $y_{\Omega^c} = x_{\Omega^c} + t(x_\Omega)$, which preserves volume: $\det J = 1$.

    Args:
        kept, n: as in `affine_coupling`.
        shift: `(*batch, len(kept))` -> `(*batch, n - len(kept))`, as the conditioner there.

    Returns:
        The bijection of `(*batch, n)`, whose log-determinant is exactly 0.

    Raises:
        TypeError, ValueError: as in `affine_coupling`.

    References:
        Dinh, Krueger, Bengio, NICE: Non-linear independent components estimation (2015), section 3.2.
    """
    chosen, rest = _indices(kept, n)
    arguments.functions(shift=shift)

    def shifted(x: Tensor, sign: int, name: str) -> Tensor:
        arguments.events((n,), **{name: x})
        t = shift(_part(x, chosen))
        if tuple(t.shape) != (*x.shape[:-1], n - len(kept)):
            raise ValueError(f"shift gave shape {tuple(t.shape)}, expected {(*x.shape[:-1], n - len(kept))}")
        return _put(x, rest, torch.add(_part(x, rest), t, alpha=sign))

    def zero(x: Tensor) -> Tensor:
        arguments.events((n,), x=x)
        return torch.zeros_like(x[..., 0])

    return Bijection(
        lambda x: shifted(x, 1, "x"),
        lambda y: shifted(y, -1, "y"),
        zero,
        (n,),
        zero,
        batch_shapes=BATCH_SHAPES,
        volume_preserving=True,
        forward_and_log_det=lambda x: (shifted(x, 1, "x"), zero(x)),
        inverse_and_log_det=lambda y: (shifted(y, -1, "y"), zero(y)),
    )


def example_conditioner(inputs: int, outputs: int, seed: int = 0) -> Conditioner:
    r"""A fixed smooth conditioner, $s = \tanh(A h)$ and $t = B h$ with $h = \tanh(C x_\Omega + d)$, for tests and proofs.

    Args:
        inputs, outputs: numbers of kept and of moved coordinates.
        seed: of the weights, which are standard normal; at least 0.

    Raises:
        TypeError, ValueError: for numbers that are none.
    """
    arguments.at_least(1, inputs=inputs, outputs=outputs)
    arguments.at_least(0, seed=seed)
    g = torch.Generator().manual_seed(seed)
    c, d, a, b = (
        torch.randn(*shape, generator=g, dtype=torch.float64)
        for shape in ((4, inputs), (4,), (outputs, 4), (outputs, 4))
    )

    def conditioner(kept: Tensor) -> tuple[Tensor, Tensor]:
        weights = [w.to(kept) for w in (c, d, a, b)]
        h = torch.tanh(kept @ weights[0].mT + weights[1])
        return torch.tanh(h @ weights[2].mT), h @ weights[3].mT

    return conditioner


Build = Callable[[tuple[int, ...], int, Conditioner], Bijection]
Inputs = tuple[tuple[int, ...], int, int, Tensor]


def _couplings(build: Build, dtype: torch.dtype) -> st.SearchStrategy[Inputs]:
    """Every index set in 2 to 5 dimensions, the seed of a conditioner, and a point."""

    def of(n: int) -> st.SearchStrategy[Inputs]:
        points = strategies.tensors((n,), dtype, Interval(reach=10.0))
        return st.tuples(strategies.index_sets(n), st.just(n), st.integers(0, 2**31 - 1), points)

    return strategies.of_each(st.integers(2, 5), of)


def _built(build: Build, kept: tuple[int, ...], n: int, seed: int) -> Bijection:
    return build(kept, n, example_conditioner(len(kept), n - len(kept), seed))


def _mutant(change: Callable[[Bijection, tuple[int, ...], int, Conditioner], Bijection]) -> Callable[[Build], Build]:
    return lambda build: lambda kept, n, conditioner: change(build(kept, n, conditioner), kept, n, conditioner)


def _replaced(b: Bijection, **functions: Callable[[Tensor], Tensor]) -> Bijection:
    fields = {"forward": b.forward, "inverse": b.inverse, "log_abs_det_jacobian": b.log_abs_det_jacobian, **functions}
    return Bijection(**fields, event_shape=b.event_shape, batch_shapes=b.batch_shapes)  # type: ignore[arg-type]


def _log_scales(kept: tuple[int, ...], conditioner: Conditioner, x: Tensor) -> Tensor:
    return conditioner(x[..., list(kept)])[0]


@claim(
    given=_couplings,
    reference=affine_coupling,
    mutants={
        "the kept and the moved coordinates are exchanged": lambda build: (
            lambda kept, n, conditioner: build(
                tuple(i for i in range(n) if i not in kept), n, example_conditioner(n - len(kept), len(kept), 1)
            )
        ),
        "the moved coordinates are scaled by their neighbours' values": _mutant(
            lambda b, kept, n, c: _replaced(b, forward=lambda x: b.forward(x) + 1e-3 * x.roll(1, -1) * x)
        ),
        "the kept coordinates are shifted as well": _mutant(
            lambda b, kept, n, c: _replaced(b, forward=lambda x: b.forward(x) + 1e-6 * x)
        ),
    },
)
def jacobian_is_block_triangular(
    build: Build, kept: tuple[int, ...], n: int, seed: int, x: Tensor
) -> Iterator[Residual]:
    r"""With the kept coordinates first, the Jacobian is block triangular.

    $P J P^\top = \begin{pmatrix} I & 0 \\ * & \mathrm{diag}(e^{s})\end{pmatrix}$ where P lists $\Omega$ before
    $\Omega^c$.

    Error bound: 0 for the entries that are 0 or 1, which autograd finds exactly; for the scales 8 roundings of $e^s$
    plus the radius of the Jacobian.
    """
    b = _built(build, kept, n, seed)
    rest = [i for i in range(n) if i not in kept]
    jacobian = derivative.jacobian(b.forward, x)
    order = [*kept, *rest]
    blocks = jacobian.mid[order][:, order]
    k = len(kept)
    yield exactly(blocks[:k], torch.eye(n, dtype=torch.float64)[:k], what="the rows of the kept coordinates")
    lower = blocks[k:, k:]
    yield exactly(lower - lower.diagonal().diag(), torch.zeros_like(lower), what="the moved block off its diagonal")
    scales = _log_scales(kept, example_conditioner(k, n - k, seed), x).double().exp()
    radius = jacobian.radius[order][:, order][k:, k:].diagonal()
    yield close(scales.to(x.dtype), _ball(lower.diagonal(), radius), what="the scales e^s")


def _ball(mid: Tensor, radius: Tensor) -> Ball:
    return Ball(mid, radius, kind=Kind.NUMERICAL, source="Jacobian, autograd")


_SLIPS: dict[str, Callable[[Build], Build]] = {
    "one moved coordinate is ignored": _mutant(
        lambda b, kept, n, c: _replaced(b, log_abs_det_jacobian=lambda x: _log_scales(kept, c, x)[..., 1:].sum(-1))
    ),
    "the sign of the log-determinant is changed": _mutant(
        lambda b, kept, n, c: _replaced(b, log_abs_det_jacobian=lambda x: -_log_scales(kept, c, x).sum(-1))
    ),
    "the scales are added instead of their logarithms": _mutant(
        lambda b, kept, n, c: _replaced(b, log_abs_det_jacobian=lambda x: _log_scales(kept, c, x).exp().sum(-1))
    ),
    "the log-scales are averaged": _mutant(
        lambda b, kept, n, c: _replaced(b, log_abs_det_jacobian=lambda x: _log_scales(kept, c, x).mean(-1))
    ),
}


@claim(
    given=_couplings,
    reference=affine_coupling,
    mutants=_SLIPS,
    uses=(jacobian_is_block_triangular,),
)
def log_det_is_the_sum_of_the_log_scales(
    build: Build, kept: tuple[int, ...], n: int, seed: int, x: Tensor
) -> Iterator[Residual]:
    r"""The log-determinant is the sum of the log-scales, whatever the index set.

    $\log\lvert\det J\rvert = \sum_{i\in\Omega^c} s_i(x_\Omega)$.

    Error bound: 16 roundings of the value plus the perturbation of the determinant; two oracles, autograd and
    extrapolated differences.
    """
    b = _built(build, kept, n, seed)
    if b.log_abs_det_jacobian is None:
        raise NotImplementedError("the coupling has no log_abs_det_jacobian")
    value = b.log_abs_det_jacobian(x)
    yield close(value, derivative.log_abs_det(derivative.jacobian(b.forward, x)), ulps=16, what="log|det J|")
    yield close(value, derivative.log_abs_det(derivative.difference_jacobian(b.forward, x)), ulps=16, what="log|det J|")


def _polynomials(inputs: int, outputs: int, seed: int) -> tuple[list[list[int]], list[list[int]]]:
    r"""Small integers a and b, for the conditioner $s = a x_\Omega / 8$, $t = b x_\Omega^2$."""
    g = torch.Generator().manual_seed(seed)
    a, b = torch.randint(-3, 4, (2, outputs, inputs), generator=g).tolist()
    return a, b


def _polynomial_couplings(build: Build, dtype: torch.dtype) -> st.SearchStrategy[Inputs]:
    """As `_couplings`, at points in quarters, where s and t are exact."""

    def of(n: int) -> st.SearchStrategy[Inputs]:
        points = strategies.tensors((n,), dtype, st.integers(-8, 8).map(lambda k: k / 4))
        return st.tuples(strategies.index_sets(n), st.just(n), st.integers(0, 2**31 - 1), points)

    return strategies.of_each(st.integers(2, 4), of)


@claim(
    given=_polynomial_couplings,
    reference=affine_coupling,
    mutants={
        **_SLIPS,
        "the exponential of the shift is added": lambda build: (
            lambda kept, n, c: build(kept, n, lambda x: (c(x)[0], c(x)[1].exp()))
        ),
        "the shift is subtracted": lambda build: lambda kept, n, c: build(kept, n, lambda x: (c(x)[0], -c(x)[1])),
    },
    uses=(log_det_is_the_sum_of_the_log_scales,),
)
def map_and_log_det_are_those_of_the_formula(
    build: Build, kept: tuple[int, ...], n: int, seed: int, x: Tensor
) -> Iterator[Residual]:
    r"""Map and log-determinant are those of the formula, in ball arithmetic.

    $y_{\Omega^c} = e^{s}\odot x_{\Omega^c} + t$ and $\log\lvert\det J\rvert$ of its Jacobian, by dual numbers and
    elimination, for a conditioner with polynomials $s = a x_\Omega/8$ and $t = b x_\Omega^2$ that floats compute exactly.

    Error bound: 4 roundings of $\lvert x\rvert e^s + \lvert t\rvert$ for the map; n of $\sum_i\lvert s_i\rvert$ for the
    log-determinant; plus the radii.
    """
    rest = [i for i in range(n) if i not in kept]
    a, b = _polynomials(len(kept), len(rest), seed)

    def conditioner(inside: Tensor) -> tuple[Tensor, Tensor]:
        return inside @ inside.new_tensor(a).mT / 8, inside.square() @ inside.new_tensor(b).mT

    def output(point: list[Any]) -> list[Any]:
        y = list(point)
        for i, scales, shifts in zip(rest, a, b, strict=True):
            s = sum(c * point[j] for c, j in zip(scales, kept, strict=True)) / 8
            t = sum(c * point[j] * point[j] for c, j in zip(shifts, kept, strict=True))
            y[i] = arb.exp(s) * point[i] + t
        return y

    def true() -> list[Any]:
        point = arb.exact_list(x)
        rows = [arb.gradient(functools.partial(lambda i, v: output(v)[i], i), point) for i in range(n)]
        return [*output(point), arb.log(abs(flint.arb_mat(rows).det()))]

    enclosed, coupling = arb.enclose(true), build(kept, n, conditioner)
    y, log_det = (
        Ball(enclosed.mid[k], enclosed.radius[k], kind=Kind.ENCLOSED, source=source)
        for k, source in ((slice(n), "formula"), (n, "dual numbers and elimination"))
    )
    s, t = conditioner(x[..., list(kept)].double().cpu())
    size = x.abs().double().cpu().index_add(0, torch.tensor(rest), t.abs() + x.double().cpu()[rest].abs() * s.exp())
    yield close(coupling.forward(x), y, ulps=4, scale=size, what="y")
    if coupling.log_abs_det_jacobian is not None:
        yield close(coupling.log_abs_det_jacobian(x), log_det, ulps=n, scale=s.abs().sum(), what="log|det J|")


affine = affine_coupling((0, 3), 5, example_conditioner(2, 3))
additive = additive_coupling((4, 1), 5, lambda kept: example_conditioner(2, 3)(kept)[1])
