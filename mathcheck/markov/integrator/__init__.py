r"""What every integrator of Hamilton's equations must satisfy for Monte Carlo: the record, its laws, `check_integrator`.

$\dot q = p$, $\dot p = -\nabla U(q)$; the energy is $H(q, p) = U(q) + \tfrac12\lvert p\rvert^2$.
"""

from mathcheck.markov.integrator.laws import (
    a_step_is_right_to_second_order,
    check_integrator,
    energy_error_is_of_second_order,
    keeps_the_shadow_energy_of_the_oscillator,
    negative_steps_go_back,
    reversible,
    steps_compose,
    trajectories_are_independent,
    volume_preserving,
)
from mathcheck.markov.integrator.record import Integrator, Step

__all__ = [
    "Integrator",
    "Step",
    "a_step_is_right_to_second_order",
    "check_integrator",
    "energy_error_is_of_second_order",
    "keeps_the_shadow_energy_of_the_oscillator",
    "negative_steps_go_back",
    "reversible",
    "steps_compose",
    "trajectories_are_independent",
    "volume_preserving",
]
