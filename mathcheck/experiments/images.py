"""Images on their way through an experiment: batches to train on, and sheets to look at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def batches(images: Tensor, size: int, updates: int, generator: torch.Generator) -> Iterator[Tensor]:
    """`updates` batches of at most `size` rows, in passes over all of them, each in an order of its own.

    Args:
        images: `(n, pixels)`.
        size: of a batch; the last one of a pass holds what is left.
        updates: how many batches.
        generator: on the CPU, that shuffles.
    """
    left: list[Tensor] = []
    for _ in range(updates):
        if not left:
            order = torch.randperm(len(images), generator=generator).to(images.device)
            left = list(torch.split(order, size))
        yield images.index_select(0, left.pop(0))


def sheet(images: Tensor, columns: int, gap: int = 1) -> NDArray[np.float32]:
    """Square images side by side, row after row, with white lines between them.

    Args:
        images: `(n, side * side)`, grey values in [0, 1] with 1 for ink.
        columns: how many in a row.
        gap: width of the lines, in pixels.

    Returns:
        `(height, width)`, to be drawn with the colour map "gray_r".
    """
    side = round(images.shape[1] ** 0.5)
    rows = -(-len(images) // columns)
    page = torch.zeros(rows, columns, side + gap, side + gap)
    page.flatten(0, 1)[: len(images), :side, :side] = images.detach().cpu().reshape(-1, side, side)
    height, width = rows * (side + gap), columns * (side + gap)
    return np.asarray(page.transpose(1, 2).reshape(height, width)[: height - gap, : width - gap].numpy())
