r"""Maximising f by maximising the lower bound $g(\theta, \varphi) = f(\theta) - h(\theta, \varphi)$ jointly.

If $h \ge 0$ and every $\theta$ has a $\varphi$ with $h(\theta, \varphi) = 0$, then $\max g = \max f$ and
$\arg\max f = \{\theta : (\theta, \varphi) \in \arg\max g \text{ for some } \varphi\}$. With f a log-likelihood and h the
divergence of an approximate posterior from the true one, g is the evidence lower bound. Neither assumption can be dropped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Residual, exactly
from mathcheck.engine.strategies import BATCH_SHAPES


def maximum(g: Tensor) -> Tensor:
    r"""$\max_{\theta,\varphi} g(\theta, \varphi)$ of a table with a row for each $\theta$.

    Args:
        g: `(*batch, n, m)`, n and m at least 1; $-\infty$ is allowed, NaN gives NaN.

    Returns:
        `(*batch,)`.

    Raises:
        TypeError: if `g` is no floating tensor.
        ValueError: if `g` has no entry or fewer than two dimensions.
    """
    _check_table(g)
    return g.amax((-2, -1))


def theta_part_of_argmax(g: Tensor) -> Tensor:
    r"""$\{\theta : g(\theta, \varphi) = \max g \text{ for some } \varphi\}$ as a mask of rows; ties are all kept.

    Args:
        g: `(*batch, n, m)`, n and m at least 1.

    Returns:
        Mask `(*batch, n)`, with at least one entry true unless g holds NaN.

    Raises:
        TypeError: if `g` is no floating tensor.
        ValueError: if `g` has no entry or fewer than two dimensions.
    """
    return maximum(g)[..., None] == g.amax(-1)


def _check_table(g: Tensor) -> None:
    arguments.floating(g=g)
    if g.ndim < 2 or 0 in g.shape:
        raise ValueError(f"g must have shape (*batch, n, m) without a zero, got {tuple(g.shape)}")


@dataclass(frozen=True)
class JointMaximisation:
    r"""A joint maximisation over finitely many pairs, as somebody computes it.

    Args:
        maximum: `(f, h)` -> `(*batch,)`, the largest value of f - h; f is `(*batch, n)` and h `(*batch, n, m)`.
        theta_part: `(f, h)` -> mask `(*batch, n)` of the $\theta$ that belong to a maximising pair.
    """

    maximum: Callable[[Tensor, Tensor], Tensor]
    theta_part: Callable[[Tensor, Tensor], Tensor]


reference = JointMaximisation(
    lambda f, h: maximum(f[..., None] - h),
    lambda f, h: theta_part_of_argmax(f[..., None] - h),
)

Slip = Callable[[JointMaximisation], JointMaximisation]


def _with(change: Callable[[Tensor], Tensor]) -> Slip:
    """The slip that puts `change(h)` in place of h."""
    return lambda j: replace(
        j, maximum=lambda f, h: j.maximum(f, change(h)), theta_part=lambda f, h: j.theta_part(f, change(h))
    )


def _first_only(mask: Tensor) -> Tensor:
    return mask & (mask.cumsum(-1) == 1)


_SLIPS: dict[str, Slip] = {
    "h is added (the sign of the gap is wrong)": _with(lambda h: -h),
    "h is averaged over phi and not minimised": _with(lambda h: h.mean(-1, keepdim=True)),
    "h has a negative entry (g is no lower bound)": _with(
        lambda h: h - 8 * torch.eye(h.shape[-2], h.shape[-1], dtype=h.dtype, device=h.device)
    ),
    "the first row of h has no zero (the bound is not tight there)": _with(
        lambda h: torch.cat([h[..., :1, :] + 8, h[..., 1:, :]], -2)
    ),
}
law = functools.partial(claim, reference=reference)


def _tables(j: JointMaximisation, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    """Tables f with ties and h >= 0 with a zero in every row; small integers over 4, so that no float rounds."""

    def build(shape: tuple[int, ...], n: int, m: int, seed: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        f = torch.randint(-4, 5, (*shape, n), generator=generator).to(dtype) / 4
        h = torch.randint(0, 9, (*shape, n, m), generator=generator).to(dtype) / 4
        zero = torch.randint(m, (*shape, n, 1), generator=generator)
        return f, h.scatter(-1, zero, 0.0)

    sizes = st.integers(1, 4)
    return st.builds(build, st.sampled_from(BATCH_SHAPES), sizes, sizes, st.integers(0, 2**31 - 1))


def _rows(f: Tensor, h: Tensor) -> Iterator[tuple[list[Fraction], list[list[Fraction]]]]:
    """The tables of a batch in rational numbers."""
    n, m = h.shape[-2:]
    for values, gaps in zip(f.reshape(-1, n).tolist(), h.reshape(-1, n, m).tolist(), strict=True):
        yield [Fraction(v) for v in values], [[Fraction(v) for v in row] for row in gaps]


@law(given=_tables, mutants=_SLIPS)
def largest_values_agree(j: JointMaximisation, f: Tensor, h: Tensor) -> Iterator[Residual]:
    r"""The bound and the function have the same maximum: $\max_{\theta,\varphi}\,(f - h) = \max_\theta f$.

    For $h \ge 0$ with a zero in every row.

    Error bound: 0; the entries are small multiples of 1/4, whose differences are floats, and every pair is visited.
    """
    value = j.maximum(f, h)
    yield exactly(tuple(value.shape), tuple(f.shape[:-1]), what="the shape of the maximum")
    for got, (values, _) in zip(value.reshape(-1).tolist(), _rows(f, h), strict=True):
        yield exactly(Fraction(got), max(values), what="max (f - h)")


@law(
    given=_tables,
    mutants=_SLIPS
    | {
        "only the first of several maximisers is kept": lambda j: replace(
            j, theta_part=lambda f, h: _first_only(j.theta_part(f, h))
        ),
        "the best phi of every theta is kept": lambda j: replace(
            j, theta_part=lambda f, h: torch.ones_like(j.theta_part(f, h))
        ),
    },
)
def maximisers_agree(j: JointMaximisation, f: Tensor, h: Tensor) -> Iterator[Residual]:
    r"""The maximisers of f are the first parts of the joint maximisers.

    For $h \ge 0$ with $\min_\varphi h(\theta, \varphi) = 0$ for every $\theta$:
    $\arg\max f = \{\theta : (\theta, \varphi) \in \arg\max\,(f - h) \text{ for some } \varphi\}$.

    Error bound: 0; the sets are found by visiting every pair in rational arithmetic.
    """
    mask = j.theta_part(f, h)
    yield exactly(tuple(mask.shape), tuple(f.shape), what="the shape of the mask")
    for got, (values, _) in zip(mask.reshape(-1, f.shape[-1]).tolist(), _rows(f, h), strict=True):
        true = [i for i, v in enumerate(values) if v == max(values)]
        yield exactly([i for i, hit in enumerate(got) if hit], true, what="the maximising theta")


@law(
    given=_tables,
    mutants={name: slip for name, slip in _SLIPS.items() if "averaged" not in name}
    | {"the first phi is taken for every theta": _with(lambda h: h[..., :1])},
)
def joint_maximisers_are_found(j: JointMaximisation, f: Tensor, h: Tensor) -> Iterator[Residual]:
    r"""A joint maximiser is a maximiser of f together with a zero of h.

    $(\theta, \varphi) \in \arg\max\,(f - h)$ if and only if $\theta \in \arg\max f$ and $h(\theta, \varphi) = 0$.

    Error bound: 0; every pair is visited in rational arithmetic, and the first parts are compared with the subject's.
    """
    mask = j.theta_part(f, h)
    yield exactly(tuple(mask.shape), tuple(f.shape), what="the shape of the mask")
    for got, (values, gaps) in zip(mask.reshape(-1, f.shape[-1]).tolist(), _rows(f, h), strict=True):
        table = {(i, k): v - gap for i, v in enumerate(values) for k, gap in enumerate(gaps[i])}
        joint = {pair for pair, v in table.items() if v == max(table.values())}
        both = {(i, k) for i, k in table if values[i] == max(values) and gaps[i][k] == 0}
        yield exactly(joint, both, what="joint maximisers")
        yield exactly({i for i, hit in enumerate(got) if hit}, {i for i, _ in joint}, what="their first parts")
