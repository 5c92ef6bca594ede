"""Windows of images, filled and summed, and of signals, multiplied by filters; for arguments that were checked.

Images are worked on a block of rows at a time: what was just written or summed is still in the cache for the next step.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn.functional import pad

_BLOCK = 2**18


def _rows_at_once(small: Tensor, r: int) -> int:
    width = small.shape[-1]
    return max(1, _BLOCK // (r * r * width)) if small.device.type == "cpu" else small.numel() // width


def repeated(x: Tensor, r: int, divisor: int = 1) -> Tensor:
    r"""Upsampling $U x$ over a divisor: each pixel is written $r^2$ times, into one output.

    The first of r equal rows takes its pixels at stride r; the others are copies of whole rows.
    """
    *batch, h, w = x.shape
    if torch.compiler.is_compiling():
        spread = x[..., :, None, :, None].expand(*batch, h, r, w, r).reshape(*batch, r * h, r * w)
        return spread / divisor if divisor != 1 else spread
    y = x.new_empty(*batch, r * h, r * w)
    at_once = _rows_at_once(x, r)
    rows_and_windows = (torch.split(t, at_once) for t in (x.reshape(-1, w), y.view(-1, r, r * w)))
    for rows, windows in zip(*rows_and_windows, strict=True):
        pixels = rows / divisor if divisor != 1 else rows
        for b in range(r):
            windows[:, 0, b::r] = pixels
        windows[:, 1:] = windows[:, :1]
    return y


def summed(y: Tensor, r: int) -> Tensor:
    r"""Its adjoint $U^* y$, the sums over windows."""
    *batch, h, w = y.shape
    if r == 1:
        return y.clone()
    if torch.compiler.is_compiling():
        rows = functools.reduce(torch.add, (y[..., a::r, :] for a in range(r)))
        return functools.reduce(torch.add, (rows[..., b::r] for b in range(r)))
    x = y.new_empty(*batch, h // r, w // r)
    at_once = _rows_at_once(x, r)
    windows_and_pixels = (torch.split(t, at_once) for t in (y.reshape(-1, r, w), x.view(-1, w // r)))
    for windows, pixels in zip(*windows_and_pixels, strict=True):
        # Rows first: those are contiguous, and what is left for the strided sums is smaller by r.
        row = windows[:, 0] + windows[:, 1]
        for a in range(2, r):
            row += windows[:, a]
        torch.add(row[:, 0::r], row[:, 1::r], out=pixels)
        for b in range(2, r):
            pixels += row[:, b::r]
    return x


def products_of_windows(y: Tensor, w: Tensor) -> Tensor:
    r"""The correlation $A_w y$: overlapping windows of the signal, a strided view, times the filter."""
    windows = y.unfold(-1, w.shape[-1], 1)
    return windows @ w if y.ndim == 1 else (windows @ w.unsqueeze(-1)).squeeze(-1)


def adjoint_of_products(v: Tensor, w: Tensor) -> Tensor:
    r"""Its adjoint $A_w^\top v$: the correlation of v between zeros with the filter reversed."""
    margin = w.shape[-1] - 1
    return products_of_windows(pad(v, (margin, margin)), w.flip(-1))
