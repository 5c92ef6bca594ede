"""The divergences of `gaussian_kl` and their gradients in closed form, of arguments that were checked."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mathcheck.divergence.kernels.excess import log_excess, of_half_
from mathcheck.linear.kernels.blocks import blocks


class DiagonalDivergence(torch.autograd.Function):
    r"""`kl_diagonal` and its gradient, block by block of rows.

    With $d = \ell_q - \ell_p$ and $w = (\mu_q - \mu_p)\,e^{-\ell_p}$ the gradient is w in $\mu_q$, $-w$ in $\mu_p$,
    $(e^d - 1)/2$ in $\ell_q$ and $-(e^d - 1 + (\mu_q - \mu_p)\,w)/2$ in $\ell_p$.
    """

    @staticmethod
    def forward(ctx: Any, mean_q: Tensor, log_q: Tensor, mean_p: Tensor, log_p: Tensor) -> Tensor:
        ctx.save_for_backward(mean_q, log_q, mean_p, log_p)
        value = mean_q.new_empty(mean_q.shape[:-1])
        for m, lv, a, lw, out in blocks(mean_q, log_q, mean_p, log_p, value):
            # A quarter of the exponent at a time: e^(-l/2) leaves the dtype's range earlier than the divergence does.
            root = torch.mul(lw, -0.25).exp_()
            shift = torch.sub(m, a).mul_(root).mul_(root)
            excess = of_half_(torch.sub(lv, lw).mul_(0.5))
            torch.sum(excess.addcmul_(shift, shift, value=0.5), -1, out=out)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        inputs = ctx.saved_tensors
        gradients = tuple(inputs[0].new_empty(inputs[0].shape) for _ in inputs)
        for m, lv, a, lw, g, m_out, lv_out, a_out, lw_out in blocks(*inputs, grad, *gradients):
            half = g.unsqueeze(-1) / 2
            root = torch.mul(lw, -0.25).exp_()
            shift = torch.sub(m, a).mul_(root).mul_(root)
            torch.sub(lv, lw, out=lv_out).expm1_()
            torch.addcmul(lv_out, shift, shift, out=lw_out).mul_(-half)
            lv_out.mul_(half)
            torch.mul(shift, root, out=m_out).mul_(root).mul_(g.unsqueeze(-1))
            torch.neg(m_out, out=a_out)
        return gradients


def _factorised(mean_q: Tensor, lower_q: Tensor, mean_p: Tensor, lower_p: Tensor) -> tuple[Tensor, ...]:
    r"""The divergence, and with $M = L_p^{-1}L_q = I + N$: N, the diagonal of M, and $z = L_p^{-1}(\mu_q - \mu_p)$."""
    *batch, size = mean_q.shape
    value, m_diagonal = mean_q.new_empty(batch), mean_q.new_empty(*batch, size)
    # Rows of the transposed of N, and z: solved from the right, which takes two thirds of the time.
    solved = mean_q.new_empty(*batch, size + 1, size)
    parts = blocks(lower_q, lower_p, mean_q, mean_p, value, m_diagonal, solved, event=2)
    for left_q, left_p, m, a, out, diagonal, rows in parts:
        left_q, left_p = left_q.tril(), left_p.tril()
        widths = left_p.diagonal(dim1=-2, dim2=-1)
        # Near each other N is solved for, since I + N would swallow it; far apart M, since its small entries drown in N.
        far = ((left_q - left_p).abs_().amax(-1) > widths / 2).any(-1, keepdim=True).to(m.dtype)
        torch.addcmul(left_q.mT, far.unsqueeze(-1) - 1, left_p.mT, out=rows[..., :-1, :])
        torch.sub(m, a, out=rows[..., -1, :])
        rows.copy_(torch.linalg.solve_triangular(left_p.mT, rows, upper=True, left=False))
        n_diagonal = rows.diagonal(dim1=-2, dim2=-1)
        torch.add(n_diagonal, 1 - far, out=diagonal)
        n_diagonal.sub_(far)
        # Halved before it is squared: the sum of squares may overflow where its half does not.
        torch.sum(torch.mul(rows, 0.5).mul_(rows), (-2, -1), out=out)
    n, z = solved[..., :-1, :].mT, solved[..., -1, :]
    return value + log_excess(n.diagonal(dim1=-2, dim2=-1), m_diagonal).sum(-1), n, m_diagonal, z


def _excess_of_square(n: Tensor, m_diagonal: Tensor) -> Tensor:
    r"""$MM^\top - I$ for a triangular $M = I + N$."""
    n_diagonal = n.diagonal(dim1=-2, dim2=-1)
    m = n.clone()
    m.diagonal(dim1=-2, dim2=-1).copy_(m_diagonal)
    e = m @ m.mT
    # The diagonal from N: its entries are of the size of N where those of M M^T are close to 1.
    squares = (n - torch.diag_embed(n_diagonal)).square_().sum(-1)
    e.diagonal(dim1=-2, dim2=-1).copy_(n_diagonal * (m_diagonal + 1) + squares)
    return e


def _solved_back(lower: Tensor, right: Tensor) -> Tensor:
    r"""$L^{-\top}B$, solved from the right, which takes a third of the time."""
    solved: Tensor = torch.linalg.solve_triangular(lower, right.mT, upper=False, left=False)
    return solved.mT


def _solved_around(lower: Tensor, middle: Tensor) -> Tensor:
    r"""$L^{-\top}SL^{-1}$."""
    return _solved_back(lower, torch.linalg.solve_triangular(lower, middle, upper=False, left=False))


class CholeskyDivergence(torch.autograd.Function):
    r"""`kl_cholesky` with its gradient in closed form, which keeps its accuracy where that through a solve cancels.

    With M, N and z of `_factorised` and $E = MM^\top - I$ the gradient is $L_p^{-\top}z$ in $\mu_q$,
    $\mathrm{tril}(L_p^{-\top}N) + \mathrm{diag}(N_{ii}/L_{q,ii})$ in $L_q$ and $-\mathrm{tril}(L_p^{-\top}(E +
    zz^\top))$ in $L_p$.
    """

    @staticmethod
    def forward(ctx: Any, mean_q: Tensor, lower_q: Tensor, mean_p: Tensor, lower_p: Tensor) -> Tensor:
        value, *rest = _factorised(mean_q, lower_q, mean_p, lower_p)
        ctx.save_for_backward(*rest, lower_q, lower_p)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        saved = ctx.saved_tensors
        of_mean, of_q, of_p = outs = tuple(t.new_empty(t.shape) for t in saved[2:])
        for n, m_diagonal, z, lower_q, lower_p, g, mean_out, q_out, p_out in blocks(*saved, grad, *outs, event=2):
            e = _excess_of_square(n, m_diagonal).addcmul_(z.unsqueeze(-1), z.unsqueeze(-2))
            torch.mul(_solved_back(lower_p, n), g[..., None, None], out=q_out).tril_()
            of_logs = n.diagonal(dim1=-2, dim2=-1) / lower_q.diagonal(dim1=-2, dim2=-1)
            q_out.diagonal(dim1=-2, dim2=-1).addcmul_(of_logs, g.unsqueeze(-1))
            torch.mul(_solved_back(lower_p, e), -g[..., None, None], out=p_out).tril_()
            torch.mul(_solved_back(lower_p, z.unsqueeze(-1)).squeeze(-1), g.unsqueeze(-1), out=mean_out)
        return of_mean, of_q, -of_mean, of_p


class FullDivergence(torch.autograd.Function):
    r"""`kl_full` of covariances with known Cholesky factors, and its gradient in closed form.

    With M, N and z of `_factorised` the gradient is $L_p^{-\top}z$ in $\mu_q$, $\tfrac12 L_q^{-\top}(M^\top M - I)
    L_q^{-1}$ in $\Sigma_q$ and $-\tfrac12 L_p^{-\top}(MM^\top - I + zz^\top)L_p^{-1}$ in $\Sigma_p$.
    """

    @staticmethod
    def forward(
        ctx: Any, mean_q: Tensor, covariance_q: Tensor, mean_p: Tensor, covariance_p: Tensor, *factors: Tensor
    ) -> Tensor:
        lower_q, lower_p = factors
        value, *rest = _factorised(mean_q, lower_q, mean_p, lower_p)
        ctx.save_for_backward(*rest, lower_q, lower_p)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        of_mean, of_q, of_p = outs = tuple(t.new_empty(t.shape) for t in saved[2:])
        for n, m_diagonal, z, lower_q, lower_p, g, mean_out, q_out, p_out in blocks(*saved, grad, *outs, event=2):
            half = g[..., None, None] / 2
            torch.mul(_solved_around(lower_q, _excess_of_square(n.mT, m_diagonal)), half, out=q_out)
            e = _excess_of_square(n, m_diagonal).addcmul_(z.unsqueeze(-1), z.unsqueeze(-2))
            torch.mul(_solved_around(lower_p, e), -half, out=p_out)
            torch.mul(_solved_back(lower_p, z.unsqueeze(-1)).squeeze(-1), g.unsqueeze(-1), out=mean_out)
        return of_mean, of_q, -of_mean, of_p, None, None
