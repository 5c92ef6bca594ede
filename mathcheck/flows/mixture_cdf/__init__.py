r"""The flow $z = \Phi^{-1}\big(\sum_k\pi_k\Phi(\tfrac{x-\mu_k}{\sigma_k})\big)$, whose density is a Gaussian mixture.

Without normalisation and $\Phi^{-1}$, the bounded map $\sum_k w_k(\Phi_k - \tfrac12)$ reaches only $(-W/2, W/2)$ with
$W = \sum_k w_k$, and the density that a change of variables makes of it has the mass $\mathrm{erf}(W/(2\sqrt2)) < 1$.
"""

from mathcheck.flows.mixture_cdf.claims import (
    Build,
    Components,
    Inputs,
    Mass,
    bounded_map_loses_mass,
    density_is_the_mixture,
    keeps_both_tails,
    mass_of_the_bounded_map,
    one_wide_one_narrow,
    three_peaks,
)
from mathcheck.flows.mixture_cdf.flow import mixture_cdf

__all__ = [
    "Build",
    "Components",
    "Inputs",
    "Mass",
    "bounded_map_loses_mass",
    "density_is_the_mixture",
    "keeps_both_tails",
    "mass_of_the_bounded_map",
    "mixture_cdf",
    "one_wide_one_narrow",
    "three_peaks",
]
