from __future__ import annotations

import random

import pytest
import torch

from mathcheck.engine.claim import Settings


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--vary-seed", action="store_true", help="search with a fresh seed instead of 0")


def pytest_configure(config: pytest.Config) -> None:
    # The tensors are small: more threads only wait for each other.
    torch.set_num_threads(1)
    config.stash[_SEED] = random.SystemRandom().randrange(2**31) if config.getoption("--vary-seed") else 0


def pytest_report_header(config: pytest.Config) -> str:
    return f"mathcheck seed: {config.stash[_SEED]}"


_SEED = pytest.StashKey[int]()


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    return request.config.stash[_SEED]


@pytest.fixture
def settings(seed: int) -> Settings:
    """Few draws, but enough to refute the mutants of every reference."""
    return Settings(seed=seed, budget=0.3)
