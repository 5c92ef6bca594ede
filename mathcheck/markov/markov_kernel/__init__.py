r"""What every Markov kernel for Monte Carlo must satisfy: the record, its laws, `check_markov_kernel`.

No amount of output tells a slowly mixing chain from a wrong one. Two things do: the equation of detailed balance, and
starting from the target exactly, whereupon every later state must follow it too.
"""

from mathcheck.markov.markov_kernel.laws import (
    a_nan_proposal_is_rejected,
    a_step_is_as_likely_as_its_reverse,
    chains_are_independent,
    chains_are_independent_in_law,
    check_markov_kernel,
    detailed_balance,
    exact_draws_follow_their_target,
    halving_its_step_shrinks_its_bias,
    leaves_its_target_invariant,
    moves,
    repeats_the_state_on_rejection,
    targets_agree_with_themselves,
    the_proposal_is_its_own_inverse,
)
from mathcheck.markov.markov_kernel.record import MarkovKernel, OfNoise, Step

__all__ = [
    "MarkovKernel",
    "OfNoise",
    "Step",
    "a_nan_proposal_is_rejected",
    "a_step_is_as_likely_as_its_reverse",
    "chains_are_independent",
    "chains_are_independent_in_law",
    "check_markov_kernel",
    "detailed_balance",
    "exact_draws_follow_their_target",
    "halving_its_step_shrinks_its_bias",
    "leaves_its_target_invariant",
    "moves",
    "repeats_the_state_on_rejection",
    "targets_agree_with_themselves",
    "the_proposal_is_its_own_inverse",
]
