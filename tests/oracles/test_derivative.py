from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import sympy
import torch
from torch import Tensor

from mathcheck.engine.residual import Ball, Kind, Undecided, close
from mathcheck.oracles.derivative import complex_step, difference_jacobian, jacobian, log_abs_det, mpmath_derivative

t = sympy.Symbol("t")
# Name: SymPy's function, torch's function, and the domain's lower end.
FUNCTIONS = {
    "tanh": (sympy.tanh(t), torch.tanh, -math.inf),
    "sin 3t": (sympy.sin(3 * t), lambda x: torch.sin(3 * x), -math.inf),
    "gaussian": (t * sympy.exp(-t * t / 200), lambda x: x * torch.exp(-x * x / 200), -math.inf),
    "log": (sympy.log(t), torch.log, 0.0),
    "sin 1000t": (sympy.sin(1000 * t), lambda x: torch.sin(1000 * x), -math.inf),
}
POINTS = [0.3, 2.0, 10.0, 18.9, 20.0, 90.0]


def apart(first: Ball, second: Ball) -> bool:
    return bool(((first.mid - second.mid).abs() > first.radius + second.radius).any())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_method_holds_the_symbolic_derivative(name: str, point: float, dtype: torch.dtype) -> None:
    symbol, f, lower = FUNCTIONS[name]
    x = torch.tensor([point], dtype=dtype)
    true = float(symbol.diff(t).subs(t, sympy.Rational(float(x))).evalf(40))
    for ball in (jacobian(f, x), difference_jacobian(f, x, lower), complex_step(f, x)):
        assert ball.mid.shape == (1, 1)
        assert ball.kind is Kind.NUMERICAL
        assert true in ball, ball.source


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_jacobians_of_vector_functions_agree_and_have_small_radii(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    eps = torch.finfo(dtype).eps
    for n in (1, 2, 3, 4, 5) * 8:
        a, b, x = (torch.randn(shape, generator=generator, dtype=dtype) for shape in ((n, n), (n, n), (n,)))

        def f(x: Tensor, a: Tensor = a, b: Tensor = b) -> Tensor:
            return torch.tanh(x @ a.to(x.dtype)) @ b.to(x.dtype) + x * torch.exp(torch.sin(x.flip(-1)))

        true = jacobian(f, x.double())
        size = float(true.mid.abs().max()) + float(f(x).abs().max())
        batched = difference_jacobian(f, x, batched=True)
        # A matrix product may order its sums differently in a batch, so the two agree within their radii only.
        assert not apart(batched, difference_jacobian(f, x))
        # 20 n ulp for derivatives; differences at the smallest step 2^-15 lose 15 bits at worst.
        for ball, most in ((jacobian(f, x), 100 * n), (complex_step(f, x), 100 * n), (batched, 2**15 * n)):
            assert not apart(ball, true), ball.source
            assert float(ball.radius.max()) <= most * eps * size, ball.source


def test_a_wrong_backward_makes_autograd_and_differences_disagree() -> None:
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.sinh()

        @staticmethod
        def backward(ctx: object, grad: Tensor) -> Tensor:
            return grad * (1 + 1e-9)  # the derivative at 0 is 1

    x = torch.zeros(2, dtype=torch.float64)
    assert apart(jacobian(Doubled.apply, x), difference_jacobian(Doubled.apply, x))
    assert not apart(jacobian(torch.sinh, x), difference_jacobian(torch.sinh, x))


def test_shapes_are_flattened() -> None:
    x = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    expected = torch.zeros(2, 2, 3, dtype=torch.float64)
    for i in range(2):
        expected[i, i] = 2 * x[i]
    for ball in (jacobian(f := lambda v: (v * v).sum(-1), x), difference_jacobian(f, x), complex_step(f, x)):
        assert ball.mid.shape == (2, 6)
        assert expected.reshape(2, 6) in ball
    scalar = torch.tensor(0.5, dtype=torch.float64)
    assert jacobian(torch.exp, scalar).mid.shape == difference_jacobian(torch.exp, scalar).mid.shape == (1, 1)


def test_autograd_works_without_grad_mode_and_leaves_it_alone() -> None:
    x = torch.tensor([1.0], dtype=torch.float64)
    with torch.no_grad():
        assert math.cosh(1.0) in jacobian(torch.sinh, x)
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize(
    "f",
    [lambda x: torch.as_tensor(np.exp(x.numpy())), lambda x: x.detach().exp(), lambda x: np.exp(x.detach().numpy())],
)
def test_functions_without_autograd_are_left_to_differences(f: object) -> None:
    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    with pytest.raises(Undecided):
        jacobian(f, x)  # type: ignore[arg-type]
    assert torch.diag(x.exp()) in difference_jacobian(f, x)  # type: ignore[arg-type]


def test_differences_stay_inside_the_domain() -> None:
    seen: list[Tensor] = []

    def f(x: Tensor) -> Tensor:
        seen.append(x)
        return x.log() + (1 - x).log()

    eps = torch.finfo(torch.float64).eps
    x = torch.tensor([16 * eps, 0.25, 1 - 16 * eps], dtype=torch.float64)
    ball = difference_jacobian(f, x, 0.0, 1.0)
    assert all(bool(((v > 0) & (v < 1)).all()) for v in seen)
    assert torch.diag(1 / x - 1 / (1 - x)) in ball
    adjacent = torch.nextafter(torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    assert bool(difference_jacobian(f, adjacent, 0.0, 1.0).radius.isinf().all())


def test_a_kink_gets_the_jump_of_the_slope_as_radius() -> None:
    for distance in (0.0, 1e-6, 1e-3):
        x = torch.tensor([distance], dtype=torch.float64)
        ball = difference_jacobian(lambda v: torch.where(v > 0, v, 0.1 * v), x)
        assert 1.0 in ball
        if distance == 0:
            assert 0.1 in ball


def test_what_the_steps_do_not_resolve_has_an_infinite_radius() -> None:
    x = torch.tensor([1.0], dtype=torch.float64)
    for f in (lambda v: torch.sin(1e6 * v), lambda v: (v >= 1).double()):
        assert bool(difference_jacobian(f, x).radius.gt(0.1).all())


def test_saturated_tanh_is_beyond_autograd_but_not_beyond_the_complex_step() -> None:
    x = torch.tensor([20.0], dtype=torch.float64)
    true = mpmath_derivative(mpmath.tanh, 20)
    assert float(true.mid) == pytest.approx(1.6993417021166355e-17, rel=1e-12)
    assert float(jacobian(torch.tanh, x).mid) == 0.0  # all digits lost; the radius says so
    assert not apart(jacobian(torch.tanh, x), Ball(true.mid.reshape(1, 1), kind=Kind.NUMERICAL))
    assert log_abs_det(jacobian(torch.tanh, x)).radius == math.inf
    assert close(complex_step(torch.tanh, x).mid.squeeze(), true).ratio < 1


def test_an_infinite_or_undefined_slope_has_an_infinite_radius() -> None:
    x = torch.zeros(1, dtype=torch.float64)
    for ball in (
        jacobian(torch.sqrt, x),
        difference_jacobian(torch.sqrt, x),
        *(method(lambda v: v * math.nan, x) for method in (jacobian, difference_jacobian, complex_step)),
    ):
        assert bool(ball.radius.isinf().all())
        assert bool(ball.mid.isfinite().all())
    # The square root is not analytic at 0: another step gives another answer.
    branch = complex_step(torch.sqrt, x)
    assert bool((branch.radius > branch.mid).all())


def test_complex_step_refuses_functions_that_are_real() -> None:
    x = torch.tensor([1.0], dtype=torch.float64)
    for f in (torch.relu, torch.abs, lambda v: v.real):
        with pytest.raises(Undecided):
            complex_step(f, x)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("point", [0.1, 1.0, 30.0])
def test_mpmath_derivatives_are_right_to_float64(order: int, point: float) -> None:
    expression = sympy.exp(-t) * sympy.sin(t)
    ball = mpmath_derivative(lambda x: mpmath.exp(-x) * mpmath.sin(x), point, order)
    true = expression.diff(t, order).subs(t, sympy.Rational(point)).evalf(40)
    assert float(true) in ball
    assert float(ball.radius) <= 2**-53 * abs(float(ball.mid)) * 1.001
    # A second derivative for a first would be noticed.
    assert float(expression.diff(t, order + 1).subs(t, point)) not in ball


def test_mpmath_derivative_at_a_kink_is_not_certain() -> None:
    assert float(mpmath_derivative(abs, 0.0).radius) >= 1
    with pytest.raises(Undecided):
        mpmath_derivative(lambda x: mpmath.exp(x * 1000), 1.0)


def exact(matrix: Tensor, radius: Tensor | float = 0.0) -> Ball:
    return Ball(matrix, radius, kind=Kind.NUMERICAL)


def test_log_determinants_hold_the_exact_value() -> None:
    generator = torch.Generator().manual_seed(1)
    for n in range(1, 6):
        for _ in range(10):
            matrix = torch.randn(n, n, generator=generator, dtype=torch.float64)
            with mpmath.workdps(40):
                true = float(mpmath.log(abs(mpmath.det(mpmath.matrix(matrix.tolist())))))
            ball = log_abs_det(exact(matrix))
            assert true in ball
            # The radius is not generous: a thousandth of the determinant is seen.
            assert true + 1e-3 not in ball
    # Scaling costs nothing: the condition number is that of what remains.
    graded = torch.diag(torch.tensor([1e-200, 1.0, 1e200], dtype=torch.float64)) + torch.eye(
        3, dtype=torch.float64
    ).roll(1)
    assert float(log_abs_det(exact(graded.tril())).radius) < 1e-10


def test_log_determinant_radius_covers_every_matrix_of_the_ball() -> None:
    generator = torch.Generator().manual_seed(2)
    for n in (1, 2, 4):
        matrix = torch.randn(n, n, generator=generator, dtype=torch.float64)
        for size in (1e-12, 1e-6, 1e-2):
            radius = size * torch.rand(n, n, generator=generator, dtype=torch.float64)
            ball = log_abs_det(exact(matrix, radius))
            inverse = torch.linalg.inv(matrix).T
            for signs in (inverse.sign(), -inverse.sign(), torch.randn(n, n, generator=generator).sign()):
                assert float(torch.linalg.slogdet(matrix + signs * radius).logabsdet) in ball
            first_order = float((inverse.abs() * radius).sum())
            assert float(ball.radius) >= first_order
            if size == 1e-6:  # the worst case is reached to first order, so a smaller radius would be wrong
                rest = float(log_abs_det(exact(matrix)).radius)
                assert float(ball.radius) - rest <= first_order * (1 + 1e-3)


@pytest.mark.parametrize(
    "ball",
    [
        exact(torch.zeros(2, 2)),
        exact(torch.ones(3, 3)),
        exact(torch.eye(2), torch.ones(2, 2)),
        exact(torch.eye(2), torch.tensor([[math.inf, 0.0], [0.0, 0.0]])),
        exact(torch.full((2, 2), math.nan)),
    ],
)
def test_singular_matrices_give_an_infinite_radius_and_never_nan(ball: Ball) -> None:
    found = log_abs_det(ball)
    assert math.isfinite(float(found.mid))
    assert float(found.radius) == math.inf


def test_bad_input_is_named() -> None:
    x = torch.ones(2, dtype=torch.float64)
    for method in (jacobian, difference_jacobian, complex_step):
        with pytest.raises(TypeError, match=r"x must .*int64"):
            method(torch.exp, torch.ones(2, dtype=torch.int64))
        with pytest.raises(TypeError, match="x must be a tensor, got list"):
            method(torch.exp, [1.0])  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="x must not be empty"):
            method(torch.exp, torch.ones(0))
    with pytest.raises(ValueError, match="strictly between"):
        difference_jacobian(torch.log, x, 1.0)
    with pytest.raises(ValueError, match="as many values"):
        difference_jacobian(lambda v: v[:2], x, batched=True)
    with pytest.raises(ValueError, match="order must"):
        mpmath_derivative(mpmath.exp, 0.0, 0)
    with pytest.raises(ValueError, match="x must be finite"):
        mpmath_derivative(mpmath.exp, math.nan)
    with pytest.raises(ValueError, match=r"shape \(n, n\)"):
        log_abs_det(exact(torch.ones(2, 3)))
