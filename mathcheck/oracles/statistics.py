"""Tests of samples that are valid at finite n, each with the smallest error that it would have caught.

Every test returns a residual with `error <= bound` exactly where it does not reject. A correct sampler is rejected with
probability at most `alpha`; one whose error is at least `detectable` is rejected with probability at least `1 - beta`.
Draws are taken to be independent. `what` names the thing compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import torch
from scipy import optimize, stats
from torch import Tensor

from mathcheck.engine.effort import RUNGS
from mathcheck.engine.residual import Kind, Residual

ALPHA, BETA = 1e-6, 0.01
_BETS = 8
# Draws that are made at once.
_CHUNK = 2**18

Draws = tuple[Tensor, ...]


def _check_levels(alpha: float, beta: float) -> None:
    for name, level in (("alpha", alpha), ("beta", beta)):
        if not 0 < level < 1:
            raise ValueError(f"{name} must lie strictly between 0 and 1, got {level}")


def _check_sample(sample: Tensor) -> Tensor:
    if not isinstance(sample, Tensor):
        raise TypeError(f"sample must be a tensor, got {type(sample).__name__}")
    if sample.dtype.is_complex:
        raise TypeError(f"sample must be real, got {sample.dtype}")
    if sample.ndim != 1 or len(sample) == 0:
        raise ValueError(f"sample must have shape (n,) with n at least 1, got {tuple(sample.shape)}")
    return sample.detach().to(device="cpu", dtype=torch.float64)


def _check_finite(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")


def _residual(
    error: float,
    bound: float,
    source: str,
    what: str,
    alpha: float,
    detectable: float,
    actual: float | str | None = None,
    expected: float | str | None = None,
    kind: Kind = Kind.STATISTICAL,
) -> Residual:
    return Residual(error, bound, kind, what, actual, expected, source=source, alpha=alpha, detectable=detectable)


def rungs(most: int, alpha: float = ALPHA) -> Iterator[tuple[int, float]]:
    r"""The numbers of draws that are looked at on the way to `most`, each with its share of alpha.

    The k-th look, k = 1, 2, ..., has the share $\alpha/k(k+1)$; all together have less than $\alpha$.
    """
    counts = [*(count for count in RUNGS if count < most), most]
    for k, count in enumerate(counts, start=1):
        yield count, alpha / (k * (k + 1))


def climb(
    draw: Callable[[int], Draws], judge: Callable[[Draws, float], Iterable[Residual]], most: int
) -> Iterator[Residual]:
    r"""Draws more and more, and judges all draws so far each time, until something is refuted or `most` are made.

    What fewer draws refute is refuted by every run that makes as many, whatever it can afford beyond: the draws of a short
    run are the first of a longer one. All looks together raise a false alarm with probability at most $\alpha$, since each
    has a share of it (`rungs`). The residuals that come out are the first that refutes, or all of the last look.

    Args:
        draw: `count` -> tensors of that length, each call the next draws of one stream.
        judge: `(all draws so far, alpha)` -> residuals.
        most: draws to make, at least 1.
    """
    kept: list[Draws] = []
    made, found = 0, list[Residual]()
    for count, share in rungs(most):
        while made < count:
            wanted = min(count - made, _CHUNK)
            kept.append(draw(wanted))
            made += wanted
        kept = [tuple(torch.cat(parts) for parts in zip(*kept, strict=True))]
        found = [replace(residual, alpha=ALPHA) for residual in judge(kept[0], share)]
        refuting = [residual for residual in found if residual.ratio > 1]
        if refuting:
            found = refuting[:1]
            break
    yield from found


def dkw_samples(detectable: float, alpha: float = ALPHA, beta: float = BETA) -> int:
    """The smallest n at which `dkw` catches an error of `detectable` in the distribution function.

    Args:
        detectable: in (0, 1].
        alpha: probability of a false alarm.
        beta: probability of a miss.

    Raises:
        ValueError: if an argument is out of range.
    """
    _check_levels(alpha, beta)
    if not 0 < detectable <= 1:
        raise ValueError(f"detectable must lie in (0, 1], got {detectable}")
    return math.ceil(((math.sqrt(math.log(2 / alpha)) + math.sqrt(math.log(1 / beta))) / detectable) ** 2 / 2)


def dkw(
    sample: Tensor,
    cdf: Callable[[Tensor], Tensor],
    *,
    left_cdf: Callable[[Tensor], Tensor] | None = None,
    alpha: float = ALPHA,
    beta: float = BETA,
    what: str = "",
) -> Residual:
    r"""$\sup_x \lvert F_n(x) - F(x)\rvert \le \sqrt{\ln(2/\alpha)/2n}$: do the draws follow F?

    The bound is the inequality of Dvoretzky, Kiefer and Wolfowitz with Massart's constant; it holds for every F, atoms
    included. The supremum is taken over both one-sided limits at every distinct draw, so that ties count exactly. A
    sampler whose distribution function is off by $\sqrt{\ln(2/\alpha)/2n} + \sqrt{\ln(1/\beta)/2n}$ anywhere is caught
    with probability $1 - \beta$ (Hoeffding, at that place). Errors far in the tails stay below it: see `binomial`.

    Args:
        sample: `(n,)`; NaN refutes at once, infinite draws count as such.
        cdf: F, maps `(k,)` finite float64 numbers in increasing order to `(k,)`.
        left_cdf: the left limit of F, to be given where F has atoms.
        alpha, beta, what: see above.

    Raises:
        ValueError: if `sample` is empty, a level is out of range, or `cdf` is not a distribution function there.
        TypeError: if `sample` is no real tensor.

    References:
        Massart (1990), The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality, Annals of Probability 18.
    """
    _check_levels(alpha, beta)
    draws = _check_sample(sample)
    n = len(draws)
    bound = math.sqrt(math.log(2 / alpha) / (2 * n))
    detectable = bound + math.sqrt(math.log(1 / beta) / (2 * n))
    source, what = "Dvoretzky-Kiefer-Wolfowitz", what or "the distribution function"
    missing = int(draws.isnan().sum())
    if missing:
        return _residual(math.inf, bound, source, f"{missing} of {n} draws are NaN", alpha, detectable, math.nan)
    places, counts = torch.unique(draws, return_counts=True)
    above = counts.cumsum(0).double() / n
    below = (counts.cumsum(0) - counts).double() / n
    right, left = _distribution(cdf, places, "cdf"), _distribution(left_cdf or cdf, places, "left_cdf")
    right[places == math.inf], left[places == -math.inf] = 1.0, 0.0
    gaps, empirical, expected = (above - right).abs(), above, right
    if bool((below - left).abs().amax() > gaps.amax()):
        gaps, empirical, expected = (below - left).abs(), below, left
    worst = int(gaps.argmax())
    where = f"{what} at {float(places[worst]):.6g}"
    return _residual(
        float(gaps[worst]), bound, source, where, alpha, detectable, float(empirical[worst]), float(expected[worst])
    )


def dkw_two(first: Tensor, second: Tensor, *, alpha: float = ALPHA, beta: float = BETA, what: str = "") -> Residual:
    r"""$\sup_x \lvert F_n(x) - G_m(x)\rvert \le \sqrt{\ln(4/\alpha)/2n} + \sqrt{\ln(4/\alpha)/2m}$: one distribution?

    Each sample lies within the bound of `dkw` around its own distribution function, with probability $1 - \alpha/2$; the two
    samples may depend on each other.

    Args:
        first: `(n,)`; NaN refutes at once. second: `(m,)`, finite: what `first` should be distributed as.
        alpha, beta, what: see above.

    Raises:
        ValueError: if a sample is empty, or a level is out of range.
        TypeError: if a sample is no real tensor.
    """
    _check_levels(alpha, beta)
    ours, theirs = _check_sample(first), _check_sample(second)
    each = [1 / math.sqrt(2 * len(sample)) for sample in (ours, theirs)]
    bound = math.sqrt(math.log(4 / alpha)) * sum(each)
    detectable = bound + math.sqrt(math.log(2 / beta)) * sum(each)
    source, what = "Dvoretzky-Kiefer-Wolfowitz, twice", what or "the distribution function"
    missing = int(ours.isnan().sum())
    if missing:
        return _residual(
            math.inf, bound, source, f"{missing} of {len(ours)} draws are NaN", alpha, detectable, math.nan
        )
    places = torch.cat((ours, theirs)).sort().values
    shares = [torch.searchsorted(x.sort().values, places, right=True).double() / len(x) for x in (ours, theirs)]
    worst = int((shares[0] - shares[1]).abs().argmax())
    found, expected = (float(share[worst]) for share in shares)
    where = f"{what} at {float(places[worst]):.6g}"
    return _residual(abs(found - expected), bound, source, where, alpha, detectable, found, expected)


def _distribution(cdf: Callable[[Tensor], Tensor], places: Tensor, name: str) -> Tensor:
    finite = places.isfinite()
    found = cdf(places[finite])
    if not isinstance(found, Tensor) or found.shape != places[finite].shape:
        raise ValueError(
            f"{name} must map ({int(finite.sum())},) to the same shape, got "
            f"{tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__}"
        )
    slack = 16 * torch.finfo(found.dtype).eps if found.dtype.is_floating_point else 0.0
    values = (places > 0).double()
    values[finite] = found.detach().double().cpu()
    if not bool(((values >= -slack) & (values <= 1 + slack)).all() and (values.diff() >= -slack).all()):
        raise ValueError(f"{name} must be increasing within [0, 1], got {found.tolist()[:8]} at increasing places")
    return values


def binomial(successes: int, n: int, p: float, *, alpha: float = ALPHA, beta: float = BETA, what: str = "") -> Residual:
    r"""Is the number of successes among n that of a binomial with probability p? Exact, two-sided.

    Rejects where $P(K \ge k) \le \alpha/2$ or $P(K \le k) \le \alpha/2$, that is where p is outside the
    Clopper-Pearson interval. The error is $\lvert k/n - p\rvert$, the bound the largest such distance that is accepted
    on that side. `detectable` is the larger of the two sides' distances at which the exact power reaches $1 - \beta$.

    Args:
        successes: 0 to n.
        n: trials, at least 1.
        p: in [0, 1].
        alpha, beta, what: see above.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if a count is no integer.
    """
    _check_levels(alpha, beta)
    for name, count in (("successes", successes), ("n", n)):
        if isinstance(count, bool) or not isinstance(count, int):
            raise TypeError(f"{name} must be an integer, got {count!r}")
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"successes must lie between 0 and n, and n be at least 1, got {successes} of {n}")
    if not 0 <= p <= 1:
        raise ValueError(f"p must lie in [0, 1], got {p}")
    most = _most_accepted(n, p, alpha)
    fewest = n - _most_accepted(n, 1 - p, alpha)
    high = successes / n >= p
    error, bound = (successes / n - p, most / n - p) if high else (p - successes / n, p - fewest / n)
    # The power against a larger probability q is P_q(K > most), a beta distribution function of q. Where even q = 1 is
    # not caught, only an error that cannot occur would be.
    up = float(stats.beta.ppf(1 - beta, most + 1, n - most)) - p if most < n else math.nextafter(1 - p, math.inf)
    down = p - float(stats.beta.ppf(beta, fewest, n - fewest + 1)) if fewest > 0 else math.nextafter(p, math.inf)
    detectable = max(up, down) if most < n or fewest > 0 else math.inf
    return _residual(error, bound, "exact binomial", what or "a proportion", alpha, detectable, successes / n, p)


def _most_accepted(n: int, p: float, alpha: float) -> int:
    """The largest k with P(K >= k) > alpha/2."""
    k = min(max(int(stats.binom.isf(alpha / 2, n, p)), 0), n)
    while k < n and stats.binom.sf(k, n, p) > alpha / 2:
        k += 1
    while k > 0 and stats.binom.sf(k - 1, n, p) <= alpha / 2:
        k -= 1
    return k


def _check_interval(mean: float, lower: float, upper: float) -> None:
    if not -math.inf < lower < upper < math.inf or not lower <= mean <= upper:
        raise ValueError(f"lower <= mean <= upper must be finite and lower < upper, got {lower}, {mean}, {upper}")


def _outside(draws: Tensor, lower: float, upper: float) -> str:
    """What there is to say of draws outside an interval, NaN among them; nothing if there are none."""
    stray = int((~((draws >= lower) & (draws <= upper))).sum())
    return f"{stray} of {len(draws)} draws are outside [{lower}, {upper}]" if stray else ""


def bounded_mean(
    sample: Tensor, mean: float, lower: float, upper: float, *, alpha: float = ALPHA, beta: float = BETA, what: str = ""
) -> Residual:
    r"""Is the mean of draws from [lower, upper] the one given? By betting against it.

    With draws and mean m scaled to [0, 1], a gambler's capital $\prod_i (1 + \lambda(x_i - m))$ is a martingale if the
    mean is m, and so is the average of the capitals of 16 gamblers: eight stakes $\lambda$ in geometric progression on
    either side, none above half of what could be lost. By Ville's inequality it ever reaches $1/\alpha$ with
    probability at most $\alpha$, at any n, for any distribution. The error is the largest logarithm of the capital
    that was reached, the bound $\ln(1/\alpha)$.

    `detectable` follows from Markov's inequality on $\mathrm{capital}^{-t}$: since $(1+y)^{-t} \le 1 - ty + C y^2$ for
    $y \ge -b$ with $C = ((1-b)^{-t} - 1 - tb)/b^2$, a deviation $\delta$ is missed with probability at most
    $(16/\alpha)^t (1 - t\lambda\delta + C\lambda^2(v + \delta^2))^n$, minimised over t and the stakes. The variance v
    is bounded by Maurer and Pontil's empirical bound with confidence $1 - \beta/2$, so that $\beta/2$ is left for the
    miss. It is conservative.

    Args:
        sample: `(n,)`; NaN and draws outside [lower, upper] refute at once.
        mean: in [lower, upper].
        lower: smallest possible draw.
        upper: largest possible draw.
        alpha, beta, what: see above.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if `sample` is no real tensor.

    References:
        Waudby-Smith and Ramdas (2024), Estimating means of bounded random variables by betting, JRSS B 86. Maurer
        and Pontil (2009), Empirical Bernstein bounds and sample variance penalization, theorem 10.
    """
    _check_levels(alpha, beta)
    draws = _check_sample(sample)
    _check_interval(mean, lower, upper)
    n, width, bound = len(draws), upper - lower, math.log(1 / alpha)
    m, x = (mean - lower) / width, (draws - lower) / width
    observed = float(draws.mean())
    what, source = what or "the mean", "betting"
    if stray := _outside(draws, lower, upper):
        return _residual(math.inf, bound, source, stray, alpha, math.inf, observed, mean)
    gains = x - m
    stakes = {sign: _stakes(n, (m if sign > 0 else 1 - m), alpha) for sign in (1, -1)}
    impossible = (m == 0 and bool((x > 0).any())) or (m == 1 and bool((x < 1).any()))
    logs = [(sign * stake * gains).log1p().cumsum(0) for sign, side in stakes.items() for stake in side]
    capital = torch.logsumexp(torch.stack(logs), dim=0).amax() - math.log(2 * _BETS)
    error = math.inf if impossible else float(capital)
    deviation = float(x.std()) if n > 1 else 0.5
    variance = min(deviation + math.sqrt(2 * math.log(2 / beta) / max(n - 1, 1)), 0.5) ** 2
    detectable = max(
        _betting_deviation(n, side, m if sign > 0 else 1 - m, variance, alpha, beta / 2)
        for sign, side in stakes.items()
    )
    return _residual(error, bound, source, what, alpha, width * detectable, observed, mean)


def bernstein_mean(
    sample: Tensor, mean: float, lower: float, upper: float, *, alpha: float = ALPHA, beta: float = BETA, what: str = ""
) -> Residual:
    r"""$\lvert\bar x - m\rvert \le \sqrt{2v\ln(4/\alpha)/n} + 7w\ln(4/\alpha)/3(n-1)$ for draws from an interval of width w.

    v is the sample's own variance, so that the bound is narrow where the draws are. The mean of the draws is that far from
    its expectation with probability at most $\alpha$, at every n. `detectable` is the bound, and the same with $4/\alpha$
    replaced by $2/\beta$ for the deviation that hides an error.

    Args:
        sample: `(n,)`, n at least 2; NaN and draws outside [lower, upper] refute at once.
        mean: in [lower, upper].
        lower: smallest possible draw.
        upper: largest possible draw.
        alpha, beta, what: see above.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if `sample` is no real tensor.

    References:
        Maurer and Pontil (2009), Empirical Bernstein bounds and sample variance penalization, theorem 4.
    """
    _check_levels(alpha, beta)
    draws = _check_sample(sample)
    _check_interval(mean, lower, upper)
    n = len(draws)
    if n < 2:
        raise ValueError(f"sample must hold at least 2 draws, got {n}")
    what, source = what or "the mean", "empirical Bernstein"
    observed, deviation = float(draws.mean()), float(draws.std())

    def reach(log: float) -> float:
        return deviation * math.sqrt(2 * log / n) + 7 * (upper - lower) * log / (3 * (n - 1))

    bound = reach(math.log(4 / alpha))
    if stray := _outside(draws, lower, upper):
        return _residual(math.inf, bound, source, stray, alpha, math.inf, observed, mean)
    detectable = bound + reach(math.log(2 / beta))
    return _residual(abs(observed - mean), bound, source, what, alpha, detectable, observed, mean)


def _stakes(n: int, loss: float, alpha: float) -> list[float]:
    """Stakes from about the best one for variance 1/4 to half of what leaves nothing after a loss of `loss`."""
    largest = 0.5 / max(loss, 1 / n)
    smallest = min(math.sqrt(8 * math.log(1 / alpha) / n), largest)
    return [smallest * (largest / smallest) ** (i / (_BETS - 1)) for i in range(_BETS)]


def _betting_deviation(n: int, stakes: list[float], loss: float, variance: float, alpha: float, beta: float) -> float:
    """The smallest deviation that this side's gamblers are sure to catch, or infinity."""
    best = math.inf
    for stake in stakes:
        for t in (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5):
            b = max(stake * loss, 1e-4)
            curvature = ((1 - b) ** -t - 1 - t * b) / b**2
            target = math.exp(-(t * math.log(2 * _BETS / alpha) + math.log(1 / beta)) / n)
            # The smaller root of 1 - t s d + C s^2 (v + d^2) = target, in the form that does not cancel.
            constant, slope, square = 1 - target + curvature * stake**2 * variance, t * stake, curvature * stake**2
            discriminant = slope**2 - 4 * square * constant
            if discriminant >= 0:
                best = min(best, 2 * constant / (slope + math.sqrt(discriminant)))
    return best if best <= 1 else math.inf


