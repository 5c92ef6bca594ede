from __future__ import annotations

from collections.abc import Iterator

import pytest

from mathcheck.engine.claim import overriding


@pytest.fixture(autouse=True)
def few_draws() -> Iterator[None]:
    """Enough for what is judged here; by default laws that draw at random draw until they have worked for two seconds."""
    with overriding(budget=0.2):
        yield
