r"""Kullback-Leibler divergence of normal distributions: diagonal and full covariance, and its Monte Carlo estimator.

$\mathrm{KL}(\mathcal N(\mu_q,\Sigma_q)\,\|\,\mathcal N(\mu_p,\Sigma_p)) = \tfrac12\big[\mathrm{tr}(\Sigma_p^{-1}\Sigma_q) - n
- \log\det(\Sigma_p^{-1}\Sigma_q) + (\mu_q-\mu_p)^\top\Sigma_p^{-1}(\mu_q-\mu_p)\big]$. As it stands the formula subtracts
nearly equal numbers: for arguments at a distance of $\delta$ the value is about $\delta^2$, and every digit is lost once
$\delta < \sqrt\epsilon$. Here each form is a sum of terms that are each non-negative and computed without cancellation.
"""

from mathcheck.divergence.gaussian_kl.claims import (
    ClosedForm,
    Estimator,
    cholesky,
    closed_form,
    closed_form_is_the_definition,
    diagonal,
    estimator_gradient_is_unbiased,
    estimator_is_unbiased,
    full,
)
from mathcheck.divergence.gaussian_kl.kl import kl_cholesky, kl_diagonal, kl_full, kl_monte_carlo

__all__ = [
    "ClosedForm",
    "Estimator",
    "cholesky",
    "closed_form",
    "closed_form_is_the_definition",
    "diagonal",
    "estimator_gradient_is_unbiased",
    "estimator_is_unbiased",
    "full",
    "kl_cholesky",
    "kl_diagonal",
    "kl_full",
    "kl_monte_carlo",
]
