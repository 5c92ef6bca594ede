r"""Convex functions on the positive half-line and their conjugates $f^*(t) = \sup_{u \ge 0}\{ut - f(u)\}$: record, laws, table.

The table holds the generator f of every common f-divergence $D_f(P\,\|\,Q) = \mathbb E_Q[f(p/q)]$ with its conjugate, a
subgradient, and an output activation $g_f$ that maps all reals into the domain of $f^*$, so that
$\mathbb E_P[g_f(V)] - \mathbb E_Q[f^*(g_f(V))]$ is a lower bound of the divergence for every real function V.
"""

from mathcheck.convex.conjugate.generators import (
    alpha,
    alpha_minus_half,
    alpha_three_halves,
    jensen_shannon,
    kl,
    neyman,
    no_real_number_gives_more,
    pearson,
    reverse_kl,
    squared_hellinger,
    total_variation,
)
from mathcheck.convex.conjugate.laws import (
    activation_maps_into_the_domain,
    biconjugate_is_the_generator,
    check_conjugate,
    conjugate_is_the_supremum,
    equality_at_the_subgradient,
    fenchel_young,
    generator_vanishes_at_one,
)
from mathcheck.convex.conjugate.record import Conjugate, Map

__all__ = [
    "Conjugate",
    "Map",
    "activation_maps_into_the_domain",
    "alpha",
    "alpha_minus_half",
    "alpha_three_halves",
    "biconjugate_is_the_generator",
    "check_conjugate",
    "conjugate_is_the_supremum",
    "equality_at_the_subgradient",
    "fenchel_young",
    "generator_vanishes_at_one",
    "jensen_shannon",
    "kl",
    "neyman",
    "no_real_number_gives_more",
    "pearson",
    "reverse_kl",
    "squared_hellinger",
    "total_variation",
]
