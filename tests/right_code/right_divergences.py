"""Kullback-Leibler divergences of normals, f-divergences of finite distributions, and their variational forms."""

from __future__ import annotations

import math
from typing import Any

import flint
import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from mathcheck import (
    Divergence,
    FDivergence,
    VariationalForm,
    check_divergence,
    check_f_divergence,
    check_variational_form,
    normals,
)
from mathcheck.oracles import arb
from right_code.subject import Right, always


def kl_log_variance(mq: Tensor, lq: Tensor, mp: Tensor, lp: Tensor) -> Tensor:
    return 0.5 * torch.sum(lp - lq + (lq.exp() + (mq - mp) ** 2) / lp.exp() - 1, dim=-1)


def kl_as_in_the_paper(mq: Tensor, lq: Tensor, mp: Tensor, lp: Tensor) -> Tensor:
    return -0.5 * torch.sum(1 + lq - lp - (lq - lp).exp() - (mq - mp).pow(2) * (-lp).exp(), dim=-1)


def kl_variance(mq: Tensor, vq: Tensor, mp: Tensor, vp: Tensor) -> Tensor:
    return 0.5 * (torch.log(vp / vq) + (vq + (mq - mp) ** 2) / vp - 1).sum(-1)


def kl_std(mq: Tensor, sq: Tensor, mp: Tensor, sp: Tensor) -> Tensor:
    return (sp.log() - sq.log() + (sq**2 + (mq - mp) ** 2) / (2 * sp**2) - 0.5).sum(-1)


def kl_log_std(mq: Tensor, lq: Tensor, mp: Tensor, lp: Tensor) -> Tensor:
    return (lp - lq + 0.5 * ((2 * (lq - lp)).exp() + ((mq - mp) / lp.exp()) ** 2) - 0.5).sum(-1)


def kl_covariance(mq: Tensor, cq: Tensor, mp: Tensor, cp: Tensor) -> Tensor:
    inverse, shift = torch.linalg.inv(cp), (mp - mq).unsqueeze(-1)
    trace = torch.diagonal(inverse @ cq, dim1=-2, dim2=-1).sum(-1)
    quadratic = (shift.mT @ inverse @ shift).squeeze(-1).squeeze(-1)
    return 0.5 * (trace + quadratic - mq.shape[-1] + torch.logdet(cp) - torch.logdet(cq))


def kl_cholesky(mq: Tensor, lq: Tensor, mp: Tensor, lp: Tensor) -> Tensor:
    half = torch.linalg.solve_triangular(lp, lq, upper=False)
    shift = torch.linalg.solve_triangular(lp, (mp - mq).unsqueeze(-1), upper=False)
    log_dets = [torch.diagonal(m, dim1=-2, dim2=-1).log().sum(-1) for m in (lp, lq)]
    return log_dets[0] - log_dets[1] + 0.5 * (half.square().sum((-2, -1)) + shift.square().sum((-2, -1)) - mq.shape[-1])


def kl_of_torch(mq: Tensor, sq: Tensor, mp: Tensor, sp: Tensor) -> Tensor:
    return kl_divergence(Independent(Normal(mq, sq), 1), Independent(Normal(mp, sp), 1))


def kl_of_torch_full(mq: Tensor, cq: Tensor, mp: Tensor, cp: Tensor) -> Tensor:
    return kl_divergence(MultivariateNormal(mq, cq), MultivariateNormal(mp, cp))


def kl(spread: str, function: Any, **options: Any) -> Right:
    return always(check_divergence, Divergence(function, normals(spread, **options)))


def xlogy(p: Tensor, q: Tensor) -> Tensor:
    """p log(p/q), 0 where p is."""
    return torch.where(p > 0, p * (torch.where(p > 0, p, 1.0) / q).log(), 0.0)


def finite_kl(p: Tensor, q: Tensor) -> Tensor:
    return xlogy(p, q).sum(-1)


