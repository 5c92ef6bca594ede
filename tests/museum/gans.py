"""Slips of adversarial objectives: variational f-divergences and gradient penalties."""

from __future__ import annotations

import functools
from dataclasses import replace

import torch
from torch import Tensor

from mathcheck import check
from mathcheck.divergence.variational_f_divergence import check_variational_form, reverse_kl, total_variation
from mathcheck.divergence.wasserstein import every_point_has_one_norm
from museum.exhibit import Exhibit

# As in the tables: f*(t) for t in its domain, which the output activation maps the critic into.
REVERSE_KL = replace(reverse_kl, activation=lambda v: -torch.exp(-v), penalty=lambda v: v - 1)
REVERSE_KL_BARE = replace(reverse_kl, activation=lambda v: v, penalty=lambda v: -1 - torch.log(-v))
TOTAL_VARIATION = replace(total_variation, activation=lambda v: 0.5 * v.tanh(), penalty=lambda v: 0.5 * v.tanh())
TOTAL_VARIATION_BARE = replace(total_variation, activation=lambda v: v, penalty=lambda v: v)

check_penalty = functools.partial(check, claims=[every_point_has_one_norm])


def penalty(norm: Tensor) -> Tensor:
    return torch.relu(norm - 1).square().mean()


def per_image(gradient: Tensor) -> Tensor:
    return penalty(gradient.view(gradient.shape[0], -1).norm(2, dim=1))


# A plain function is called with the gradients of the critic, (batch, channels, height, width).
EXHIBITS = [
    Exhibit(
        "an f-GAN without the output activation",
        check_variational_form,
        REVERSE_KL_BARE,
        REVERSE_KL,
        named="the output activation is applied",
    ),
    Exhibit(
        "a total variation without the output activation",
        check_variational_form,
        TOTAL_VARIATION_BARE,
        TOTAL_VARIATION,
        named="the output activation is applied",
    ),
    Exhibit(
        "a gradient penalty with the norm over the batch",
        check_penalty,
        lambda dtype: lambda gradient: penalty(gradient.norm(2, dim=0)),
        lambda dtype: per_image,
        named="the norm is taken over the batch",
    ),
    Exhibit(
        "a gradient penalty with the norm over the pixels of one channel",
        check_penalty,
        lambda dtype: lambda gradient: penalty(gradient.norm(2, dim=(2, 3))),
        lambda dtype: per_image,
        named="the norm is taken over those of each",
    ),
    Exhibit(
        "a gradient penalty with the norm over the channels of one pixel",
        check_penalty,
        lambda dtype: lambda gradient: penalty(gradient.norm(2, dim=1)),
        lambda dtype: per_image,
        named="the norm is taken over the channels of each pixel",
    ),
]