def catoni_mean(
    sample: Tensor, mean: float, variance: float, *, alpha: float = ALPHA, beta: float = BETA, what: str = ""
) -> Residual:
    r"""$\lvert\hat m - m\rvert \le \sqrt{v\eta/(1 - \eta)}$, $\eta = 2\ln(2/\alpha)/n$, for any variance of at most v.

    $\hat m$ is Catoni's estimator, the root of $\sum_i \psi(a(x_i - \hat m)) = 0$ with $\psi(y) = \mathrm{sign}(y)
    \ln(1 + \lvert y\rvert + y^2/2)$ and $a = \sqrt{\eta(1 - \eta)/v}$. It exceeds the true mean by more than $(1 -
    \sqrt{1 - a^2 v - 2\ln(1/\epsilon)/n})/a$ with probability at most $\epsilon$, and likewise below: $\epsilon =
    \alpha/2$ gives the bound, and the bound plus the value at $\epsilon = \beta$ is `detectable`.

    Args:
        sample: `(n,)` with n above $2\ln(2/\alpha)$; NaN and infinite draws refute.
        mean: the mean to test.
        variance: positive, at least the true variance.
        alpha, beta, what: see above.

    Raises:
        ValueError: if an argument is out of range or n is too small.
        TypeError: if `sample` is no real tensor.

    References:
        Catoni (2012), Challenging the empirical mean and empirical variance, Annales de l'IHP 48, proposition 2.4.
    """
    _check_levels(alpha, beta)
    draws = _check_sample(sample)
    _check_finite("mean", mean)
    if not 0 < variance < math.inf:
        raise ValueError(f"variance must be positive and finite, got {variance}")
    n = len(draws)
    eta = 2 * math.log(2 / alpha) / n
    if not eta < 1:
        raise ValueError(f"sample must hold more than 2 ln(2/alpha) = {eta * n:.3g} draws, got {n}")
    a = math.sqrt(eta * (1 - eta) / variance)
    bound = eta / a
    inner = 1 - a**2 * variance - 2 * math.log(1 / beta) / n
    detectable = bound + (1 - math.sqrt(inner)) / a if inner >= 0 else math.inf
    source, what = "Catoni's estimator", what or "the mean"
    if not bool(draws.isfinite().all()):
        return _residual(math.inf, bound, source, "a draw is not finite", alpha, detectable, math.nan, mean)
    centred = draws - mean

    def balance(theta: float) -> float:
        y = (a * (centred - theta)).clamp(-1e150, 1e150)  # whose squares are finite
        return float((y.sign() * (y.abs() + y * y / 2).log1p()).sum())

    low, high = float(centred.min()), float(centred.max())
    shift = low if low == high else float(optimize.brentq(balance, low, high, xtol=1e-12 * bound, maxiter=5000))
    return _residual(abs(shift), bound, source, what, alpha, detectable, mean + shift, mean)


