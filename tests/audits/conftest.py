"""What every audit starts from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from torch.distributions import Distribution


@pytest.fixture(autouse=True)
def validation() -> Iterator[None]:
    """Torch's distributions validate their arguments, as they do at the start of a process: torch.compile ends that for good."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(__debug__)
    yield
    Distribution._validate_args = before
