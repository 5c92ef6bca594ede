r"""The evidence lower bound $\mathrm{ELBO}(q) = \mathbb E_q[\log p(x, z)] + H(q)$ and its gap to the evidence.

$\log p(x) = \mathrm{ELBO}(q) + \mathrm{KL}(q\,\|\,p(\cdot\mid x))$ for every q under which $\log p(x, z)$ and $\log q(z)$ have
finite means. The entropy $H(q) = -\mathbb E_q[\log q]$ enters with a plus sign, and the bound is tight if q is the posterior.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flint
import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Ball, Residual, at_most, close
from mathcheck.engine.strategies import BATCH_SHAPES, Interval
from mathcheck.inference.evidence_bound import EvidenceBound
from mathcheck.inference.log_derivative import overlap, softmax
from mathcheck.oracles import arb

Row = Sequence[Any]


def elbo(log_joint: Tensor, log_q: Tensor) -> Tensor:
    r"""$\frac1K\sum_k[\log p(x, z_k) - \log q(z_k)]$, an unbiased estimate of the ELBO from K draws $z_k \sim q$.

    However many draws are averaged, the mean is the one-sample bound $L_1$: more draws lower the variance, and do not
    tighten the bound as in `importance_weighted_bound`.

    Args:
        log_joint: $\log p(x, z_k)$, `(*batch, K)`, K at least 1.
        log_q: $\log q(z_k)$, `(*batch, K)`.

    Returns:
        `(*batch,)`, differentiable.

    Raises:
        TypeError, ValueError: for arguments that are not floating tensors of one shape, dtype and device.
    """
    arguments.alike(log_joint=log_joint, log_q=log_q)
    arguments.vectors(log_joint=log_joint)
    return (log_joint - log_q).mean(-1)


def finite_elbo(log_joint: Tensor, log_q: Tensor) -> Tensor:
    r"""$\sum_z q(z)\,[\log p(x, z) - \log q(z)]$, the ELBO of a finite latent space without sampling.

    Outcomes of probability 0 count nothing, whatever their joint density; where q has mass and $p(x, z) = 0$ it is $-\infty$.

    Args:
        log_joint: $\log p(x, z)$ for all n outcomes z, `(*batch, n)`.
        log_q: $\log q(z)$, `(*batch, n)`, normalised: the exponentials sum to 1.

    Returns:
        `(*batch,)`, differentiable.

    Raises:
        TypeError, ValueError: for arguments that are not floating tensors of one shape, dtype and device.
    """
    arguments.alike(log_joint=log_joint, log_q=log_q)
    arguments.vectors(log_joint=log_joint)
    empty = log_q == -math.inf
    ratio = torch.where(empty, torch.zeros_like(log_q), log_joint) - torch.where(empty, torch.zeros_like(log_q), log_q)
    return (log_q.exp() * ratio).sum(-1)


average = EvidenceBound(lambda w: elbo(w, torch.zeros_like(w)), averages=True, batch_shapes=BATCH_SHAPES)

# Parts of the evidence: E_q[log p(x, z)], the entropy of q, and KL(q || posterior).
Parts = tuple[Any, Any, Any]
FiniteParts = Callable[[Row, Row], Parts]
NormalParts = Callable[[Row, Any, Any], Parts]


def finite_parts(log_joint: Row, logits: Row) -> Parts:
    r"""$\mathbb E_q\log p(x, z)$, $H(q)$ and $\mathrm{KL}(q\,\|\,p(\cdot\mid x))$ for q the softmax of `logits`, in balls.

    Args:
        log_joint, logits: `(n,)`, n at least 1.

    Raises:
        TypeError, ValueError: if they are no sequences of as many numbers.
    """
    arguments.rows(log_joint=log_joint, logits=logits)
    arguments.same_length(log_joint=log_joint, logits=logits)
    q, posterior = softmax(logits), softmax(log_joint)
    energy = sum(p * w for p, w in zip(q, log_joint, strict=True))
    entropy = -sum(p * arb.log(p) for p in q)
    gap = sum(p * (arb.log(p) - arb.log(r)) for p, r in zip(q, posterior, strict=True))
    return energy, entropy, gap


def _parameters(model: Row) -> Row:
    arguments.rows(model=model)
    if len(model) != 3:
        raise ValueError(f"model must hold x, a and l, got {len(model)} numbers")
    return model


def normal_parts(model: Row, m: Any, v: Any) -> Parts:
    r"""The same for $z \sim \mathcal N(0, 1)$, $x\mid z \sim \mathcal N(az, e^l)$ and $q = \mathcal N(m, e^v)$, in balls.

    The posterior is normal with precision $P = 1 + a^2e^{-l}$ and mean $a x e^{-l}/P$.

    Args:
        model: x, a and l.
        m, v: mean and log-variance of q.

    Raises:
        TypeError, ValueError: if they are no numbers.
    """
    arguments.scalars(m=m, v=v)
    x, a, log_variance = _parameters(model)
    noise, spread, two_pi = arb.exp(-log_variance), arb.exp(v), 2 * flint.arb.pi()
    prior = -(arb.log(two_pi) + m * m + spread) / 2
    likelihood = -(arb.log(two_pi) + log_variance + noise * ((x - a * m) ** 2 + a * a * spread)) / 2
    entropy = (1 + arb.log(two_pi) + v) / 2
    precision = 1 + a * a * noise
    shift = m - a * x * noise / precision
    gap = (precision * spread - 1 - v - arb.log(precision) + shift * shift * precision) / 2
    return prior + likelihood, entropy, gap


def normal_evidence(model: Row) -> Any:
    r"""$\log\mathcal N(x; 0, a^2 + e^l)$.

    Args:
        model: x, a and l.

    Raises:
        TypeError, ValueError: if they are no three numbers.
    """
    x, a, log_variance = _parameters(model)
    total = a * a + arb.exp(log_variance)
    return -(arb.log(2 * flint.arb.pi() * total) + x * x / total) / 2


def _logits(subject: object, dtype: torch.dtype, reach: float = 20.0) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    numbers = Interval(reach=reach)
    return strategies.of_each(
        st.integers(2, 5), lambda n: st.tuples(*[strategies.tensors((n,), torch.float64, numbers)] * 2)
    )


def _normals(subject: object, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    def numbers(*reaches: float) -> st.SearchStrategy[Tensor]:
        drawn = st.tuples(*(Interval(reach=r).elements(torch.float64) for r in reaches))
        return drawn.map(lambda values: torch.tensor(values, dtype=torch.float64))

    return st.tuples(numbers(10.0, 5.0, 5.0), numbers(10.0, 5.0))


def _parts_slip(change: Callable[[Any, Any, Any], Parts]) -> Callable[[Callable[..., Parts]], Callable[..., Parts]]:
    return lambda parts: lambda *given: change(*parts(*given))


_ENTROPY = {
    "the entropy is subtracted": _parts_slip(lambda energy, entropy, gap: (energy, -entropy, gap)),
    "the entropy is left out": _parts_slip(lambda energy, entropy, gap: (energy, 0 * entropy, gap)),
    "the gap is subtracted": _parts_slip(lambda energy, entropy, gap: (energy, entropy, -gap)),
}


def _identity(parts: Parts, evidence: Any) -> Iterator[Residual]:
    energy, entropy, gap = parts
    true = arb.to_ball(evidence, "evidence in ball arithmetic")
    yield from overlap(arb.to_ball(energy + entropy + gap), true, "energy + entropy + gap")
    yield at_most(arb.to_ball(energy + entropy), true, what="ELBO <= log p(x)")


@claim(
    given=_logits,
    reference=finite_parts,
    mutants=_ENTROPY
    | {
        "the gap is KL(posterior, q)": lambda parts: (
            lambda joint, logits: (*parts(joint, logits)[:2], parts(logits, joint)[2])
        ),
    },
    examples=60,
)
def evidence_is_elbo_plus_gap(parts: FiniteParts, log_joint: Tensor, logits: Tensor) -> Iterator[Residual]:
    r"""The evidence is the ELBO plus the divergence of q from the posterior, so the ELBO is a lower bound.

    $\log\sum_z p(x, z) = \mathbb E_q[\log p(x, z)] + H(q) + \mathrm{KL}(q\,\|\,p(\cdot\mid x))$, and the last term is at least 0,
    for all positive $p(x, \cdot)$ and q on a finite set.

    Error bound: the radii of both sides in ball arithmetic at 192 bits.
    """
    with arb.precision(192):
        joint, q = arb.exact_list(log_joint), arb.exact_list(logits)
        yield from _identity(parts(joint, q), arb.log(sum((arb.exp(w) for w in joint), arb.exact(0))))


@claim(
    given=_normals,
    reference=normal_parts,
    mutants=_ENTROPY
    | {
        "the prior's density is averaged and not its logarithm": lambda parts: (
            lambda model, m, v: (parts(model, m, v)[0] - _log_prior(m, v) + _mean_prior(m, v), *parts(model, m, v)[1:])
        ),
        "standard deviations are taken for variances in q": lambda parts: (
            lambda model, m, v: (
                *parts(model, m, v)[:2],
                parts(model, m, v / 2)[2],
            )
        ),
    },
    uses=(evidence_is_elbo_plus_gap,),
    examples=60,
)
def evidence_of_a_normal_model(parts: NormalParts, model: Tensor, q: Tensor) -> Iterator[Residual]:
    r"""For a linear model with normal variables the closed forms of ELBO and gap add up to the evidence.

    With $z \sim \mathcal N(0, 1)$, $x\mid z \sim \mathcal N(az, e^l)$ and $q = \mathcal N(m, e^v)$:
    $\mathbb E_q[\log p(x, z)] + H(q) + \mathrm{KL}(q\,\|\,p(\cdot\mid x)) = \log\mathcal N(x; 0, a^2 + e^l)$.

    Error bound: the radii of both sides in ball arithmetic at 192 bits.
    """
    with arb.precision(192):
        given = arb.exact_list(model)
        yield from _identity(parts(given, *arb.exact_list(q)), normal_evidence(given))


def _log_prior(m: Any, v: Any) -> Any:
    r"""$\mathbb E_q[\log\mathcal N(z; 0, 1)]$."""
    return -(arb.log(2 * flint.arb.pi()) + m * m + arb.exp(v)) / 2


def _mean_prior(m: Any, v: Any) -> Any:
    r"""$\mathbb E_q[\mathcal N(z; 0, 1)] = \mathcal N(m; 0, 1 + e^v)$."""
    total = 1 + arb.exp(v)
    return arb.exp(-m * m / (2 * total)) / arb.sqrt(2 * flint.arb.pi() * total)


Finite = Callable[[Tensor, Tensor], Tensor]


def _float_pairs(subject: object, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    def of(shape: tuple[tuple[int, ...], int]) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
        batch, n = shape
        joint = strategies.tensors((*batch, n), dtype, Interval(reach=100.0))
        logits = strategies.tensors(
            (*batch, n), dtype, st.one_of(st.just(-math.inf), Interval(reach=20.0).elements(dtype))
        )
        kept = logits.filter(lambda t: bool((t > -math.inf).any(-1).all()))
        return st.tuples(joint, kept.map(lambda t: t.log_softmax(-1)))

    return strategies.of_each(st.tuples(st.sampled_from(BATCH_SHAPES), st.integers(1, 5)), of)


@claim(
    given=_float_pairs,
    reference=finite_elbo,
    mutants={
        "outcomes of probability 0 are not left out": lambda e: (
            lambda joint, log_q: (log_q.exp() * (joint - log_q)).sum(-1)
        ),
        "the entropy is subtracted": lambda e: (
            lambda joint, log_q: (log_q.exp() * torch.where(log_q > -math.inf, joint + log_q, 0.0)).sum(-1)
        ),
        "it is averaged over the outcomes": lambda e: lambda joint, log_q: e(joint, log_q) / joint.shape[-1],
        "the outcomes are weighted by the joint density": lambda e: (
            lambda joint, log_q: (joint.softmax(-1) * torch.where(log_q > -math.inf, joint - log_q, 0.0)).sum(-1)
        ),
    },
    uses=(evidence_is_elbo_plus_gap,),
    examples=60,
)
def finite_elbo_is_accurate(value: Finite, log_joint: Tensor, log_q: Tensor) -> Iterator[Residual]:
    r"""The ELBO of a finite latent space is computed to the last few digits, with outcomes of probability 0 left out.

    $\sum_{z: q(z) > 0} q(z)\,[\log p(x, z) - \log q(z)]$ with $q(z) = e^{\log q(z)}$ as given.

    Error bound: 16 roundings of $\sum_z q(z)\,(1 + \lvert\log q(z)\rvert)\,\lvert\log p(x, z) - \log q(z)\rvert$, since a
    rounding of $\log q$ is one of q times $\lvert\log q\rvert$.
    """
    rows = [t.reshape(-1, t.shape[-1]) for t in (log_joint, log_q)]
    balls, scales = [], []
    for joint, logs in zip(*rows, strict=True):
        kept = logs > -math.inf
        w, p = arb.exact_list(joint[kept]), arb.exact_list(logs[kept])
        balls.append(arb.enclose(functools.partial(_sum, w, p), rel_bits=60))
        wide = [t[kept].double().cpu() for t in (joint, logs)]
        scales.append((wide[1].exp() * (1 + wide[1].abs()) * (wide[0] - wide[1]).abs()).sum())
    true = Ball.stack(balls, log_joint.shape[:-1])
    scale = torch.stack(scales).reshape(log_joint.shape[:-1])
    yield close(value(log_joint, log_q), true, ulps=16, scale=scale, what="ELBO")


def _sum(joint: Row, log_q: Row) -> Any:
    return sum((arb.exp(p) * (w - p) for w, p in zip(joint, log_q, strict=True)), arb.exact(0))
