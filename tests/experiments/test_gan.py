"""The paths, sheets, neighbours and matchings that the experiment with a generator of digits is made of."""

from __future__ import annotations

import pytest
import torch

from mathcheck.divergence.wasserstein import wasserstein_samples
from mathcheck.engine.residual import close
from mathcheck.experiments.gan import ALPHA, MOVED, matching, nearest
from mathcheck.models.wgan import Generator, Wgan, between, spherical_path, straight_path

FIRST, SECOND = torch.eye(2, dtype=torch.float64)
EPS = torch.finfo(torch.float64).eps


def test_eleven_images_and_eleven_steps() -> None:
    assert list(MOVED) == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert len(ALPHA) == 11
    assert (float(ALPHA[0]), float(ALPHA[-1])) == (0.0, 1.0)


def test_a_spherical_path_keeps_the_law_of_the_noise_and_a_straight_one_does_not() -> None:
    """A path that weights two independent standard normals by (a, b) is one itself exactly if a^2 + b^2 = 1."""
    alpha = torch.linspace(0, 1, 11, dtype=torch.float64)
    # A cosine and a sine within one rounding each, two squares and a sum.
    spherical = spherical_path(FIRST, SECOND, alpha).square().sum(-1)
    assert close(spherical, torch.ones_like(alpha), ulps=4).ratio <= 1
    straight = straight_path(FIRST, SECOND, alpha).square().sum(-1)
    assert float(straight[5]) == 0.5
    assert close(straight, torch.ones_like(alpha), ulps=4).ratio > 1


@pytest.mark.parametrize("path", [straight_path, spherical_path], ids=["straight", "spherical"])
def test_paths_begin_and_end_at_their_ends(path: object) -> None:
    assert callable(path)
    start, end = torch.randn(2, 7, 1, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = path(start, end, torch.tensor([0.0, 1.0]).double())
    assert found.shape == (7, 2, 5)
    assert torch.equal(found[:, :1], start)
    # cos(pi/2) is not 0 in floats, but below eps.
    assert float((found[:, 1:] - end).abs().max()) <= EPS * float(start.abs().max() + end.abs().max())


def test_points_between_are_on_the_segment_of_their_pair() -> None:
    x, y = torch.zeros(100, 2).double(), torch.tensor([[1.0, -2.0]]).double().expand(100, 2)
    found = between(x, y, torch.Generator().manual_seed(0))
    assert bool(((found[:, 0] > 0) & (found[:, 0] < 1)).all())
    assert torch.equal(found[:, 1], -2 * found[:, 0])
    assert len(found[:, 0].unique()) == 100, "each pair has a share of its own"


def test_the_nearest_image_is_found_across_parts() -> None:
    y = torch.arange(4001, dtype=torch.float64)[:, None]
    values, indices = nearest(y + 0.25, y)
    assert torch.equal(indices, torch.arange(4001))
    assert bool((values == 0.25).all())


def test_the_distance_of_a_near_copy_keeps_its_digits() -> None:
    y = torch.full((1, 784), 0.75)
    x = y.clone()
    x[0, 5] += 2.0**-12
    assert float(nearest(x, y)[0]) == 2.0**-12


def test_the_cheapest_matching_on_a_line_is_the_distance_of_sorted_samples() -> None:
    x, y = torch.randn(2, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    true = wasserstein_samples(x, y)
    # Means of nine distances, each a rounded difference, in two ways.
    assert close(matching(x[:, None], y[:, None]), true, ulps=2 * (9 + 2)).ratio <= 1
    assert float((x - y).abs().mean()) > float(true), "the order of the samples does not count"


def test_images_are_grey_values() -> None:
    torch.manual_seed(0)
    model = Wgan(5, 16, 8)
    made = model(100 * torch.randn(50, 5))
    assert made.shape == (50, 16)
    assert bool(((made >= 0) & (made <= 1)).all())
    assert model.critic(made).shape == (1, 50)


def test_bad_input_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"sizes must be .* got \[3\]"):
        Generator([3])
    with pytest.raises(ValueError, match="width"):
        Wgan(5, 16, 0)
    with pytest.raises(ValueError, match="end"):
        straight_path(torch.zeros(3), torch.zeros(4), torch.zeros(2))
    with pytest.raises(ValueError, match="y"):
        between(torch.zeros(3, 2), torch.zeros(4, 2), torch.Generator())
