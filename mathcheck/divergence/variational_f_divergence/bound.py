"""The variational bound on an f-divergence that a critic gives."""

from __future__ import annotations

from torch import Tensor

from mathcheck.divergence.variational_f_divergence.record import VariationalForm
from mathcheck.engine import arguments


def variational_bound(form: VariationalForm, v: Tensor, p: Tensor, q: Tensor) -> Tensor:
    r"""$\sum_i p_i\,g_f(v_i) - \sum_i q_i f^*(g_f(v_i))$, at most $D_f(P, Q)$ whatever v is.

    With samples for p and q it is the objective of an f-GAN, to be maximised by the critic.

    Args:
        form: activation and penalty.
        v: `(*batch, n)`, what a critic says of each outcome.
        p: `(*batch, n)`, a distribution, or weights 1/n of a sample.
        q: like p.

    Returns:
        `(*batch,)`, differentiable in v.

    Raises:
        TypeError, ValueError: if the three are not floating tensors of one shape, dtype and device.

    References:
        Nguyen, Wainwright, Jordan (2010), Estimating divergence functionals and the likelihood ratio by convex risk
        minimization, lemma 1. Nowozin, Cseke, Tomioka (2016), f-GAN, section 2.4.
    """
    arguments.instances(VariationalForm, form=form)
    arguments.alike(v=v, p=p, q=q)
    arguments.vectors(v=v)
    return (p * form.activation(v) - q * form.penalty(v)).sum(-1)
