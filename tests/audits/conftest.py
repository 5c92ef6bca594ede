"""What every audit starts from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from torch.distributions import Distribution

from mathcheck.engine.claim import overriding


@pytest.fixture(autouse=True)
def few_draws() -> Iterator[None]:
    """Enough for what is judged here; by default laws that draw at random draw until they have worked for two seconds."""
    with overriding(budget=0.2):
        yield


@pytest.fixture(autouse=True)
def validation() -> Iterator[None]:
    """Torch's distributions validate their arguments, as they do at the start of a process: torch.compile ends that for good."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(__debug__)
    yield
    Distribution._validate_args = before
