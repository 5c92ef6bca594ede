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
    """JAX, which takes every core there is unless it is told before it starts."""
    flags, one = os.environ.get("XLA_FLAGS", ""), "--xla_cpu_multi_thread_eigen=false"
    if torch.get_num_threads() == 1 and one not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {one}"
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
