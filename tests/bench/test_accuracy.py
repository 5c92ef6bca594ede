"""The table of worst errors: ours stay within a few roundings, the textbook's do not, and the table can tell."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch

from mathcheck.bench.accuracy import DTYPES, FUNCTIONS, Row, markdown, table, ulps
from mathcheck.bench.kernel import OURS, PLAIN

F32, F64 = torch.float32, torch.float64
# Claims grant as many, times the condition number or the size of the terms.
ROUNDINGS = 16
ILL_CONDITIONED = {("kl_full", "far apart, ill-conditioned")}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return table()


def _of(rows: list[Row], contender: str) -> list[Row]:
    return [row for row in rows if row.contender == contender]


def test_ours_is_within_a_few_roundings_in_every_case(rows: list[Row]) -> None:
    ours = _of(rows, OURS)
    assert len(ours) == len(DTYPES) * sum(len(kernel.lattices) for kernel in FUNCTIONS)
    kernels = {kernel.name: kernel for kernel in FUNCTIONS}
    for row in ours:
        ill = (row.kernel, row.case) in ILL_CONDITIONED
        condition = kernels[row.kernel].condition(row.at.inputs) if ill else 1.0
        assert row.ulps <= ROUNDINGS * condition, row
        assert not row.negative, row


def test_the_textbook_is_not(rows: list[Row]) -> None:
    plain = [row for row in _of(rows, PLAIN) if row.case in ("nearly equal", "weights close to 1", "saturated logits")]
    assert len(plain) == len(DTYPES) * 5
    for row in plain:
        assert row.ulps > 1e3 * ROUNDINGS, row
    assert any(row.negative for row in plain)
    assert any(math.isinf(row.ulps) for row in plain)


@pytest.mark.parametrize(("dtype", "eps"), [(F32, 2.0**-23), (F64, 2.0**-52)])
def test_ulps_count_the_numbers_between(dtype: torch.dtype, eps: float) -> None:
    assert ulps(1 + 3 * eps, mpmath.mpf(1), dtype) == 3
    assert ulps(-(8 + 8 * eps), mpmath.mpf(-8), dtype) == 1
    assert ulps(math.nan, mpmath.mpf(1), dtype) == math.inf
    assert ulps(math.inf, mpmath.mpf(1), dtype) == math.inf


def test_the_condition_number_is_that_of_the_formula() -> None:
    r"""$\log\frac1n\sum e^{x_i}$ of one number is that number: condition 1; the smooth maximum of (1, 1) by hand."""
    kernels = {kernel.name: kernel for kernel in FUNCTIONS}
    one = torch.tensor([3.0], dtype=F64)
    assert kernels["log_mean_exp"].condition((one,)) == pytest.approx(1.0, rel=4 * torch.finfo(F64).eps)
    # v = 1 + log(2) / beta, of which beta dv/dbeta = -log(2) / beta; the slopes in x sum to 1.
    value = 1 + math.log(2) / 4
    expected = (1 + math.log(2) / 4) / value
    both = kernels["smooth_max"].condition((torch.ones(2, dtype=F64), 4.0))
    assert both == pytest.approx(expected, rel=4 * torch.finfo(F64).eps)


def test_every_point_is_held_by_its_dtype() -> None:
    for kernel in FUNCTIONS:
        for case, lattice in kernel.lattices.items():
            for dtype in DTYPES:
                for inputs in lattice(dtype).values():
                    assert all(t.dtype == dtype and bool(t.isfinite().all()) for t in inputs if torch.is_tensor(t))
                assert sum(1 for _ in kernel.points(case, dtype)) >= 6


def test_unknown_names_are_told() -> None:
    with pytest.raises(ValueError, match="names must be among kl_diagonal"):
        table(["kl"])


def test_markdown_has_a_line_for_each_contender(rows: list[Row]) -> None:
    lines = markdown(rows).splitlines()
    assert len(lines) == 2 + len(rows) // len(DTYPES)
    assert all(line.count("|") - line.count(r"\|") == lines[0].count("|") for line in lines)
    assert any("not finite" in line for line in lines)
    assert any("negative" in line for line in lines)
