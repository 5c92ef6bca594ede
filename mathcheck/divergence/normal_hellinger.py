r"""An f-divergence on the line: the squared Hellinger divergence of two normal distributions, by certified integration.

$\int(\sqrt p - \sqrt q)^2 = 2 - 2\sqrt{2\sigma_p\sigma_q/S}\;e^{-(\mu_p-\mu_q)^2/4S}$ with $S = \sigma_p^2 + \sigma_q^2$.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Residual, close
from mathcheck.engine.strategies import log_uniform
from mathcheck.oracles import arb

Hellinger = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def squared_hellinger(mean_p: Tensor, std_p: Tensor, mean_q: Tensor, std_q: Tensor) -> Tensor:
    r"""$2\big(1 - e^{-h}\big)$, $h = \frac12\log\big(1 + \frac{(\sigma_p-\sigma_q)^2}{2\sigma_p\sigma_q}\big) + \frac{(\mu_p-\mu_q)^2}{4(\sigma_p^2+\sigma_q^2)}$.

    $\int(\sqrt p - \sqrt q)^2$ of two normal distributions, $f(t) = (\sqrt t - 1)^2$; both terms of h are non-negative and
    free of cancellation, so the value is never negative and keeps its digits for nearly equal arguments.

    Args:
        mean_p: `(*batch,)`.
        std_p: `(*batch,)`, positive.
        mean_q: `(*batch,)`.
        std_q: `(*batch,)`, positive.

    Returns:
        `(*batch,)`, in [0, 2], differentiable.

    Raises:
        TypeError, ValueError: for arguments that are not floating tensors of one shape, dtype and device, or a standard
            deviation that is not positive.
    """  # noqa: E501
    arguments.alike(mean_p=mean_p, std_p=std_p, mean_q=mean_q, std_q=std_q)
    for name, t in (("std_p", std_p), ("std_q", std_q)):
        if not bool((t > 0).all()):
            raise ValueError(f"{name} must be positive, got {float(t.min())}")
    gap = std_p - std_q
    distance = (mean_p - mean_q) / torch.hypot(std_p, std_q)
    return -2 * torch.expm1(-torch.log1p(gap / std_p * (gap / std_q) / 2) / 2 - distance * distance / 4)


def _integral(mean_p: Any, std_p: Any, mean_q: Any, std_q: Any) -> Any:
    r"""$\int(\sqrt p - \sqrt q)^2$ of two normal distributions given in balls, tails included.

    It is $\mathbb E[g(Z)]$ for $x = c + sz$ with c between the means and s twice the larger standard deviation:
    $g(z) = s\sqrt{2\pi}\,e^{z^2/2}(\sqrt{p(x)} - \sqrt{q(x)})^2$. Since $(a + b)^2 \ge a^2/2 - b^2$,
    $(x - \mu)^2 \ge s^2z^2/2 - (c - \mu)^2$, so that $g \le \sum s\,\sigma^{-1}e^{(c-\mu)^2/2\sigma^2}$ over p and q.
    """
    centre = (mean_p + mean_q) / 2
    wide = 2 * (std_p if std_p > std_q else std_q)
    bound = sum(wide / s * arb.exp((centre - m) ** 2 / (2 * s * s)) for m, s in ((mean_p, std_p), (mean_q, std_q)))

    def g(z: Any) -> Any:
        roots = [
            arb.exp(z * z / 4 - (z * wide + centre - m) ** 2 / (4 * s * s)) / arb.sqrt(s)
            for m, s in ((mean_p, std_p), (mean_q, std_q))
        ]
        return (roots[0] - roots[1]) ** 2 * wide

    return arb.normal_expectation(g, (bound, 0))


def _normals(f: Hellinger, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, ...]]:
    mean = st.sampled_from([0.0, 1.0, -0.5, 2.0, 1e-3])
    std = log_uniform(0.5, 3.0)
    near = st.sampled_from([0.0, 1e-3, 0.25])
    apart = st.tuples(mean, std, mean, std)
    close_by = st.builds(lambda m, s, d, e: (m, s, m + d, s * (1 + e)), mean, std, near, near)
    return st.one_of(apart, close_by).map(lambda row: tuple(torch.tensor(v, dtype=dtype) for v in row))


def _root_of_the_ratio(f: Hellinger) -> Hellinger:
    def changed(a: Tensor, s: Tensor, b: Tensor, r: Tensor) -> Tensor:
        total = s * s + r * r
        return 2 - 2 * (2 * s * r / total) * torch.exp(-((a - b) ** 2) / (4 * total))

    return changed


@claim(
    given=_normals,
    reference=squared_hellinger,
    mutants={
        "it is halved": lambda f: lambda *x: f(*x) / 2,
        "variances are taken for standard deviations": lambda f: lambda a, s, b, r: f(a, s.sqrt(), b, r.sqrt()),
        "the root of the ratio of spreads is forgotten": _root_of_the_ratio,
        "the means are ignored": lambda f: lambda a, s, b, r: f(a, s, a, r),
        "the formula is taken as it stands (it cancels)": lambda f: (
            lambda a, s, b, r: (
                2 - 2 * torch.sqrt(2 * s * r / (s * s + r * r)) * torch.exp(-((a - b) ** 2) / (4 * (s * s + r * r)))
            )
        ),
    },
    examples=12,
)
def equals_the_certified_integral(f: Hellinger, a: Tensor, s: Tensor, b: Tensor, r: Tensor) -> Iterator[Residual]:
    r"""The closed form is the integral over the whole line.

    $\int(\sqrt p - \sqrt q)^2\,\mathrm dx = 2 - 2\sqrt{2\sigma_p\sigma_q/S}\;e^{-(\mu_p-\mu_q)^2/4S}$.

    Error bound: 24 roundings of the value, since nothing cancels; the radius of the integral includes the tails.
    """
    with arb.precision(100):
        true = arb.to_ball(_integral(*(arb.exact(t) for t in (a, s, b, r))), "certified integral")
    yield close(f(a, s, b, r), true, ulps=24, what="squared Hellinger of two normals")
