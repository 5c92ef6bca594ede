"""Functions of NumPy and JAX arrays are judged like functions of tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from mathcheck import (
    Bijection,
    Interval,
    Refuted,
    Sampler,
    Settings,
    Status,
    check_bijection,
    check_divergence,
    check_sampler,
    check_smooth_max,
    from_arrays,
    normals,
)
from mathcheck.cli import main

QUICK = Settings(examples=30)


def _numpy_kl(mean_q: Any, var_q: Any, mean_p: Any, var_p: Any) -> Any:
    assert all(isinstance(x, np.ndarray) for x in (mean_q, var_q, mean_p, var_p))
    return 0.5 * (np.log(var_p) - np.log(var_q) - 1 + (var_q + (mean_q - mean_p) ** 2) / var_p).sum(-1)


FAR = normals("variance", near_equal=False, reach=20)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_a_divergence_in_numpy(dtype: torch.dtype) -> None:
    found = check_divergence(from_arrays(_numpy_kl), FAR, dtype=dtype, settings=QUICK)
    skipped = {e.claim.rsplit(".", 1)[-1]: e.reason for e in found if e.status is Status.SKIPPED}
    assert "no gradient by autograd" in (skipped["gradient_is_that_of_the_definition"] or "")
    assert len([e for e in found if e.status is Status.HOLDS]) >= 5
    with pytest.raises(Refuted, match="it holds once the arguments are swapped"):
        check_divergence(from_arrays(lambda a, b, c, d: _numpy_kl(c, d, a, b)), FAR, dtype=dtype, settings=QUICK)


def _numpy_flow(sign: float) -> Bijection:
    scale = np.array([0.5, -1.0, 2.0])
    return from_arrays(
        Bijection(  # type: ignore[no-any-return]
            lambda x: x * np.exp(scale).astype(x.dtype),
            lambda y: y * np.exp(-scale).astype(y.dtype),
            lambda x: np.full(x.shape[:1], sign * scale.sum(), x.dtype),
            (3,),
        )
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_a_bijection_in_numpy_is_judged_by_differences(dtype: torch.dtype) -> None:
    found = {e.claim.rsplit(".", 1)[-1]: e for e in check_bijection(_numpy_flow(1), dtype=dtype, settings=QUICK)}
    assert found["log_det_is_that_of_the_jacobian"].status is Status.HOLDS
    with pytest.raises(Refuted, match="the sign of the log-determinant is changed"):
        check_bijection(_numpy_flow(-1), dtype=dtype, settings=QUICK)


def _doubled(mean_q: Any, var_q: Any, mean_p: Any, var_p: Any) -> Any:
    return _numpy_kl(mean_q, var_q, mean_p, var_p) + 0.5 * ((mean_q - mean_p) ** 2 / var_p).sum(-1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_digits_lost_in_numpy_are_told_from_wrong_maths(dtype: torch.dtype) -> None:
    """Nothing is rounded at random inside: the arguments are moved, and the other precision is asked."""
    near = normals("variance", reach=20)
    found = {
        e.claim.rsplit(".", 1)[-1]: e
        for e in check_divergence(from_arrays(_numpy_kl), near, dtype=dtype, settings=QUICK)
    }
    assert found["equals_the_definition"].status is Status.INACCURATE
    with pytest.raises(Refuted) as error:
        check_divergence(from_arrays(_doubled), near, dtype=dtype, settings=QUICK)
    refuted = {e.claim.rsplit(".", 1)[-1] for e in error.value.evidence if e.status is Status.REFUTED}
    assert "equals_the_definition" in refuted


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_a_flow_that_cancels_in_numpy(dtype: torch.dtype) -> None:
    def flow(off: float) -> Bijection:
        return from_arrays(  # type: ignore[no-any-return]
            Bijection(
                lambda x: np.exp(x) - 1,
                lambda y: np.log(1 + y) * (1 + off),
                lambda x: x.copy(),
                domain=Interval(-3.0, 3.0, 3.0),
                codomain=Interval(-0.9, 10.0),
            )
        )

    found = check_bijection(flow(0.0), dtype=dtype, settings=Settings(examples=60))
    assert Status.INACCURATE in {e.status for e in found}
    with pytest.raises(Refuted):
        check_bijection(flow(1e-3), dtype=dtype, settings=Settings(examples=60))


def test_a_sampler_in_numpy_gets_a_generator() -> None:
    def cdf(x: Any) -> Any:
        return 1 - np.exp(-np.clip(x, 0, None))

    def exponential(scale: float) -> Sampler:
        draw: Callable[..., Any] = lambda n, rng: rng.exponential(scale, n)  # noqa: E731
        return from_arrays(Sampler(draw, cdf))  # type: ignore[no-any-return]

    check_sampler(exponential(1.0))
    with pytest.raises(Refuted):
        check_sampler(exponential(1.05))


def test_a_smooth_maximum_in_jax() -> None:
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    smooth = from_arrays(lambda x, beta: jax.nn.logsumexp(beta * x, -1) / beta, "jax")
    check_smooth_max(smooth, settings=QUICK)


def test_the_command_line_judges_arrays(tmp_path: Path) -> None:
    file = tmp_path / "losses.py"
    file.write_text("import numpy as np\ndef lse(x, beta):\n    return np.log(np.exp(beta * x).sum(-1)) / beta\n")
    result = CliRunner().invoke(
        main, ["verify", "--as", "smooth_max", f"{file}:lse", "--arrays", "numpy", "--examples", "30"]
    )
    assert result.exit_code == 1
    assert "it holds once the maximum is subtracted" in result.stdout
    assert f"load('smooth_max', '{file}:lse', 'numpy')" in result.stdout
    assert CliRunner().invoke(main, ["verify", "--arrays", "numpy"]).exit_code != 0


def test_values_travel_unchanged() -> None:
    seen: list[Any] = []

    def function(x: Any, more: Any, n: int) -> Any:
        seen.append((x, more, n))
        return x * 2, math.pi

    x = torch.tensor([1.0, -0.0, math.nan, math.inf])
    doubled, number = from_arrays(function)(x, [x, {"x": x}], 3)
    assert isinstance(seen[0][1][1]["x"], np.ndarray)
    assert seen[0][2] == 3
    assert doubled.dtype == torch.float32
    assert torch.equal(doubled.nan_to_num(7.0), (2 * x).nan_to_num(7.0))
    assert number == math.pi
    leaf = torch.ones(2, requires_grad=True)
    with pytest.raises(NotImplementedError, match="no gradient by autograd"):
        from_arrays(np.sum)(leaf).backward()


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match='library must be "numpy" or "jax", got \'torch\''):
        from_arrays(np.exp, "torch")
    with pytest.raises(TypeError, match="subject must be a function or a record of functions, got int"):
        from_arrays(3)
    with pytest.raises(TypeError, match="got type"):
        from_arrays(Bijection)
