"""Ways in which a variational form goes wrong: the mutants of its laws, and what undoes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mathcheck.divergence.variational_f_divergence.record import VariationalForm
from mathcheck.oracles import arb

Slip = Callable[[VariationalForm], VariationalForm]


def _not_activated(form: VariationalForm) -> VariationalForm:
    probe = torch.tensor([-1.0, 0.25], dtype=torch.float64)
    if torch.equal(form.activation(probe), probe):
        raise NotImplementedError("the activation is the identity")

    def printed(v: Tensor) -> Tensor:
        # f* as its formula has it, also where it is not f*, or has no value.
        values = [form.conjugate(arb.exact(x)) for x in v.detach().flatten().tolist()]
        numbers = [float(x.mid()) if x.is_finite() else math.nan for x in values]
        return torch.tensor(numbers, dtype=v.dtype).reshape(v.shape).to(v)

    return replace(form, penalty=printed)


def optimum(change: Callable[[Tensor], Tensor]) -> Slip:
    return lambda form: replace(form, optimal=lambda p, q: change(form.optimal(p, q)))


def exchanged(form: VariationalForm) -> VariationalForm:
    probe = torch.tensor([-1.0, 0.25], dtype=torch.float64)
    if torch.equal(form.activation(probe), form.penalty(probe)):
        raise NotImplementedError("reward and penalty are the same function")
    return replace(form, activation=form.penalty, penalty=form.activation)


def _activated(form: VariationalForm) -> VariationalForm:
    """What is written for numbers in the domain of the conjugate is given the activated critic."""

    def both(x: float) -> tuple[float, float]:
        at = arb.exact(x)
        slope = arb.gradient(lambda xs: form.exact_activation(xs[0]), [at])[0]
        return float(form.exact_activation(at).mid()), float(slope.mid())

    def activated(v: Tensor) -> Tensor:
        finite = v.clamp(-700.0, 700.0)
        pairs = torch.tensor([both(x) for x in finite.detach().flatten().tolist()], dtype=torch.float64).to(v)
        value, slope = (part.reshape(v.shape) for part in pairs.unbind(-1))
        return value + slope * (finite - finite.detach())

    return replace(
        form, activation=lambda v: form.activation(activated(v)), penalty=lambda v: form.penalty(activated(v))
    )


REPAIRS: dict[str, Slip] = {"the output activation is applied to the critic": _activated}
MISSING: dict[str, Slip] = {"the activation is missing in the penalty": _not_activated}
ADDED: dict[str, Slip] = {"the penalty is added": lambda form: replace(form, penalty=lambda v: -form.penalty(v))}
HALVED: dict[str, Slip] = {"the penalty is halved": lambda form: replace(form, penalty=lambda v: form.penalty(v) / 2)}
