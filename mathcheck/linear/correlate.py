r"""Correlation of signals with filters, and its adjoint, as products with overlapping windows of the signal."""

from __future__ import annotations

from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.linear.kernels.windows import adjoint_of_products, products_of_windows


def _checked(y: Tensor, w: Tensor, names: tuple[str, str], shortest: int) -> None:
    arguments.vectors(**dict(zip(names, (y, w), strict=True)))
    if w.ndim > 1 and w.shape[:-1] != y.shape[:-1]:
        expected = f"(f,) or {(*y.shape[:-1], 'f')}"
        raise ValueError(f"{names[1]} must have shape {expected}, got {tuple(w.shape)}")
    if y.shape[-1] < shortest:
        raise ValueError(f"{names[0]} must have at least {shortest} entries as {names[1]}, got {tuple(y.shape)}")


def correlate(y: Tensor, w: Tensor) -> Tensor:
    r"""$(A_w y)_i = \sum_{k=1}^f w_k\, y_{i+k-1}$ for $i = 1, \dots, n - f + 1$: what is called convolution in learning.

    One product of the overlapping windows of y, a strided view, with w; in true convolution w would be reversed.

    Args:
        y: signals `(*batch, n)`.
        w: one filter `(f,)` for all, or a filter `(*batch, f)` for each; f at most n.

    Returns:
        `(*batch, n - f + 1)`, differentiable.

    Raises:
        TypeError, ValueError: for arguments of the wrong type, shape, dtype or device.
    """
    _checked(y, w, ("y", "w"), w.shape[-1] if isinstance(w, Tensor) and w.ndim else 1)
    return products_of_windows(y, w)


def correlate_adjoint(v: Tensor, w: Tensor) -> Tensor:
    r"""$(A_w^\top v)_j = \sum_k w_k\, v_{j-k+1}$ with $v_i = 0$ outside $1, \dots, m$: the adjoint of y to `correlate(y, w)`.

    The correlation of v, padded with f - 1 zeros on either side, with the reversed filter.

    Args:
        v: `(*batch, m)`.
        w: one filter `(f,)` for all, or a filter `(*batch, f)` for each.

    Returns:
        `(*batch, m + f - 1)`, differentiable.

    Raises:
        TypeError, ValueError: for arguments of the wrong type, shape, dtype or device.
    """
    _checked(v, w, ("v", "w"), 1)
    return adjoint_of_products(v, w)
