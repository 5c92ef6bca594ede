"""What a step draws: whether two runs of it take the same random numbers in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Consumption(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, notes the name and size of every random draw of torch in `draws`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.draws: list[tuple[str, int]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs one operation, and notes it if it draws."""
        result = func(*args, **(kwargs or {}))
        if torch.Tag.nondeterministic_seeded in func.tags:
            size = sum(leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
            self.draws.append((func.overloadpacket.__name__, size))
        return result

    def fixed(self, other: Consumption, chains: int) -> bool:
        """Whether both runs drew alike, so that every chain got the same numbers.

        Fewer draws than chains are seeds of generators that cannot be looked into: what those give is not known.
        """
        total = sum(size for _, size in self.draws)
        return self.draws == other.draws and not 0 < total < chains
