"""Every right subject: those of this folder, and the right twins of the museum."""

from __future__ import annotations

from museum.exhibit import Exhibit
from museum.test_museum import TWINS

from right_code import (
    right_convexity,
    right_divergences,
    right_flows,
    right_inference,
    right_libraries,
    right_linear,
    right_markov,
    right_probability,
)
from right_code.subject import Right

ROOMS = {
    "flows": right_flows,
    "linear maps": right_linear,
    "convexity": right_convexity,
    "divergences": right_divergences,
    "probability": right_probability,
    "inference": right_inference,
    "Markov chains": right_markov,
    "torch.distributions": right_libraries,
}


def _twin(exhibit: Exhibit) -> Right:
    right = exhibit.right
    return Right(exhibit.check, right if callable(right) else lambda dtype: right)


SUBJECTS: dict[str, dict[str, Right]] = {room: dict(module.SUBJECTS) for room, module in ROOMS.items()}
SUBJECTS["twins of known slips"] = {f"twin: {e.title}": _twin(e) for e in TWINS.values()}
