r"""Critics of two samples, and the lower bound of an f-divergence that they reach.

A critic V gives $\mathbb E_P[g_f(V)] - \mathbb E_Q[f^*(g_f(V))] \le D_f(P, Q)$; to train it is to raise the bound.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mathcheck.divergence.variational_f_divergence import VariationalForm
from mathcheck.engine import arguments


class Critics(nn.Module):
    """Multilayer perceptrons of one shape and with weights of their own, evaluated and trained side by side.

    A sum of their objectives has the gradient of each with respect to its own weights, and Adam moves every weight by its
    own gradient alone: training many at once gives what training one after another does, and is faster.

    Args:
        count: how many critics.
        sizes: the number of inputs and the widths of the hidden layers.

    Raises:
        TypeError, ValueError: if there is nothing to make: no critic, or an empty layer.
    """

    def __init__(self, count: int, sizes: Sequence[int]) -> None:
        super().__init__()
        arguments.at_least(1, count=count)
        if not sizes or min(sizes) < 1:
            raise ValueError(f"sizes must be the number of inputs and widths of at least 1, got {list(sizes)}")
        pairs = list(itertools.pairwise([*sizes, 1]))
        # Uniform within 1/sqrt(inputs), which is what `nn.Linear` begins with.
        reach = [1 / math.sqrt(inputs) for inputs, _ in pairs]
        self.weights = nn.ParameterList(
            [torch.empty(count, *pair).uniform_(-r, r) for pair, r in zip(pairs, reach, strict=True)]
        )
        self.biases = nn.ParameterList(
            [torch.empty(count, 1, pair[1]).uniform_(-r, r) for pair, r in zip(pairs, reach, strict=True)]
        )

    def forward(self, x: Tensor) -> Tensor:
        """What each critic says of its own points.

        Args:
            x: `(count, n, d)`, or `(n, d)` for the same points before all critics.

        Returns:
            `(count, n)`.
        """
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = (nn.functional.leaky_relu(x, 0.2) if layer else x) @ weight + bias
        return x[..., 0]


def divergence_bound(form: VariationalForm, of_p: Tensor, of_q: Tensor) -> Tensor:
    r"""$\frac1n\sum_i g_f(V(x_i)) - \frac1m\sum_j f^*(g_f(V(y_j)))$ for samples x of P and y of Q.

    The variational bound with weights $1/n$ and $1/m$. Its mean over samples is at most $D_f(P, Q)$ if V does not depend on
    them; on those that V was trained on it may be above.

    Args:
        form: activation and penalty of the divergence.
        of_p: V at draws from P, `(*batch, n)`.
        of_q: V at draws from Q, `(*batch, m)`.

    Returns:
        `(*batch,)`, differentiable.

    Raises:
        TypeError, ValueError: if `form` is no variational form, or the two are no floating tensors of one batch shape.

    References:
        Nowozin, Cseke, Tomioka (2016), f-GAN, equation (6).
    """
    arguments.instances(VariationalForm, form=form)
    arguments.vectors(of_p=of_p, of_q=of_q)
    if of_p.shape[:-1] != of_q.shape[:-1]:
        raise ValueError(f"of_q must have the batch shape {tuple(of_p.shape[:-1])} of of_p, got {tuple(of_q.shape)}")
    bound: Tensor = form.activation(of_p).mean(-1) - form.penalty(of_q).mean(-1)
    return bound
