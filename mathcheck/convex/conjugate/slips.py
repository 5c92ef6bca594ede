"""Ways in which a conjugate goes wrong: the mutants of its laws, and what undoes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from mathcheck.convex.conjugate.record import Conjugate

Slip = Callable[[Conjugate], Conjugate]


def _value(change: Callable[[Tensor, Tensor], Tensor]) -> Slip:
    """The slip that puts `change(f*(t), t)` in place of the conjugate."""
    return lambda c: replace(c, conjugate=lambda t: change(c.conjugate(t), t))


def _activation(change: Callable[[Conjugate, Tensor], Tensor]) -> Slip:
    """The slip that puts `change(c, v)` in place of the activation."""

    def slip(c: Conjugate) -> Conjugate:
        if c.upper == math.inf:
            raise NotImplementedError("every real number lies in the conjugate's domain")
        return replace(c, activation=lambda v: change(c, v))

    return slip


TOO_SMALL: dict[str, Slip] = {
    "1 is subtracted from the conjugate": _value(lambda value, t: value - 1),
    "the sign of the generator is changed": lambda c: replace(c, f=lambda u: -c.f(u)),
}
TOO_LARGE: dict[str, Slip] = {"1 is added to the conjugate": _value(lambda value, t: value + 1)}
DOUBLED: dict[str, Slip] = {
    "the generator is doubled, the conjugate is not": lambda c: replace(c, f=lambda u: 2 * c.f(u)),
    "the conjugate is doubled": _value(lambda value, t: 2 * value),
}
SHIFTED: dict[str, Slip] = {
    **TOO_LARGE,
    "1 is subtracted from the conjugate": TOO_SMALL["1 is subtracted from the conjugate"],
    "the conjugate is doubled": DOUBLED["the conjugate is doubled"],
}
SUBGRADIENT: dict[str, Slip] = {
    "the subgradient is that at 1/u (the ratio is upside down)": lambda c: replace(
        c, subgradient=lambda u: c.subgradient(1 / u)
    ),
}
ACTIVATION: dict[str, Slip] = {
    "the activation is left out": _activation(lambda c, v: v),
    "1 is added to the activation": _activation(lambda c, v: c.activation(v) + 1),
}
REPAIRS: dict[str, Slip] = {
    **TOO_SMALL,
    **TOO_LARGE,
    "the conjugate is halved": _value(lambda value, t: value / 2),
    "the generator is halved": lambda c: replace(c, f=lambda u: c.f(u) / 2),
    **SUBGRADIENT,
}
