r"""Divergences of distributions on finitely many outcomes, each a sum of terms that are never negative and never cancel.

$D_f(P, Q) = \sum_i q_i f(p_i/q_i)$ does not change when a multiple of $t - 1$ is taken off f. Taking off the tangent at 1
leaves terms that cannot be negative and vanish only where $p_i = q_i$; they are computed from $p_i - q_i$, which floats
subtract without loss, so that a value of $10^{-30}$ has as many digits as one of 1.
Gradients are those of the terms, and are meant where all probabilities are positive: at 0 the true one may be infinite.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mathcheck.divergence.kernels.excess import half_exp_excess, log_excess
from mathcheck.engine import arguments


def _kl_terms(a: Tensor, b: Tensor, gap: Tensor) -> Tensor:
    r"""$a\log(a/b) - a + b$ with `gap` $= b - a$; infinite where b alone is 0."""
    # Beyond this ratio b - a carries the value, and b / a may leave the dtype's range.
    far = b * 2.0**-20 >= a
    safe = torch.where(far, 1.0, a)
    near = a * log_excess(torch.where(far, 0.0, gap) / safe, torch.where(far, 1.0, b) / safe)
    return torch.where(
        far,
        gap + torch.xlogy(a, torch.where(far & (a > 0), a, 1.0)) - torch.xlogy(a, torch.where(far & (b > 0), b, 1.0)),
        near,
    )


def _kl(p: Tensor, q: Tensor) -> Tensor:
    return _kl_terms(p, q, q - p).sum(-1)


def kl(p: Tensor, q: Tensor) -> Tensor:
    r"""$\sum_i \big[p_i\log(p_i/q_i) - p_i + q_i\big]$, the Kullback-Leibler divergence; $f(t) = t\log t$.

    The reverse divergence, of $f(t) = -\log t$, is `kl(q, p)`.

    Args:
        p: `(*batch, n)`, at least 0, summing to 1 within `4 n eps`; it is not renormalised.
        q: like p.

    Returns:
        `(*batch,)` in nats, never negative, to a few units in the last place; infinite where q is 0 and p is not.

    Raises:
        TypeError, ValueError: if p and q are not distributions of one shape, dtype and device.
    """
    arguments.distributions(p=p, q=q)
    return _kl(p, q)


def reverse_kl(p: Tensor, q: Tensor) -> Tensor:
    r"""$\sum_i q_i\log(q_i/p_i)$, the Kullback-Leibler divergence with its arguments exchanged; $f(t) = -\log t$.

    Args:
        p: as in `kl`.
        q: like p.

    Returns:
        `(*batch,)` in nats, never negative; infinite where p is 0 and q is not.

    Raises:
        TypeError, ValueError: as `kl`.
    """
    arguments.distributions(p=p, q=q)
    return _kl(q, p)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    r"""$\tfrac12\mathrm{KL}(p\,\|\,m) + \tfrac12\mathrm{KL}(q\,\|\,m)$ with $m = (p + q)/2$, at most $\log 2$.

    $f(t) = \tfrac12\big[t\log t - (t + 1)\log\tfrac{t + 1}2\big]$.

    Args:
        p: as in `kl`.
        q: like p.

    Returns:
        `(*batch,)` in nats, never negative.

    Raises:
        TypeError, ValueError: as `kl`.
    """
    arguments.distributions(p=p, q=q)
    middle, half = (p + q) / 2, (q - p) / 2
    return (_kl_terms(p, middle, half) + _kl_terms(q, middle, -half)).sum(-1) / 2


def squared_hellinger(p: Tensor, q: Tensor) -> Tensor:
    r"""$\sum_i (\sqrt{p_i} - \sqrt{q_i})^2 = \sum_i (p_i - q_i)^2/(\sqrt{p_i} + \sqrt{q_i})^2$, at most 2.

    $f(t) = (\sqrt t - 1)^2$. Some authors halve it.

    Args:
        p: as in `kl`.
        q: like p.

    Returns:
        `(*batch,)`, never negative.

    Raises:
        TypeError, ValueError: as `kl`.
    """
    arguments.distributions(p=p, q=q)
    empty = (p == 0) & (q == 0)
    # The root of 1 in place of that of 0 keeps the gradient finite where both are 0.
    roots = torch.where(empty, 1.0, p).sqrt() + torch.where(empty, 1.0, q).sqrt()
    return ((p - q) / roots).square().sum(-1)


def total_variation(p: Tensor, q: Tensor) -> Tensor:
    r"""$\tfrac12\sum_i\lvert p_i - q_i\rvert = \max_A \lvert P(A) - Q(A)\rvert$, at most 1; $f(t) = \tfrac12\lvert t - 1\rvert$.

    Args:
        p: as in `kl`.
        q: like p.

    Returns:
        `(*batch,)`, never negative.

    Raises:
        TypeError, ValueError: as `kl`.
    """
    arguments.distributions(p=p, q=q)
    return (p - q).abs().sum(-1) / 2


def pearson(p: Tensor, q: Tensor) -> Tensor:
    r"""$\sum_i (p_i - q_i)^2/q_i$, Pearson's chi-square divergence; $f(t) = (t - 1)^2$.

    Neyman's, of $f(t) = (t - 1)^2/t$, is `neyman(p, q) = pearson(q, p)`.

    Args:
        p: as in `kl`.
        q: like p.

    Returns:
        `(*batch,)`, never negative; infinite where q is 0 and p is not.

    Raises:
        TypeError, ValueError: as `kl`.
    """
    arguments.distributions(p=p, q=q)
    return _pearson(p, q)


def _pearson(p: Tensor, q: Tensor) -> Tensor:
    empty = (p == 0) & (q == 0)
    return ((p - q) / torch.where(empty, 1.0, q) * (p - q)).sum(-1)


def neyman(p: Tensor, q: Tensor) -> Tensor:
    r"""$\sum_i (p_i - q_i)^2/p_i$, Neyman's chi-square divergence; $f(t) = (t - 1)^2/t$.

    Args:
        p: as in `kl`.
        q: like p.

    Returns:
        `(*batch,)`, never negative; infinite where p is 0 and q is not.

    Raises:
        TypeError, ValueError: as `kl`.
    """
    arguments.distributions(p=p, q=q)
    return _pearson(q, p)


def alpha_divergence(p: Tensor, q: Tensor, alpha: float) -> Tensor:
    r"""$\frac{1}{\alpha(\alpha - 1)}\sum_i \big[p_i^\alpha q_i^{1 - \alpha} - q_i - \alpha(p_i - q_i)\big]$.

    $f(t) = \frac{t^\alpha - 1 - \alpha(t - 1)}{\alpha(\alpha - 1)}$; its limits at $\alpha = 1$ and 0 are `kl` and
    `reverse_kl`. It is twice `squared_hellinger` at 1/2, half of `pearson` at 2 and half of `neyman` at -1. Close to
    equality it is a combination of two functions $e^d - 1 - d$, which loses a factor of about
    $1/\lvert\alpha(1 - \alpha)\rvert$ in accuracy.

    Args:
        p: as in `kl`.
        q: like p.
        alpha: finite.

    Returns:
        `(*batch,)`, never negative; infinite where q is 0 and p is not if alpha is at least 1, and where p is 0 and q is
        not if alpha is at most 0.

    Raises:
        TypeError, ValueError: as `kl`, or if alpha is not finite.

    References:
        Cressie and Read (1984), Multinomial goodness-of-fit tests, JRSS B 46. Amari (2009), Alpha-divergence is unique,
        IEEE Transactions IT-55.
    """
    arguments.finite(alpha=alpha)
    arguments.distributions(p=p, q=q)
    if alpha in (0.0, 1.0):
        return _kl(p, q) if alpha == 1 else _kl(q, p)
    both = (p > 0) & (q > 0)
    a, b = torch.where(both, p, 1.0), torch.where(both, q, 1.0)
    x = (a - b) / b
    near = (x.abs() <= 0.5) & both
    d = torch.log1p(torch.where(near, x, 0.0))
    excess = 2 * (half_exp_excess(alpha * d) - alpha * half_exp_excess(d))
    power = (a.log() * alpha + b.log() * (1 - alpha)).exp() if alpha < 0 or alpha > 1 else a**alpha * b ** (1 - alpha)
    terms = torch.where(near, b * excess, power - b - alpha * (a - b)) / (alpha * (alpha - 1))
    inf = torch.full_like(p, float("inf"))
    only_p = p / (1 - alpha) if alpha < 1 else torch.where(p > 0, inf, 0.0)
    only_q = q / alpha if alpha > 0 else torch.where(q > 0, inf, 0.0)
    return torch.where(both, terms.clamp(min=0), torch.where(q == 0, only_p, only_q)).sum(-1)
