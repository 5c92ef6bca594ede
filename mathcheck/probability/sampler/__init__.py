r"""What every sampler must satisfy: the record, its laws, `check_sampler`.

Each statistical law is tried once, at a drawn seed, and raises a false alarm with probability at most $\alpha = 10^{-6}$
whatever the distribution; its residual says the smallest error that it would have caught with probability 0.99.
"""

from mathcheck.probability.sampler.laws import (
    cdf_rises_from_zero_to_one,
    check_sampler,
    draws_follow_the_distribution,
    draws_have_the_mean,
    one_seed_gives_one_sample,
    other_seeds_give_other_samples,
    shape_is_the_number_of_draws,
    successive_draws_are_independent,
    tails_hold_their_probability,
)
from mathcheck.probability.sampler.record import Map, Sample, Sampler

__all__ = [
    "Map",
    "Sample",
    "Sampler",
    "cdf_rises_from_zero_to_one",
    "check_sampler",
    "draws_follow_the_distribution",
    "draws_have_the_mean",
    "one_seed_gives_one_sample",
    "other_seeds_give_other_samples",
    "shape_is_the_number_of_draws",
    "successive_draws_are_independent",
    "tails_hold_their_probability",
]
