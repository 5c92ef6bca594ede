from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Ratios on one thread mean the same on every machine."""
    torch.set_num_threads(1)