def t_mean(sample: Tensor, mean: float, *, alpha: float = 1e-4, beta: float = BETA, what: str = "") -> Residual:
    r"""$\lvert\bar x - m\rvert \le t_{1-\alpha/2}\,s/\sqrt n$: Student's test, valid only as n grows.

    Nothing bounds its false alarms for heavy-tailed or skewed draws at finite n, so it is labelled `asymptotic`, and
    refused for few draws or small levels. Prefer `bounded_mean` or `catoni_mean`.

    Args:
        sample: `(n,)`, n at least 10,000; NaN and infinite draws refute.
        mean: the mean to test.
        alpha: at least 1e-4. beta, what: see above.

    Raises:
        ValueError: if an argument is out of range, or n or alpha is too small.
        TypeError: if `sample` is no real tensor.
    """
    _check_levels(alpha, beta)
    draws = _check_sample(sample)
    _check_finite("mean", mean)
    n = len(draws)
    if n < 10_000 or alpha < 1e-4:
        raise ValueError(f"Student's test needs n >= 10000 and alpha >= 1e-4, got n={n}, alpha={alpha}")
    centred = draws - mean
    scale = float(centred.std()) / math.sqrt(n)
    bound = float(stats.t.isf(alpha / 2, n - 1)) * scale
    detectable = bound + float(stats.t.isf(beta, n - 1)) * scale
    error = abs(float(centred.mean()))
    if not math.isfinite(scale):
        error, bound, detectable = math.inf, 0.0, math.inf
    return _residual(
        error,
        bound,
        "Student's t",
        what or "the mean",
        alpha,
        detectable,
        mean + float(centred.mean()),
        mean,
        Kind.ASYMPTOTIC,
    )


