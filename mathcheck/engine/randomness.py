"""Torch's global random numbers."""

from __future__ import annotations

import torch


def seed_global(seed: int) -> None:
    """Seeds torch's global generators, as `torch.manual_seed` does, without its price where the only device is the CPU.

    That one keeps a note, with a formatted stack, for each kind of device that has not been started yet: 3 ms a call.
    """
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
