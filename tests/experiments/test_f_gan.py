"""Many critics side by side, and the objectives of f-GAN and Wasserstein GAN on critics written by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mathcheck.divergence.variational_f_divergence import VariationalForm, kl, squared_hellinger, variational_bound
from mathcheck.divergence.wasserstein import penalised_optimum
from mathcheck.engine.residual import close
from mathcheck.experiments.f_gan import draw
from mathcheck.models.f_gan import Critics, divergence_bound
from mathcheck.models.wgan import penalised_gap

COUNT, SIZES = 3, [2, 8, 8]


def some_critics() -> Critics:
    torch.manual_seed(0)
    return Critics(COUNT, SIZES).double()


def points(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(*slopes: tuple[float, float]) -> Critics:
    """h(x) = slope . x, one for each slope."""
    critics = Critics(len(slopes), [2]).double()
    with torch.no_grad():
        critics.weights[0].copy_(torch.tensor(slopes)[:, :, None])
        critics.biases[0].zero_()
    return critics


def alone(critics: Critics, i: int) -> Critics:
    one = Critics(1, SIZES).double()
    one.load_state_dict({name: value[i : i + 1] for name, value in critics.state_dict().items()})
    return one


def test_a_critic_among_others_says_what_it_says_alone() -> None:
    critics, x = some_critics(), points(1, COUNT, 5, 2)
    # The same network with absolute values bounds every partial sum; each of the two ways rounds 3 + 9 + 9 + 2 times.
    bound = some_critics()
    with torch.no_grad():
        for weight in bound.parameters():
            weight.abs_()
    scale = bound(x.abs()).detach()
    for i in range(COUNT):
        got = critics(x)[i].detach()
        residual = close(got, alone(critics, i)(x[i])[0].detach(), ulps=46, scale=scale[i])
        assert residual.ratio <= 1, residual
        assert close(got, alone(critics, (i + 1) % COUNT)(x[i])[0].detach(), ulps=46, scale=scale[i]).ratio > 1


def test_the_sum_of_objectives_moves_every_critic_by_its_own_alone() -> None:
    critics, x, y = some_critics(), points(1, COUNT, 6, 2), points(2, COUNT, 6, 2)
    for values in (
        divergence_bound(squared_hellinger, critics(x), critics(y)),
        penalised_gap(critics, x, y, 9 * points(3, COUNT, 6, 2), 1.0),
    ):
        for i in range(COUNT):
            gradients = torch.autograd.grad(values[i], list(critics.parameters()), retain_graph=True, allow_unused=True)
            moved = [
                float(torch.cat([g[j].flatten() for g in gradients if g is not None]).norm()) for j in range(COUNT)
            ]
            assert moved[i] > 0
            assert all(moved[j] == 0 for j in range(COUNT) if j != i)


def test_the_same_points_may_be_put_before_all_critics() -> None:
    critics, x, y, u = some_critics(), points(1, 6, 2), points(2, 4, 2), 9 * points(3, 5, 2)
    for function in (critics, lambda x: penalised_gap(critics, x, y, u, 1.0)):
        assert torch.equal(function(x), function(x.expand(COUNT, 6, 2)))
    repeated = penalised_gap(critics, x, y, u.expand(COUNT, 5, 2), 1.0)
    assert torch.equal(penalised_gap(critics, x, y, u, 1.0), repeated)


@pytest.mark.parametrize("form", [kl, squared_hellinger], ids=["kl", "squared_hellinger"])
def test_the_bound_is_the_variational_one_with_the_weights_of_samples(form: VariationalForm) -> None:
    n, m = 5, 3
    of_p, of_q = points(1, n), points(2, m)
    v = torch.cat([of_p, of_q])
    p = torch.tensor([1 / n] * n + [0.0] * m, dtype=torch.float64)
    q = torch.tensor([0.0] * n + [1 / m] * m, dtype=torch.float64)
    # Sums of at most n + m terms, each a product of two roundings, in two ways.
    scale = (p * form.activation(v).abs() + q * form.penalty(v).abs()).sum()
    residual = close(divergence_bound(form, of_p, of_q), variational_bound(form, v, p, q), ulps=n + m + 4, scale=scale)
    assert residual.ratio <= 1, residual
    assert (
        close(divergence_bound(form, of_q, of_p), variational_bound(form, v, p, q), ulps=n + m + 4, scale=scale).ratio
        > 1
    )


def test_the_penalised_gap_of_linear_critics_is_that_by_hand() -> None:
    # Slopes of norms 5 and 1/2; whole numbers and halves, so that nothing is rounded.
    critics = linear((-3.0, 4.0), (0.5, 0.0))
    x, y = torch.tensor([[[1.0, 2.0], [3.0, 0.0]]] * 2).double(), torch.tensor([[[0.0, 1.0], [2.0, 1.0]]] * 2).double()
    by_hand = [((5 - 9) / 2) - ((4 - 2) / 2) - 2 * (5 - 1) ** 2, (0.5 + 1.5) / 2 - (0 + 1) / 2]
    assert penalised_gap(critics, x, y, x, 2.0).tolist() == by_hand


def test_the_slope_of_the_penalised_optimum_reaches_it_and_no_other_does() -> None:
    d, weight = 2.0, 1.0
    best = 1 + d / (2 * weight)
    x, y = torch.zeros(1, 2).double(), torch.tensor([[d, 0.0]]).double()
    reached = penalised_gap(linear((-best, 0.0), (-best - 0.5, 0.0), (-best + 0.5, 0.0), (-1.0, 0.0)), x, y, x, weight)
    optimum = float(penalised_optimum(torch.tensor(d), torch.tensor(weight)))
    assert reached.tolist() == [optimum, optimum - weight / 4, optimum - weight / 4, d]


def test_points_are_on_the_segments_and_between_them() -> None:
    theta = torch.tensor([-1.0, 0.0, 0.5])
    x, y, between = draw(theta, 1000, torch.Generator().manual_seed(0))
    assert x.shape == y.shape == between.shape == (3, 1000, 2)
    assert not bool(x[..., 0].any())
    assert torch.equal(y[..., 0], theta[:, None].expand(3, 1000))
    share = between[..., 0] / theta[:, None].where(theta[:, None] != 0, torch.tensor(1.0))
    assert bool(((share >= 0) & (share <= 1)).all())
    assert not bool(share[1].any())
    heights = torch.stack([x, y, between])[..., 1]
    assert bool(((heights >= 0) & (heights < 1)).all())
    assert len(heights[:, 2].unique()) > 2900, "the heights of the two segments are drawn apart"


def test_bad_input_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="count"):
        Critics(0, [2])
    with pytest.raises(ValueError, match=r"sizes must be .* got \[2, 0\]"):
        Critics(1, [2, 0])
    with pytest.raises(ValueError, match="of_q must have the batch shape"):
        divergence_bound(kl, torch.zeros(2, 3), torch.zeros(3))
    with pytest.raises(TypeError, match="form"):
        divergence_bound("kl", torch.zeros(3), torch.zeros(3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="y"):
        penalised_gap(
            linear((1.0, 0.0)), torch.zeros(1, 2).double(), torch.zeros(1, 2), torch.zeros(1, 2).double(), 1.0
        )