def finite_kl_of_logs(p: Tensor, q: Tensor) -> Tensor:
    return (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum(-1)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    m = 0.5 * (p + q)
    return 0.5 * (xlogy(p, torch.where(m > 0, m, 1.0)) + xlogy(q, torch.where(m > 0, m, 1.0))).sum(-1)


def by_entropies(p: Tensor, q: Tensor) -> Tensor:
    def entropy(x: Tensor) -> Tensor:
        return -torch.special.xlogy(x, x).sum(-1)

    return entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2


def hellinger(p: Tensor, q: Tensor) -> Tensor:
    return ((p.sqrt() - q.sqrt()) ** 2).sum(-1)


def hellinger_by_overlap(p: Tensor, q: Tensor) -> Tensor:
    return 2 * (1 - (p * q).sqrt().sum(-1))


def total_variation(p: Tensor, q: Tensor) -> Tensor:
    return 0.5 * (p - q).abs().sum(-1)


def pearson(p: Tensor, q: Tensor) -> Tensor:
    return torch.where(p == q, 0.0, (p - q) ** 2 / q).sum(-1)


def inf() -> Any:
    return flint.arb("inf")


def kl_generator(t: Any) -> Any:
    return t * arb.log(t)


def js_generator(t: Any) -> Any:
    return (t * arb.log(t) - (t + 1) * arb.log((t + 1) / 2)) / 2


def hellinger_generator(t: Any) -> Any:
    return t + 1 - 2 * arb.sqrt(t)


def tv_generator(t: Any) -> Any:
    return abs(t - 1) / 2


KL_ROW = FDivergence(finite_kl, kl_generator, lambda: (arb.exact(0), inf()))
REVERSE_ROW = FDivergence(lambda p, q: finite_kl(q, p), lambda t: -arb.log(t), lambda: (inf(), arb.exact(0)))
JS_ROW = FDivergence(jensen_shannon, js_generator, lambda: (arb.log(2) / 2, arb.log(2) / 2))
HELLINGER_ROW = FDivergence(hellinger, hellinger_generator, lambda: (arb.exact(1), arb.exact(1)))
TV_ROW = FDivergence(total_variation, tv_generator, lambda: (arb.exact(1) / 2, arb.exact(1) / 2))
PEARSON_ROW = FDivergence(pearson, lambda t: (t - 1) ** 2, lambda: (arb.exact(1), inf()))


def form(*parts: Any) -> Right:
    return always(check_variational_form, VariationalForm(*parts))


SUBJECTS = {
    "KL by log-variances": kl("log_variance", kl_log_variance),
    "KL by log-variances, as in the paper": kl("log_variance", kl_as_in_the_paper),
    "KL by log-variances of ordinary size": kl("log_variance", kl_log_variance, reach=20),
    "KL by log-variances, apart": kl("log_variance", kl_as_in_the_paper, near_equal=False, reach=20),
    "KL by variances": kl("variance", kl_variance, reach=20),
    "KL by standard deviations": kl("std", kl_std, reach=20),
    "KL by logarithms of standard deviations": kl("log_std", kl_log_std, reach=20),
    "KL by covariances": kl("covariance", kl_covariance),
    "KL by Cholesky factors": kl("scale_tril", kl_cholesky),
    "KL by Cholesky factors, apart": kl("scale_tril", kl_cholesky, near_equal=False),
    "KL of torch's normals": kl("std", kl_of_torch, reach=20),
    "KL of torch's full normals": kl("covariance", kl_of_torch_full),
    "finite KL": always(check_f_divergence, KL_ROW),
    "finite KL by xlogy": always(
        check_f_divergence, FDivergence(finite_kl_of_logs, kl_generator, lambda: (arb.exact(0), inf()))
    ),
    "finite reverse KL": always(check_f_divergence, REVERSE_ROW),
    "Jensen-Shannon by two KLs": always(check_f_divergence, JS_ROW),
    "Jensen-Shannon by entropies": always(
        check_f_divergence, FDivergence(by_entropies, js_generator, lambda: (arb.log(2) / 2, arb.log(2) / 2))
    ),
    "Jensen-Shannon, apart": always(
        check_f_divergence,
        FDivergence(jensen_shannon, js_generator, lambda: (arb.log(2) / 2, arb.log(2) / 2), near_equal=False),
    ),
    "squared Hellinger distance": always(check_f_divergence, HELLINGER_ROW),
    "squared Hellinger distance by the overlap": always(
        check_f_divergence,
        FDivergence(hellinger_by_overlap, hellinger_generator, lambda: (arb.exact(1), arb.exact(1))),
    ),
    "total variation": always(
        check_f_divergence,
        FDivergence(total_variation, tv_generator, lambda: (arb.exact(1) / 2, arb.exact(1) / 2), strict=False),
    ),
    "Pearson's chi-square": always(check_f_divergence, PEARSON_ROW),
    "variational form of KL": form(
        lambda v: v,
        lambda v: torch.exp(v - 1),
        lambda p, q: 1 + torch.log(p / q),
        KL_ROW,
        lambda s: arb.exp(s - 1),
        lambda v: v,
    ),
    "variational form of reverse KL": form(
        lambda v: -torch.exp(-v),
        lambda v: v - 1,
        lambda p, q: torch.log(p / q),
        REVERSE_ROW,
        lambda s: -1 - arb.log(-s),
        lambda v: -arb.exp(-v),
    ),
    "variational form of Jensen-Shannon": form(
        lambda v: 0.5 * (math.log(2) + torch.nn.functional.logsigmoid(v)),
        lambda v: -0.5 * (math.log(2) + torch.nn.functional.logsigmoid(-v)),
        lambda p, q: torch.log(p / q),
        JS_ROW,
        lambda s: -arb.log(2 - arb.exp(2 * s)) / 2,
        lambda v: arb.log(2 / (1 + arb.exp(-v))) / 2,
    ),
    "variational form of the squared Hellinger distance": form(
        lambda v: 1 - torch.exp(-v),
        lambda v: torch.exp(v) - 1,
        lambda p, q: 0.5 * torch.log(p / q),
        HELLINGER_ROW,
        lambda s: s / (1 - s),
        lambda v: 1 - arb.exp(-v),
    ),
    "variational form of the total variation": form(
        lambda v: 0.5 * torch.tanh(v),
        lambda v: 0.5 * torch.tanh(v),
        lambda p, q: (p - q).sign() * 20,
        TV_ROW,
        lambda s: s,
        lambda v: arb.tanh(v) / 2,
    ),
    "variational form of Pearson's chi-square": form(
        lambda v: v,
        lambda v: torch.where(v < -2, -1.0, v + v**2 / 4),
        lambda p, q: 2 * (p / q - 1),
        PEARSON_ROW,
        lambda s: s + s**2 / 4 if s > -2 else arb.exact(-1),
        lambda v: v,
    ),
}
