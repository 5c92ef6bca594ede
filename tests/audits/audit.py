"""What the audits of the libraries share: a table of subjects, each with the laws that are known to fail, and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from mathcheck.adapters import adapt
from mathcheck.engine.check import check
from mathcheck.engine.claim import Settings, laws, verify
from mathcheck.engine.evidence import Status
from mathcheck.probability.sampler import Sampler

ROUND_TRIP = "inverse_undoes_forward"
TARGET = "every_target_is_reached"
LOG_DET = "log_det_is_that_of_the_jacobian"
INVERSE_LOG_DET = "inverse_log_det_is_the_negative"
ROWS = "rows_are_independent"
SHAPE = "shape_and_dtype_are_those_of_the_point"
MASS = "integrates_to_one"
FINITE = "finite_on_the_support"
OUTSIDE = "minus_infinity_outside_the_support"
CDF, RISES = "cdf_is_the_mass_below", "cdf_rises_from_zero_to_one"
GRADIENT = "gradient_is_that_of_differences"
LOG_DET_FINITE, FOLDS = "finite_on_the_domain", "determinant_keeps_its_sign"
# Their slips show far out or between far points: in a narrow domain or a short search they may be vacuous.
MAY_SEE_NOTHING = (LOG_DET_FINITE, FOLDS)


@dataclass(frozen=True)
class Subject:
    """Something of a library, and which laws are known to fail for it.

    `make` gives a record, or an object that an adapter of `kind` takes; `failures` maps laws to reasons; `change` puts
    other values into the record's fields, such as a domain in which floats can answer; `slow` ones run with `-m slow`.
    """

    make: Callable[[], Any]
    failures: Mapping[str, str] = field(default_factory=dict)
    kind: str = "bijection"
    change: Mapping[str, Any] = field(default_factory=dict)
    slow: bool = False


def params(table: Mapping[str, Subject]) -> Any:
    """The decorator that runs a test for every subject of a table."""
    marks = {True: pytest.mark.slow, False: ()}
    return pytest.mark.parametrize("name", [pytest.param(k, id=k, marks=marks[s.slow]) for k, s in table.items()])


def judge(table: Mapping[str, Subject], name: str, seed: int, examples: int = 4) -> None:
    """Asserts that exactly the known failures fail; what is known to fail is searched until it does."""
    subject = table[name]
    torch.manual_seed(0)
    record = dataclasses.replace(adapt(subject.kind, subject.make()), **subject.change)
    # A statistical law spends its alpha once.
    number = None if isinstance(record, Sampler) else examples
    settings = Settings(number, seed, shrink=False, accuracy="full")
    longer = settings if number is None else Settings(100 * number, seed, shrink=False, accuracy="full")
    dtype = getattr(record, "dtype", None) or torch.float64
    rest = []
    for claim in laws(type(record)):
        law = claim.name.rsplit(".", 1)[-1]
        if law in MAY_SEE_NOTHING:
            evidence = verify(claim, record, settings=settings, dtype=dtype, name=name)
            failed = evidence.status in (Status.REFUTED, Status.ERROR)
            assert failed == (law in subject.failures), str(evidence)
        elif law in subject.failures:
            known = {law: subject.failures[law]}
            check(record, [claim], expected_failures=known, settings=longer, dtype=dtype, name=name)
        else:
            rest.append(claim)
    check(record, rest, settings=settings, dtype=dtype, name=name)


def perturbed(module: Any, scale: float = 0.5, dtype: torch.dtype = torch.float64) -> Any:
    """The module in evaluation mode with noise added to its parameters: the identity hides sign errors."""
    generator = torch.Generator().manual_seed(0)
    assert isinstance(module, nn.Module)
    with torch.no_grad():
        for p in module.to(dtype).parameters():
            p.add_(scale * torch.randn(p.shape, generator=generator, dtype=torch.float64).to(dtype))
    return module.eval()


def noise(seed: int, *shape: int) -> torch.Tensor:
    """Standard normal numbers in double precision."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def double(*values: float) -> torch.Tensor:
    """A number, or a vector of several, in double precision."""
    return torch.tensor(values if len(values) > 1 else values[0], dtype=torch.float64)
