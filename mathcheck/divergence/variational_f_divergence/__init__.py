r"""What every variational form of an f-divergence must satisfy, and the well-known ones.

$\mathbb E_P[g_f(V)] - \mathbb E_Q[f^*(g_f(V))] \le D_f(P, Q)$ for every function V, where $f^*(s) = \sup_{u\ge 0}(us - f(u))$
and the activation $g_f$ maps the reals into the domain of $f^*$. Equality holds if $g_f(V)$ is a subgradient of f at p/q.
"""

from mathcheck.divergence.variational_f_divergence.bound import variational_bound
from mathcheck.divergence.variational_f_divergence.laws import (
    attained_at_the_optimal_critic,
    check_variational_form,
    fenchel_and_young,
    never_exceeds_the_divergence,
    penalty_is_the_conjugate_of_the_activation,
)
from mathcheck.divergence.variational_f_divergence.record import Elementwise, VariationalForm
from mathcheck.divergence.variational_f_divergence.reference import (
    jensen_shannon,
    kl,
    reverse_kl,
    squared_hellinger,
    total_variation,
)

__all__ = [
    "Elementwise",
    "VariationalForm",
    "attained_at_the_optimal_critic",
    "check_variational_form",
    "fenchel_and_young",
    "jensen_shannon",
    "kl",
    "never_exceeds_the_divergence",
    "penalty_is_the_conjugate_of_the_activation",
    "reverse_kl",
    "squared_hellinger",
    "total_variation",
    "variational_bound",
]
