from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import mpmath
import pytest
from findings import Finding, findings, page
from torch.distributions import Distribution

FOUND = findings()


@pytest.fixture(autouse=True)
def validation() -> Iterator[None]:
    """A library that switches off the validation of torch's distributions may not do so for other tests."""
    before = Distribution._validate_args, Distribution.arg_constraints
    yield
    Distribution._validate_args, Distribution.arg_constraints = before


@pytest.mark.parametrize("finding", FOUND, ids=[f"{f.library}-{k}" for k, f in enumerate(FOUND)])
def test_a_finding_still_stands(finding: Finding) -> None:
    pytest.importorskip(finding.library)
    assert finding.stands(), f"{finding.object} says {finding.said()}, the truth is {finding.truth()}"


def test_the_truth_itself_is_no_finding() -> None:
    value = dataclasses.replace(FOUND[0], setup="", value="math.log(2)", true="mp.log(2)")
    assert not value.stands()
    assert not dataclasses.replace(value, true="mp.log(2) * (1 + mp.mpf(2) ** -48)").stands()
    assert dataclasses.replace(value, true="mp.log(2) * (1 + mp.mpf(2) ** -45)").stands()
    assert dataclasses.replace(value, value="float('nan')").stands()
    assert dataclasses.replace(value, value="1 / 0").said() == "ZeroDivisionError"
    assert not dataclasses.replace(value, value="1 / 0", true="'ZeroDivisionError'").stands()


def test_the_page_shows_both_values() -> None:
    for library in {f.library for f in FOUND}:
        pytest.importorskip(library)
    text = page()
    for f in FOUND:
        assert f.object in text
        assert str(f.said()) in text
        assert mpmath.nstr(f.truth(), 17) in text


def test_a_verdict_is_one_of_three() -> None:
    with pytest.raises(ValueError, match="verdict must be one of"):
        dataclasses.replace(FOUND[0], verdict="wrong")