def discrete(
    counts: Tensor, probabilities: Tensor, *, alpha: float = ALPHA, beta: float = BETA, what: str = ""
) -> Residual:
    r"""Do the counts of k categories follow the probabilities given? By their likelihood against a mixture.

    $E = \int \prod_j q_j^{c_j}\,\mathrm{Dir}(q; 1/2)\,\mathrm{d}q \,/ \prod_j p_j^{c_j}$ has mean 1 if the draws follow
    p, at every n, so $E \ge 1/\alpha$ has probability at most $\alpha$. The error is $\ln E$, the bound
    $\ln(1/\alpha)$; a draw of probability 0 refutes at once.

    `detectable` is a distance in total variation. $\ln E \ge n\,\mathrm{KL}(\hat p, p) - r$ with the mixture's largest
    regret $r = \ln\frac{\Gamma(n + k/2)\,\Gamma(1/2)}{\Gamma(n + 1/2)\,\Gamma(k/2)}$, reached when all draws are alike;
    by Pinsker's and Hoeffding's inequalities $\sqrt{(\ln(1/\alpha) + r)/2n} + \sqrt{\ln(1/\beta)/2n}$ is enough.

    Args:
        counts: `(k,)` integers, e.g. `torch.bincount(draws, minlength=k)`; give draws outside the support a category of
            probability 0.
        probabilities: `(k,)`, summing to 1 within `4 k eps`; they are not renormalised.
        alpha, beta, what: see above.

    Raises:
        ValueError: if shapes differ, a count or probability is negative, there is no draw, or the sum is not 1.
        TypeError: if `counts` are no integers or `probabilities` no floating tensor.

    References:
        Krichevsky and Trofimov (1981), The performance of universal encoding, IEEE Transactions IT-27.
    """
    _check_levels(alpha, beta)
    if not isinstance(counts, Tensor) or counts.dtype.is_floating_point or counts.dtype.is_complex:
        raise TypeError(f"counts must be a tensor of integers, got {getattr(counts, 'dtype', type(counts).__name__)}")
    if not isinstance(probabilities, Tensor) or not probabilities.dtype.is_floating_point:
        kind = getattr(probabilities, "dtype", type(probabilities).__name__)
        raise TypeError(f"probabilities must be a floating tensor, got {kind}")
    if counts.ndim != 1 or counts.shape != probabilities.shape or len(counts) == 0:
        raise ValueError(
            f"counts and probabilities must both have shape (k,), got {tuple(counts.shape)} and "
            f"{tuple(probabilities.shape)}"
        )
    c, p = counts.detach().double().cpu(), probabilities.detach().double().cpu()
    n, slack = int(counts.sum()), 4 * len(p) * torch.finfo(probabilities.dtype).eps
    if not bool((c >= 0).all()) or n == 0:
        raise ValueError(f"counts must be at least 0 and not all 0, got {counts.tolist()[:8]}")
    if not bool((p >= 0).all()) or not abs(float(p.sum()) - 1) <= slack:
        raise ValueError(f"probabilities must be at least 0 and sum to 1, got sum {float(p.sum())!r}")
    bound, k = math.log(1 / alpha), int((p > 0).sum())
    regret = math.lgamma(n + k / 2) - math.lgamma(n + 0.5) - math.lgamma(k / 2) + math.lgamma(0.5)
    detectable = math.sqrt((bound + regret) / (2 * n)) + math.sqrt(math.log(1 / beta) / (2 * n))
    gaps = (c / n - p).abs()
    outside = (p == 0) & (c > 0)
    worst = int(outside.to(torch.uint8).argmax()) if bool(outside.any()) else int(gaps.argmax())
    source, where = "mixture likelihood ratio", f"{what or 'the probability'} of category {worst}"
    if bool(outside.any()):
        return _residual(math.inf, bound, source, where, alpha, detectable, float(c[worst] / n), 0.0)
    c, p = c[p > 0], p[p > 0]
    evidence = math.lgamma(k / 2) - math.lgamma(n + k / 2) + float(((c + 0.5).lgamma() - math.lgamma(0.5)).sum())
    error = evidence - float((c * p.log()).sum())
    return _residual(
        error, bound, source, where, alpha, detectable, float(counts[worst] / n), float(probabilities[worst])
    )
