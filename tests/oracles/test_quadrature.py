from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor

from mathcheck.engine.residual import Kind, Undecided
from mathcheck.oracles.quadrature import cubature, gauss_hermite, integral, normal_expectation

inf = math.inf
EPS = torch.finfo(torch.float64).eps


def normal(mean: float, scale: float) -> Callable[[Any], Any]:
    return lambda x: np.exp(-(((x - mean) / scale) ** 2) / 2) / (math.sqrt(2 * math.pi) * scale)


CLOSED_FORMS = {
    "normal": (normal(0, 1), -inf, inf, (), 1.0),
    "normal far away": (normal(50, 1), -inf, inf, (), 1.0),
    "normal, narrow": (normal(0.3, 1e-3), -inf, inf, (0.25, 0.3, 0.35), 1.0),
    "divergence of normals": (lambda x: normal(0, 1)(x) * ((x - 0.5) ** 2 - x * x) / 2, -inf, inf, (), 0.125),
    "odd": (lambda x: x * np.exp(-x * x / 2), -inf, inf, (), 0.0),
    "odd about 1": (lambda x: (x - 1) * np.exp(-((x - 1) ** 2) / 2), -inf, inf, (), 0.0),
    "kink": (lambda x: abs(x - 0.3), 0, 1, (0.3,), 0.29),
    "jump": (lambda x: (x > 0.3) * 1.0, 0, 1, (0.3,), 0.7),
    "root": (lambda x: x**-0.5, 0, 1, (), 2.0),
    "logarithm": (np.log, 0, 1, (), -1.0),
    "Cauchy": (lambda x: 1 / (math.pi * (1 + x * x)), -inf, inf, (), 1.0),
    "waves": (lambda x: np.sin(50 * x), 0, 3, (), (1 - math.cos(150)) / 50),
    "from minus infinity": (lambda x: np.exp(np.minimum(x, 0)), -inf, 0, (), 1.0),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_integrals_hold_the_closed_form(name: str) -> None:
    f, a, b, points, true = CLOSED_FORMS[name]
    ball = integral(f, a, b, points=points)
    assert ball.kind is Kind.NUMERICAL
    assert true in ball
    # The quadrature aims at eps^(3/4) of the largest piece, twice; another value is refuted.
    assert float(ball.radius) < 1e-10
    assert true + 1e-9 not in ball


def test_integrals_agree_with_mpmath() -> None:
    for k in (0.5, 2.0, 7.5):
        with mpmath.workdps(30):
            true = float(mpmath.gammainc(k, 0.5))
        assert true in integral(lambda x, k=k: x ** (k - 1) * np.exp(-x), 0.5, inf)


DIVERGENT = {
    "1/x at 0": (lambda x: 1 / x, 0, 1),
    "1/x at infinity": (lambda x: 1 / x, 1, inf),
    "principal value": (lambda x: 1 / (x - 0.5), 0, 1),
    "mean of the Cauchy distribution": (lambda x: x / (1 + x * x), -inf, inf),
    "sine": (np.sin, 0, inf),
    "constant": (lambda x: np.ones_like(x), 0, inf),
}
UNCLEAR = {
    "not a number": (lambda x: x * math.nan, 0, 1),
    "kink without its point": (lambda x: abs(x - 0.3), 0, 1),
    "narrow peak": (normal(0.3, 1e-3), -inf, inf),
    "peak between the nodes": (normal(0.3, 1e-6), -inf, inf),
    "slow convergence": (lambda x: x**-0.99, 0, 1),
}


@pytest.mark.parametrize("name", [*DIVERGENT, *UNCLEAR])
def test_divergent_and_unclear_integrals_are_no_silent_numbers(name: str) -> None:
    f, a, b = {**DIVERGENT, **UNCLEAR}[name]
    with pytest.raises(Undecided):
        integral(f, a, b)


def product_normal(mean: float, scale: float = 1.0) -> Callable[[Any], Any]:
    return lambda x: normal(mean, scale)(x).prod(-1)


BOXES = {
    "normal": (product_normal(0.3), [-inf], [inf], 1.0),
    "normal, two dimensions": (product_normal(0.3), [-inf] * 2, [inf] * 2, 1.0),
    "normal, three dimensions": (product_normal(0.0), [-8] * 3, [8] * 3, 1.0),
    "upper orthant": (product_normal(0.0), [0, -inf], [inf, 0], 0.25),
    "exponential on the negative half-line": (lambda x: np.exp(np.minimum(x[:, 0], 0)), [-inf], [0], 1.0),
    "polynomial": (lambda x: x[:, 0] ** 2 * x[:, 1], [0, 0], [1, 2], 2 / 3),
    "cancels": (lambda x: x[:, 0], [-1, -1], [1, 1], 0.0),
    "kink": (lambda x: abs(x[:, 0] - x[:, 1]), [0, 0], [1, 1], 1 / 3),
}


@pytest.mark.parametrize("name", BOXES)
def test_cubature_holds_the_closed_form(name: str) -> None:
    f, lower, upper, true = BOXES[name]
    ball = cubature(f, lower, upper)
    assert true in ball
    assert float(ball.radius) < 4e-8
    assert true + 1e-7 not in ball


@pytest.mark.parametrize(
    ("f", "lower", "upper"),
    [
        (lambda x: 1 / (x[:, 0] - 0.5), [0], [1]),
        (lambda x: 1 / (x[:, 0] - 0.4321), [0], [1]),
        (lambda x: 1 / x[:, 0], [1], [inf]),
        (lambda x: x[:, 0] * math.nan, [0, 0], [1, 1]),
        (product_normal(0.3, 1e-3), [-inf] * 2, [inf] * 2),
        (product_normal(0.3, 1e-6), [-inf] * 2, [inf] * 2),
    ],
)
def test_cubature_does_not_give_silent_numbers(f: Any, lower: list[float], upper: list[float]) -> None:
    with pytest.raises(Undecided):
        cubature(f, lower, upper)


@pytest.mark.parametrize("n", [1, 2, 5, 16, 40])
def test_gauss_hermite_is_exact_to_degree_2n_minus_1(n: int) -> None:
    nodes, weights = gauss_hermite(n)
    assert nodes.shape == (n, 1)
    assert weights.shape == (n,)
    z = nodes[:, 0]
    for degree in range(0, min(2 * n, 60)):
        true = 0.0 if degree % 2 else float(math.prod(range(1, degree, 2)))
        terms = weights * z**degree
        # 5 n eps a weight, degree eps for the power and as much for the node, n eps for the sum.
        allowed = EPS * (6 * n + 2 * degree) * float(terms.abs().sum())
        assert abs(float(terms.sum()) - true) <= allowed, degree
    beyond = math.prod(range(1, 2 * n, 2))
    assert abs(float((weights * z ** (2 * n)).sum()) / beyond - 1) > 1e-13  # degree 2n is not: n!/(2n-1)!! is missing


@pytest.mark.parametrize("n", [5, 40, 128, 256])
def test_gauss_hermite_weights_have_the_stated_relative_error(n: int) -> None:
    nodes, weights = gauss_hermite(n)
    with mpmath.workdps(40):

        def hermite(k: int, x: Any) -> Any:
            return mpmath.hermite(k, x / mpmath.sqrt(2)) / mpmath.sqrt(2) ** k

        for i in range(0, n, max(1, n // 6)):
            x = mpmath.mpf(float(nodes[i]))
            for _ in range(3):
                x -= hermite(n, x) / (n * hermite(n - 1, x))
            true = mpmath.factorial(n) / (n * hermite(n - 1, x)) ** 2
            assert abs(float(weights[i]) / true - 1) <= 5 * n * EPS


def test_gauss_hermite_products_and_dtypes() -> None:
    nodes, weights = gauss_hermite(3, 2, torch.float32)
    assert nodes.shape == (9, 2)
    assert nodes.dtype == weights.dtype == torch.float32
    covariance = (weights[:, None, None] * nodes[:, :, None] * nodes[:, None, :]).sum(0)
    assert float((covariance - torch.eye(2)).abs().max()) <= 9 * torch.finfo(torch.float32).eps * 2


EXPECTATIONS: dict[str, tuple[Callable[[Tensor], Tensor], float, dict[str, Any]]] = {
    "exp": (lambda z: z[:, 0].exp(), math.exp(0.5), {}),
    "exp 3z": (lambda z: (3 * z[:, 0]).exp(), math.exp(4.5), {}),
    "exp, single precision": (lambda z: z[:, 0].exp(), math.exp(0.5), {"dtype": torch.float32}),
    "three dimensions": (lambda z: z.sum(-1).exp(), math.exp(1.5), {"dim": 3, "n": 16}),
    "fast waves": (lambda z: torch.cos(10 * z[:, 0]), math.exp(-50), {}),
    "eighth power": (lambda z: z[:, 0] ** 8, 105.0, {"exact_degree": 8}),
    "fourth power": (lambda z: z[:, 0] ** 2 * z[:, 1] ** 4, 3.0, {"dim": 2, "exact_degree": 4}),
    "constant": (lambda z: torch.full((len(z),), 7.0), 7.0, {"exact_degree": 0}),
    "modulus": (lambda z: z[:, 0].abs(), math.sqrt(2 / math.pi), {}),
}


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_normal_expectations_hold_the_closed_form(name: str) -> None:
    f, true, options = EXPECTATIONS[name]
    assert true in normal_expectation(f, **options)


def test_normal_expectation_radii_are_small_for_smooth_functions_and_honest_for_kinks() -> None:
    assert float(normal_expectation(lambda z: z[:, 0].exp()).radius) < 1e-12
    assert float(normal_expectation(lambda z: z[:, 0] ** 8, exact_degree=8).radius) < 1e-11
    for kink in (0.1, 0.3, 1.0, 1.7, 2.0, 2.5):
        true = math.exp(-kink * kink / 2) / math.sqrt(2 * math.pi) - kink * math.erfc(kink / math.sqrt(2)) / 2
        for n in (4, 8, 16, 32, 64, 128):
            assert true in normal_expectation(lambda z, kink=kink: (z[:, 0] - kink).relu(), n=n)


def test_a_promise_of_a_degree_that_is_too_low_is_the_callers_mistake_and_visible() -> None:
    assert 105.0 not in normal_expectation(lambda z: z[:, 0] ** 8, exact_degree=6)


def test_normal_expectation_of_matrices_is_elementwise() -> None:
    ball = normal_expectation(lambda z: z[:, :, None] * z[:, None, :], dim=3, exact_degree=2)
    assert ball.mid.shape == (3, 3)
    assert torch.eye(3) in ball
    assert 2 * torch.eye(3) not in ball


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="a < points < b"):
        integral(np.exp, 1.0, 0.0)
    with pytest.raises(ValueError, match="a < points < b"):
        integral(np.exp, 0.0, 1.0, points=(2.0,))
    with pytest.raises(ValueError, match="f must map"):
        integral(lambda x: 1.0, 0.0, 1.0)
    with pytest.raises(TypeError, match="f must be real"):
        integral(lambda x: 1j * x, 0.0, 1.0)
    with pytest.raises(ValueError, match="1 to 3 numbers"):
        cubature(lambda x: x[:, 0], [0] * 4, [1] * 4)
    with pytest.raises(ValueError, match="lower must be below upper"):
        cubature(lambda x: x[:, 0], [1], [0])
    for n in (0, 257, 2.0, True):
        with pytest.raises(ValueError, match="n must be an integer"):
            gauss_hermite(n)  # type: ignore[arg-type]
    for dim in (0, 40):
        with pytest.raises(ValueError, match="dim must be"):
            gauss_hermite(4, dim)
    with pytest.raises(TypeError, match="dtype must be real floating"):
        gauss_hermite(4, dtype=torch.int64)
    with pytest.raises(ValueError, match="exact_degree must be"):
        normal_expectation(torch.exp, exact_degree=-1)
    with pytest.raises(ValueError, match="f must map"):
        normal_expectation(lambda z: z.sum())
    with pytest.raises(Undecided):
        normal_expectation(lambda z: z[:, 0].log())
