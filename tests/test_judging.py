"""Implementations that people write: the wrong ones are refuted and named, their correct twins pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mathcheck import (
    Bijection,
    Divergence,
    InaccurateWarning,
    Refuted,
    Settings,
    SmoothMax,
    check_bijection,
    check_divergence,
    check_smooth_max,
    normals,
)
from mathcheck.divergence.gaussian_kl import kl_diagonal
from mathcheck.engine.evidence import Status

QUICK = Settings(examples=40)


def textbook_kl(mean_q: Tensor, log_variance_q: Tensor, mean_p: Tensor, log_variance_p: Tensor) -> Tensor:
    log_ratio = log_variance_q - log_variance_p
    return 0.5 * (log_ratio.exp() - 1 - log_ratio + (mean_q - mean_p) ** 2 / log_variance_p.exp()).sum(-1)


def naive_smooth_max(x: Tensor, beta: float) -> Tensor:
    return (beta * x).exp().sum(-1).log() / beta


class RealNVP(nn.Module):
    """A layer as one finds it in a notebook: two-dimensional batches, the first half kept."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 4)).to(dtype)
        for parameter in self.net.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(dtype)

    def scale_and_shift(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.net(kept).chunk(2, dim=1)
        return torch.tanh(s), t

    def forward(self, x: Tensor) -> Tensor:
        kept, moved = x.chunk(2, dim=1)
        s, t = self.scale_and_shift(kept)
        return torch.cat([kept, moved * s.exp() + t], dim=1)

    def inverse(self, y: Tensor) -> Tensor:
        kept, moved = y.chunk(2, dim=1)
        s, t = self.scale_and_shift(kept)
        return torch.cat([kept, (moved - t) * (-s).exp()], dim=1)

    def log_det(self, x: Tensor) -> Tensor:
        return self.scale_and_shift(x[:, :2])[0].sum(1)

    def bijection(self, **changes: Any) -> Bijection:
        functions = {"forward": self.forward, "inverse": self.inverse, "log_abs_det_jacobian": self.log_det, **changes}
        return Bijection(**functions, event_shape=(4,), dtype=self.net[0].weight.dtype)


def refuted(run: Callable[[], Any]) -> dict[str, Any]:
    """Law -> evidence, of the laws that were refuted."""
    with pytest.raises(Refuted) as error:
        run()
    found = {e.claim.rsplit(".", 1)[-1]: e for e in error.value.evidence if e.status is Status.REFUTED}
    assert all(e.counterexample is not None and e.counterexample.residual is not None for e in found.values())
    return found


def test_swapped_arguments() -> None:
    found = refuted(lambda: check_divergence(lambda a, b, c, d: kl_diagonal(c, d, a, b), settings=QUICK))
    assert found["equals_the_definition"].diagnosis == "the arguments are swapped"


def test_standard_deviations_for_variances() -> None:
    wrong = lambda a, b, c, d: kl_diagonal(a, 2 * b.log(), c, 2 * d.log())  # noqa: E731
    found = refuted(lambda: check_divergence(wrong, normals("variance"), settings=QUICK))
    assert any("takes standard deviations for variances" in (e.diagnosis or "") for e in found.values())


def test_variances_for_standard_deviations() -> None:
    wrong = lambda a, b, c, d: kl_diagonal(a, b.log(), c, d.log())  # noqa: E731
    found = refuted(lambda: check_divergence(wrong, normals("std"), settings=QUICK))
    assert any("takes variances for standard deviations" in (e.diagnosis or "") for e in found.values())


@pytest.mark.slow
def test_a_divergence_that_goes_negative_for_nearly_equal_arguments() -> None:
    with pytest.warns(InaccurateWarning, match=r"never negative.*no digit"):
        check_divergence(textbook_kl)
    found = refuted(lambda: check_divergence(textbook_kl, settings=Settings(accuracy="full")))
    assert "never_negative" in found
    assert "nearly equal arguments are excluded" in found["equals_the_definition"].diagnosis


def test_the_textbook_formula_passes_away_from_equality() -> None:
    check_divergence(textbook_kl, normals(near_equal=False, reach=20), settings=QUICK)


def test_a_divergence_summed_over_the_batch() -> None:
    found = refuted(lambda: check_divergence(lambda *x: kl_diagonal(*x).sum(), settings=QUICK))
    assert found["rows_are_independent"].diagnosis == "the rows of a batch are kept apart"


def test_a_log_sum_exp_that_overflows() -> None:
    found = refuted(lambda: check_smooth_max(naive_smooth_max, settings=QUICK))
    assert "the maximum is subtracted" in found["equals_the_definition"].diagnosis


def test_a_smooth_maximum_without_its_temperature() -> None:
    found = refuted(lambda: check_smooth_max(lambda x, beta: torch.logsumexp(beta * x, -1), settings=QUICK))
    assert found["equals_the_definition"].diagnosis == "the value is divided by beta"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_torch_logsumexp_passes_but_for_rows_of_minus_infinity(dtype: torch.dtype) -> None:
    known = {"minus_infinity_has_no_weight": "its gradient at a row of -inf is NaN"}
    any_beta = SmoothMax(lambda x, beta: torch.logsumexp(beta * x, -1) / beta)
    fixed = SmoothMax(lambda x, beta: torch.logsumexp(x, -1), betas=(1.0, 1.0))
    for subject in (any_beta, fixed):
        check_smooth_max(subject, dtype=dtype, expected_failures=known, settings=QUICK)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
class TestRealNVP:
    def test_the_correct_layer_passes(self, dtype: torch.dtype) -> None:
        evidence = check_bijection(RealNVP(dtype).bijection(), settings=QUICK)
        assert {e.status for e in evidence} == {Status.HOLDS, Status.SKIPPED}

    def test_a_wrong_sign(self, dtype: torch.dtype) -> None:
        flow = RealNVP(dtype)
        found = refuted(lambda: check_bijection(flow.bijection(log_abs_det_jacobian=lambda x: -flow.log_det(x))))
        law = found["log_det_is_that_of_the_jacobian"]
        assert law.diagnosis == "the sign of the log-determinant is changed"

    def test_a_sum_over_the_batch(self, dtype: torch.dtype) -> None:
        flow = RealNVP(dtype)
        found = refuted(lambda: check_bijection(flow.bijection(log_abs_det_jacobian=lambda x: flow.log_det(x).sum())))
        assert found["log_det_is_that_of_the_jacobian"].diagnosis == "the rows of a batch are kept apart"

    def test_a_coordinate_that_is_ignored(self, dtype: torch.dtype) -> None:
        flow = RealNVP(dtype)
        ignores = lambda x: flow.scale_and_shift(x[:, :2])[0][:, 1:].sum(1)  # noqa: E731
        found = refuted(lambda: check_bijection(flow.bijection(log_abs_det_jacobian=ignores)))
        assert set(found) == {"log_det_is_that_of_the_jacobian"}

    def test_an_inverse_that_is_off(self, dtype: torch.dtype) -> None:
        flow = RealNVP(dtype)
        off = 1e-6 if dtype == torch.float64 else 1e-3
        found = refuted(lambda: check_bijection(flow.bijection(inverse=lambda y: flow.inverse(y) + off)))
        assert {"inverse_undoes_forward", "every_target_is_reached"} <= set(found)


@pytest.mark.slow
def test_a_layer_whose_log_determinant_is_always_zero_hides_its_sign() -> None:
    flow = RealNVP(torch.float64)
    shift = flow.bijection(
        forward=lambda x: torch.cat([x[:, :2], x[:, 2:] + flow.scale_and_shift(x[:, :2])[1]], 1),
        inverse=lambda y: torch.cat([y[:, :2], y[:, 2:] - flow.scale_and_shift(y[:, :2])[1]], 1),
        log_abs_det_jacobian=lambda x: x.new_zeros(x.shape[0]),
    )
    found = {e.claim.rsplit(".", 1)[-1]: e for e in check_bijection(shift, settings=QUICK)}
    assert "the sign of the log-determinant is changed" in found["log_det_is_that_of_the_jacobian"].blind_to
    with pytest.raises(Refuted, match="VACUOUS"):
        check_bijection(shift, settings=Settings(examples=40, accuracy="full"))


def test_bad_input_is_refused() -> None:
    with pytest.raises(TypeError, match="divergence must be"):
        check_divergence(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="domain"):
        check_divergence(Divergence(kl_diagonal), normals())
    with pytest.raises(TypeError, match="bijection must be"):
        check_bijection(torch.exp)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="smooth_max must be"):
        check_smooth_max(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="spread"):
        normals("sigma")
    with pytest.raises(ValueError, match="betas"):
        SmoothMax(naive_smooth_max, betas=(0.0, 1.0))
