r"""What every log-likelihood of a vector must satisfy: the record, its laws, `check_log_likelihood`.

$\log p(t\mid a) = \sum_i\log p(t_i\mid a_i)$ for outcomes that are independent given their parameters: the decoder of an
autoencoder, the output of a classifier. Written as they stand in a book these formulas fail in floating point: $0\log 0$ is
not a number, and a logistic function of 17 is 1 in single precision.
"""

from mathcheck.probability.log_likelihood.laws import (
    check_log_likelihood,
    equals_the_definition,
    gradient_is_that_of_the_definition,
    one_value_for_each_row,
    outcomes_add,
    probabilities_of_all_outcomes_sum_to_one,
)
from mathcheck.probability.log_likelihood.record import LogLikelihood, LogProb

__all__ = [
    "LogLikelihood",
    "LogProb",
    "check_log_likelihood",
    "equals_the_definition",
    "gradient_is_that_of_the_definition",
    "one_value_for_each_row",
    "outcomes_add",
    "probabilities_of_all_outcomes_sum_to_one",
]
