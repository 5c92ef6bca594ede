"""Contenders that are compiled by JAX."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from mathcheck.bench.kernel import Call, Contender


def module() -> Any:
    """JAX, which takes every core there is unless it is told how many there are before it starts."""
    os.environ.setdefault("NPROC", str(torch.get_num_threads()))
    return importlib.import_module("jax")


def contender(build: Callable[[Any], Callable[..., Any]]) -> Contender:
    """A function of the kernel's inputs, as `build(jax)` writes it, through `jax.jit`; its results are torch's again."""

    def prepare(*inputs: Any) -> Call:
        jax = module()
        double = any(isinstance(t, Tensor) and t.dtype == torch.float64 for t in inputs)
        with jax.enable_x64(double):
            arrays = [jax.numpy.asarray(t.numpy()) if isinstance(t, Tensor) else t for t in inputs]
        call = jax.jit(build(jax))

        def run() -> Any:
            with jax.enable_x64(double):
                return jax.tree.map(from_dlpack, jax.block_until_ready(call(*arrays)))

        return run

    return Contender(prepare, needs=("jax",), devices=("cpu",))
