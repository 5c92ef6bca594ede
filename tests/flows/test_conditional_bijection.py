"""A conditional flow is judged as a map of pairs; a wrong use of its context is seen."""

import pytest
import torch
from torch import Tensor

from mathcheck import Refuted, Settings, check_bijection, conditional_bijection

FEW = Settings(examples=15)


def _scale(c: Tensor) -> Tensor:
    return torch.tanh(c.sum(-1, keepdim=True))


def _forward(x: Tensor, c: Tensor) -> Tensor:
    return x * _scale(c).exp() + c[..., :1]


def _inverse(y: Tensor, c: Tensor) -> Tensor:
    return (y - c[..., :1]) * (-_scale(c)).exp()


def _log_det(x: Tensor, c: Tensor) -> Tensor:
    return 2 * _scale(c).squeeze(-1)


def test_a_right_conditional_map_holds() -> None:
    flow = conditional_bijection(_forward, _inverse, _log_det, event_size=2, context_size=1)
    check_bijection(flow, settings=FEW)


@pytest.mark.parametrize(
    ("log_det", "inverse"),
    [
        (lambda x, c: _scale(c).squeeze(-1), _inverse),  # of one coordinate of two
        (lambda x, c: _log_det(x, c.roll(1, 0)), _inverse),  # of another row's context
        (_log_det, lambda y, c: _inverse(y, -c)),
    ],
)
def test_a_wrong_use_of_the_context_is_refuted(log_det: object, inverse: object) -> None:
    flow = conditional_bijection(_forward, inverse, log_det, event_size=2, context_size=1)  # type: ignore[arg-type]
    with pytest.raises(Refuted, match="REFUTED"):
        check_bijection(flow, settings=FEW)


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="context_size"):
        conditional_bijection(_forward, event_size=2, context_size=0)
