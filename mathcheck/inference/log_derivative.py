r"""The score-function gradient: the gradient of an expectation is the mean of the integrand times the score.

$\nabla_\theta\,\mathbb E_{q_\theta}[f_\theta] = \mathbb E_{q_\theta}[f_\theta\,\nabla\log q_\theta + \nabla f_\theta]$. It asks
nothing of f in x, not even continuity, and works for discrete x. It holds when $q_\theta$ is positive on a set that does not
depend on $\theta$ and derivative and integral may be exchanged: $q_\theta(x)$ and $f_\theta(x)$ are continuously
differentiable in $\theta$, and near every $\theta$ integrable functions of x bound $\lvert\nabla q_\theta(x)\rvert$ and
$\lvert\nabla(q_\theta f_\theta)(x)\rvert$.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Ball, Residual, close
from mathcheck.engine.strategies import BATCH_SHAPES, Interval
from mathcheck.inference import sine_objective
from mathcheck.inference.gradient_estimator import GradientEstimator
from mathcheck.inference.noise import Finite
from mathcheck.oracles import arb

# (theta of shape (*batch, p), x of shape (*batch, *event)) -> (*batch,), row by row.
RowFunction = Callable[[Tensor, Tensor], Tensor]


def per_draw_gradient(theta: Tensor, batch: Sequence[int], function: Callable[[Tensor], Tensor]) -> Tensor:
    r"""The gradient in $\theta$ of each of `batch` values that share $\theta$, in one pass of autograd.

    Args:
        theta: `(p,)`, of a floating dtype.
        batch: leading shape of the values.
        function: theta repeated for each draw, `(*batch, p)`, to the values `(*batch,)`; row by row.

    Returns:
        `(*batch, p)`, detached; 0 where a value does not depend on $\theta$.

    Raises:
        TypeError, ValueError: if `theta` is no floating tensor of shape `(p,)`, or the values have another shape.
    """
    arguments.floating(theta=theta)
    arguments.sequences(int, batch=batch)
    arguments.functions(function=function)
    if theta.ndim != 1 or theta.numel() < 1:
        raise ValueError(f"theta must have shape (p,) with p >= 1, got {tuple(theta.shape)}")
    with torch.enable_grad():
        rows = theta.detach().expand(*batch, len(theta)).clone().requires_grad_()
        values = function(rows)
        if tuple(values.shape) != tuple(batch):
            raise ValueError(f"one value for each draw is needed, of shape {tuple(batch)}, got {tuple(values.shape)}")
        if not values.requires_grad:
            return torch.zeros_like(rows)
        gradient = torch.autograd.grad(values.sum(), rows, allow_unused=True)[0]
    return torch.zeros_like(rows).detach() if gradient is None else gradient


def score_function_gradient(
    theta: Tensor, x: Tensor, log_prob: RowFunction, f: RowFunction, *, event_ndim: int = 1, baseline: float = 0.0
) -> Tensor:
    r"""$(f_\theta(x) - b)\,\nabla_\theta\log q_\theta(x) + \nabla_\theta f_\theta(x)$ for each draw $x \sim q_\theta$.

    Its mean over the draws is $\nabla_\theta\,\mathbb E_{x\sim q_\theta}[f_\theta(x)]$ for every constant b, since the score has
    mean zero; a good b lowers the variance. x is a constant here: no gradient passes through it.

    Args:
        theta: `(p,)`.
        x: draws, `(*batch, *event)`.
        log_prob: $\log q_\theta(x)$, normalised, of theta `(*batch, p)` and x `(*batch, *event)` -> `(*batch,)`.
        f: the integrand, of the same shapes.
        event_ndim: number of trailing dimensions of one draw: 0 for numbers or categories, 1 for vectors.
        baseline: b; must not depend on the draw it is subtracted at.

    Returns:
        `(*batch, p)`, detached.

    Raises:
        TypeError, ValueError: for a theta that is no floating vector, an x with too few dimensions, or functions that do
            not give one value for each draw.

    References:
        Williams, Simple statistical gradient-following algorithms for connectionist reinforcement learning (1992).
    """
    arguments.instances(Tensor, x=x)
    arguments.functions(log_prob=log_prob, f=f)
    arguments.at_least(0, event_ndim=event_ndim)
    arguments.finite(baseline=baseline)
    if x.ndim < event_ndim:
        raise ValueError(f"x must have at least event_ndim = {event_ndim} dimensions, got shape {tuple(x.shape)}")
    fixed = x.detach()

    def surrogate(rows: Tensor) -> Tensor:
        value, log_q = f(rows, fixed), log_prob(rows, fixed)
        if value.shape != log_q.shape:
            raise ValueError(f"f gave shape {tuple(value.shape)} where log_prob gave {tuple(log_q.shape)}")
        return (value.detach() - baseline) * log_q + value

    return per_draw_gradient(theta, x.shape[: x.ndim - event_ndim], surrogate)


def _normal_log_prob(theta: Tensor, x: Tensor) -> Tensor:
    r"""$\log\mathcal N(x; \mu, e^{2\tau})$ for theta $(\mu, \tau)$ of shape `(*batch, 2)` and x `(*batch, 1)` -> `(*batch,)`."""
    mu, tau = theta[..., 0], theta[..., 1]
    return -(((x[..., 0] - mu) * (-tau).exp()) ** 2) / 2 - tau - math.log(2 * math.pi) / 2


def _normal_draw(theta: Tensor, noise: Tensor) -> Tensor:
    return theta[..., :1] + theta[..., 1:].exp() * noise


def _normal_estimate(theta: Tensor, noise: Tensor) -> Tensor:
    # What does not depend on the draw is subtracted as a baseline, so that the score multiplies x sin x alone.
    baseline = float(sine_objective.penalty(theta))
    x = _normal_draw(theta, noise)
    return score_function_gradient(theta, x, _normal_log_prob, sine_objective.integrand, baseline=baseline)


# log h for the objective E_q[log h(x) - log q(x)] over four categories; exactly representable.
_LOG_H = (0.5, -1.25, 2.0, 0.125)


def _categorical_log_prob(theta: Tensor, x: Tensor) -> Tensor:
    return theta.log_softmax(-1).gather(-1, x[..., None])[..., 0]


def _log_ratio(theta: Tensor, x: Tensor) -> Tensor:
    rows = theta.expand(*x.shape, theta.shape[-1])
    return torch.tensor(_LOG_H, dtype=theta.dtype, device=theta.device)[x] - _categorical_log_prob(rows, x)


def _categorical_estimate(theta: Tensor, x: Tensor) -> Tensor:
    # The gradient of log q in log(h / q) has mean zero and is left out.
    def without_gradient(rows: Tensor, draws: Tensor) -> Tensor:
        return _log_ratio(rows.detach(), draws)

    return score_function_gradient(theta, x, _categorical_log_prob, without_gradient, event_ndim=0)


def softmax(theta: Sequence[Any]) -> list[Any]:
    r"""$e^{\theta_x}/\sum_y e^{\theta_y}$ in the arithmetic of the scalars.

    Raises:
        TypeError, ValueError: if theta is no sequence of numbers, or empty.
    """
    arguments.rows(theta=theta)
    weights = [arb.exp(t) for t in theta]
    total: Any = sum(weights)
    return [w / total for w in weights]


def _evidence_objective(theta: Sequence[Any]) -> Any:
    r"""$\sum_x q_\theta(x)\,[\log h(x) - \log q_\theta(x)]$ for the categorical q with logits $\theta$, `(4,)` -> a number."""
    return sum(q * (h - arb.log(q)) for q, h in zip(softmax(theta), _LOG_H, strict=True))


def _score_variances(theta: list[Any]) -> list[Any]:
    q = softmax(theta)
    variances = []
    for j in range(len(q)):
        values = [
            (h - arb.log(p)) * ((1 if x == j else 0) - q[j]) for x, (p, h) in enumerate(zip(q, _LOG_H, strict=True))
        ]
        mean: Any = sum(p * v for p, v in zip(q, values, strict=True))
        variances.append(sum(p * (v - mean) ** 2 for p, v in zip(q, values, strict=True)))
    return variances


normal = GradientEstimator(
    _normal_estimate,
    lambda theta, noise: sine_objective.integrand(theta, _normal_draw(theta, noise)),
    sine_objective.parameters,
    objective=sine_objective.objective,
    variance=sine_objective.score_variances,
    batch_shapes=BATCH_SHAPES,
)
categorical = GradientEstimator(
    _categorical_estimate,
    _log_ratio,
    (Interval(reach=8.0),) * 4,
    Finite(4, softmax),
    _evidence_objective,
    _score_variances,
    BATCH_SHAPES,
)

# (theta, x, log h) -> the p coordinates of the estimate at x, in the arithmetic of its scalars.
FiniteScore = Callable[[Sequence[Any], int, Sequence[Any]], list[Any]]
# (mu, tau, z) -> the two coordinates of the estimate at x = mu + sigma z, without the terms that do not depend on x.
NormalScore = Callable[[Any, Any, Any], tuple[Any, Any]]


def finite_score(theta: Sequence[Any], x: int, log_h: Sequence[Any]) -> list[Any]:
    r"""$\nabla\log q_\theta(x)\,\log\frac{h(x)}{q_\theta(x)}$ with $\nabla_j\log q_\theta(x) = 1[x = j] - q_\theta(j)$.

    Args:
        theta: the n logits.
        x: the outcome, from 0 to n - 1.
        log_h: n numbers.

    Raises:
        TypeError, ValueError: for arguments that are not so.
    """
    arguments.rows(theta=theta, log_h=log_h)
    arguments.same_length(theta=theta, log_h=log_h)
    arguments.at_least(0, x=x)
    if x >= len(theta):
        raise ValueError(f"x must be below {len(theta)}, the length of theta, got {x}")
    q = softmax(theta)
    return [((1 if x == j else 0) - q[j]) * (log_h[x] - arb.log(q[x])) for j in range(len(q))]


def normal_score(mu: Any, tau: Any, z: Any) -> tuple[Any, Any]:
    r"""$x\sin x\cdot(z/\sigma,\ z^2 - 1)$ at $x = \mu + \sigma z$, $\sigma = e^\tau$: the integrand times the normal's score.

    Raises:
        TypeError: if an argument is no number.
    """
    arguments.scalars(mu=mu, tau=tau, z=z)
    sigma = arb.exp(tau)
    x = mu + sigma * z
    value = x * x.sin()
    return value * z / sigma, value * (z * z - 1)


def _finite_points(score: FiniteScore, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    numbers = Interval(reach=20.0)
    return strategies.of_each(
        st.integers(2, 5), lambda n: st.tuples(*[strategies.tensors((n,), torch.float64, numbers)] * 2)
    )


def _normal_points(score: NormalScore, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor]]:
    pairs = st.tuples(*(i.elements(torch.float64) for i in sine_objective.parameters))
    return pairs.map(lambda values: (torch.tensor(values, dtype=torch.float64),))


def overlap(ours: Ball, true: Ball, what: str) -> Iterator[Residual]:
    """Two enclosures of one number must overlap: the error is the distance of their centres, the bound both radii.

    Raises:
        TypeError: if they are no balls, or `what` is no text.
    """
    arguments.instances(Ball, ours=ours, true=true)
    arguments.instances(str, what=what)
    both = Ball(true.mid, true.radius + ours.radius, kind=true.kind, source=true.source)
    return iter((close(ours.mid, both, ulps=0, what=what),))


@claim(
    given=_finite_points,
    reference=finite_score,
    mutants={
        "the score is that of unnormalised weights": lambda score: (
            lambda theta, x, log_h: [
                s + q * (log_h[x] - arb.log(softmax(theta)[x]))
                for s, q in zip(score(theta, x, log_h), softmax(theta), strict=True)
            ]
        ),
        "the score is that of q and not of its logarithm": lambda score: (
            lambda theta, x, log_h: [s * softmax(theta)[x] for s in score(theta, x, log_h)]
        ),
        "log q is added and not subtracted": lambda score: (
            lambda theta, x, log_h: score(
                theta, x, [h + 2 * arb.log(q) for h, q in zip(log_h, softmax(theta), strict=True)]
            )
        ),
        "the ratio h / q is taken for its logarithm": lambda score: (
            lambda theta, x, log_h: score(
                theta, x, [arb.exp(h - arb.log(q)) + arb.log(q) for h, q in zip(log_h, softmax(theta), strict=True)]
            )
        ),
    },
    examples=60,
)
def log_derivative_identity(score: FiniteScore, theta: Tensor, log_h: Tensor) -> Iterator[Residual]:
    r"""The gradient of an expectation is the mean of the integrand times the score.

    $\nabla_\theta\,\mathbb E_{q_\theta}\big[\log\tfrac{h}{q_\theta}\big] = \mathbb E_{q_\theta}\big[\nabla_\theta\log q_\theta\,
    \log\tfrac{h}{q_\theta}\big]$ for every positive h on a finite set, $q_\theta$ the softmax of $\theta$.

    Error bound: the radii of both sides, which ball arithmetic keeps below $2^{-60}$ of the largest term.
    """
    t, h = arb.exact_list(theta), arb.exact_list(log_h)

    def value(parameters: Sequence[Any]) -> Any:
        return sum(q * (b - arb.log(q)) for q, b in zip(softmax(parameters), h, strict=True))

    def mean() -> list[Any]:
        q, rows = softmax(t), [score(t, x, h) for x in range(len(t))]
        return [sum(p * row[j] for p, row in zip(q, rows, strict=True)) for j in range(len(t))]

    with arb.precision(192):
        ours, true = arb.to_ball(mean()), arb.to_ball(list(arb.gradient(value, t)), "derivative of the sum")
    yield from overlap(ours, true, "mean of the score times log(h / q)")


@claim(
    given=_normal_points,
    reference=normal_score,
    mutants={
        "the score in tau is that in sigma": lambda score: (
            lambda mu, tau, z: (score(mu, tau, z)[0], score(mu, tau, z)[1] / arb.exp(tau))
        ),
        "the score is divided by sigma once more (a variance for a deviation)": lambda score: (
            lambda mu, tau, z: (score(mu, tau, z)[0] / arb.exp(tau), score(mu, tau, z)[1])
        ),
        "the derivative of the normalising constant is left out": lambda score: (
            lambda mu, tau, z: (score(mu, tau, z)[0], score(mu, tau, z)[1] + _sine_at(mu, tau, z))
        ),
    },
    uses=(log_derivative_identity,),
    examples=15,
)
def score_of_a_normal_gives_the_gradient(score: NormalScore, theta: Tensor) -> Iterator[Residual]:
    r"""For a normal distribution the mean of the integrand times the score is the gradient of the expectation.

    $\mathbb E\big[X\sin X\cdot(\tfrac z\sigma,\ z^2 - 1)\big] = \nabla_{(\mu,\tau)}\,e^{-\sigma^2/2}(\mu\sin\mu +
    \sigma^2\cos\mu)$ with $\sigma = e^\tau$.

    Error bound: the radii of both sides; that of the certified integral includes the tails.
    """
    with arb.precision(128):
        mu, tau = arb.exact_list(theta)
        size = 2 * (abs(mu) + arb.exp(tau)) * (1 + arb.exp(-tau))
        means = [
            sine_objective.certified_mean(functools.partial(_coordinate, score, mu, tau, i), size, 2) for i in (0, 1)
        ]
        ours = arb.to_ball(means, "certified integral")
        true = arb.gradient(lambda t: sine_objective.expected_sine(t[0], arb.exp(t[1])), [mu, tau])
        yield from overlap(ours, arb.to_ball(list(true), "derivative of the closed form"), "mean score estimate")


def _sine_at(mu: Any, tau: Any, z: Any) -> Any:
    x = mu + arb.exp(tau) * z
    return x * x.sin()


def _coordinate(score: NormalScore, mu: Any, tau: Any, index: int, z: Any) -> Any:
    return score(mu, tau, z)[index]
