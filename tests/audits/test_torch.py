"""Audit of `torch.distributions`: its transforms by every law of a bijection, its normals by every law of a divergence.

Each subject is judged where floats can answer, within the range that it states; where torch is known to fail, a subject
of its own covers that range. A failure is data: its category, its reason, and the relative error that torch makes at
least, which is confirmed at the counterexample that the search found, with mpmath at 50 digits and from nothing but the
transform's definition. Categories: a bug; a limit that torch documents; a promise too coarse, where a stated codomain is
larger than what the map reaches.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import mpmath
import pytest
import torch
from mpmath import mpf
from torch import Tensor
from torch.distributions import Cauchy, Exponential, Laplace, MultivariateNormal, Normal, transforms
from torch.distributions import transforms as tt
from torch.distributions.utils import tril_matrix_to_vec, vec_to_tril_matrix

from mathcheck.adapters import KINDS, adapt
from mathcheck.adapters.torch import bijection, divergence
from mathcheck.claim import Settings, laws, verify
from mathcheck.divergence.divergence import Divergence
from mathcheck.evidence import Evidence, Status
from mathcheck.flows.bijection import Bijection
from mathcheck.probability.families import Normals, normals
from mathcheck.strategies import BATCH_SHAPES, Interval

DTYPES = (torch.float64, torch.float32)
ROUND_TRIP = "inverse_undoes_forward"
TARGET = "every_target_is_reached"
LOG_DET = "log_det_is_that_of_the_jacobian"
INVERSE_LOG_DET = "inverse_log_det_is_the_negative"
SHAPE = "shape_and_dtype_are_those_of_the_point"

BUG, LIMIT, COARSE = "bug", "documented limit", "promise too coarse"


@dataclass(frozen=True)
class Known:
    """Why a law is known to fail.

    Torch's relative error at the counterexample exceeds `ulps` times eps and `off`; `error` is another measure of it.
    """

    category: str
    reason: str
    ulps: float = 32.0
    off: float = 0.0
    error: Callable[[Subject, Any, Tensor], float] | None = None


@dataclass(frozen=True)
class Subject:
    """A transform and the range that it is judged in.

    `forward` and `log_det` define the map of a single number in mpmath; `lacks` names the laws that have nothing to
    compare: where f(x) has another shape than x, or torch has no log-determinant.
    """

    make: Callable[[Callable[..., Tensor]], Any]
    failures: Mapping[str, Known] = field(default_factory=dict)
    forward: Callable[[mpf], mpf] = lambda x: x
    log_det: Callable[[mpf], mpf] = lambda x: mpf(0)
    lacks: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    codomain: Interval | None = None
    dtypes: tuple[torch.dtype, ...] = DTYPES

    def transform(self, dtype: torch.dtype) -> Any:
        return self.make(lambda *values: torch.tensor(values if len(values) > 1 else values[0], dtype=dtype))

    def adapted(self, dtype: torch.dtype) -> Bijection:
        made = self.transform(dtype)
        record = made if isinstance(made, Bijection) else bijection(made, **self.options)
        return record if self.codomain is None else dataclasses.replace(record, codomain=self.codomain)


def relative(said: Tensor, true: list[mpf]) -> float:
    """The largest relative error of floats; infinite for NaN and infinities."""
    pairs = zip(said.flatten().tolist(), true, strict=True)
    return max(float(abs(mpf(s) - t) / abs(t)) if math.isfinite(s) else math.inf for s, t in pairs)


def numbers(x: Tensor) -> list[mpf]:
    return [mpf(v) for v in x.flatten().tolist()]


def error_of_map(subject: Subject, t: Any, x: Tensor) -> float:
    return relative(t(x), [subject.forward(v) for v in numbers(x)])


def error_of_inverse(subject: Subject, t: Any, y: Tensor) -> float:
    """How far the true map leads from y, started at torch's inverse of y."""
    x = t.inv(y)
    return relative(y, [subject.forward(v) for v in numbers(x)]) if bool(x.isfinite().all()) else math.inf


def error_of_log_det(subject: Subject, t: Any, x: Tensor) -> float:
    size = max(1, x.shape[-1:].numel()) if t.domain.event_dim else 1
    each = [subject.log_det(v) for v in numbers(x)]
    return relative(t.log_abs_det_jacobian(x, t(x)), [mpmath.fsum(each[k : k + size]) for k in range(0, len(each), size)])


def error_of_inverse_log_det(subject: Subject, t: Any, x: Tensor) -> float:
    y = t(x)
    return relative(t.inv.log_abs_det_jacobian(y, t.inv(y)), [-subject.log_det(v) for v in numbers(x)])


ERRORS: dict[str, Callable[[Subject, Any, Tensor], float]] = {
    ROUND_TRIP: lambda s, t, x: max(error_of_map(s, t, x), error_of_inverse(s, t, t(x))),
    TARGET: lambda s, t, y: max(error_of_inverse(s, t, y), error_of_map(s, t, t.inv(y))),
    LOG_DET: error_of_log_det,
    INVERSE_LOG_DET: error_of_inverse_log_det,
}


def surplus_dimensions(subject: Subject, t: Any, x: Tensor) -> float:
    """Dimensions of the log-determinant beyond the batch that torch's own event dimensions leave."""
    return t.log_abs_det_jacobian(x, t(x)).ndim - (x.ndim - t.domain.event_dim)


def outside_image(subject: Subject, t: Any, y: Tensor) -> float:
    """1 where the codomain states to hold y, though it is below the infimum of the map or above its supremum."""
    low, high = (subject.forward(v) for v in (mpmath.ninf, mpmath.inf))
    missed = any(not min(low, high) < v < max(low, high) for v in numbers(y))
    return float(missed and bool(t.codomain.check(y).all()))


def lower_triangular(t: Any, reach: float = 10.0) -> Bijection:
    """A transform of matrices that ignores the upper triangle, as a map of the entries of the lower one."""
    return Bijection(
        lambda v: t(vec_to_tril_matrix(v)), lambda y: tril_matrix_to_vec(t.inv(y)), event_shape=(3,),
        domain=Interval(reach=reach), codomain=None, coordinates=tril_matrix_to_vec, batch_shapes=BATCH_SHAPES,
    )  # fmt: skip


NO_BOX = (TARGET,)
AWAY = Interval(2.0**-10, reach=10.0)
TAIL = Known(BUG, "a small probability is the difference of numbers near 1: its error is eps, however small it is")
STACKED = Known(BUG, "log-determinants are stacked, not summed, though the event has one more dimension", 0, 0.5,
                surplus_dimensions)  # fmt: skip
SINGLE = Known(BUG, "a number becomes a single-precision tensor, and so does 1 / exponent", ulps=1e6)

TRANSFORMS: dict[str, Subject] = {
    "exp": Subject(lambda c: tt.ExpTransform()),
    "log": Subject(lambda c: tt.ExpTransform().inv),
    "sigmoid": Subject(lambda c: tt.SigmoidTransform()),
    # Below 1e-30 lies the smallest normal number of single precision, to which the argument is clamped.
    "logit": Subject(lambda c: tt.SigmoidTransform().inv, options={"domain": Interval(2.0**-100, 1.0)}),
    "tanh": Subject(lambda c: tt.TanhTransform()),
    "atanh": Subject(lambda c: tt.TanhTransform().inv),
    "softplus": Subject(lambda c: tt.SoftplusTransform()),
    "inverse-softplus": Subject(lambda c: tt.SoftplusTransform().inv),
    "affine": Subject(lambda c: tt.AffineTransform(1.0, 3.0)),
    "affine-negative": Subject(lambda c: tt.AffineTransform(-2.0, -0.25)),
    "affine-mirror": Subject(lambda c: tt.AffineTransform(1.0, -1.0)),
    "affine-vector": Subject(lambda c: tt.AffineTransform(c(1.0, 2.0, 0.0), c(2.0, -3.0, 0.1), event_dim=1)),
    "affine-vector-of-numbers": Subject(lambda c: tt.AffineTransform(0.5, 2.0, event_dim=1)),
    "power-3": Subject(lambda c: tt.PowerTransform(c(3.0)), options={"domain": AWAY}, codomain=AWAY),
    "power-minus-1": Subject(lambda c: tt.PowerTransform(c(-1.0)), options={"domain": AWAY}, codomain=AWAY),
    "power-minus-half": Subject(lambda c: tt.PowerTransform(c(-0.5)), options={"domain": AWAY}, codomain=AWAY),
    "power-third": Subject(lambda c: tt.PowerTransform(c(1.0) / 3), options={"domain": AWAY}, codomain=AWAY),
    "compose-identity": Subject(lambda c: tt.identity_transform),
    "compose-vector": Subject(
        lambda c: tt.ComposeTransform([tt.AffineTransform(c(1.0, 2.0), c(2.0, 0.5), event_dim=1), tt.ExpTransform()])
    ),
    "compose-reshape": Subject(
        lambda c: tt.ComposeTransform([tt.SoftplusTransform(), tt.ReshapeTransform((4,), (2, 2))]), lacks=NO_BOX
    ),
    "reshape": Subject(lambda c: tt.ReshapeTransform((2, 3), (6,)), lacks=NO_BOX),
    "independent": Subject(lambda c: tt.IndependentTransform(tt.ExpTransform(), 1)),
    "correlation-cholesky": Subject(lambda c: tt.CorrCholeskyTransform(), lacks=NO_BOX),
    "stick-breaking": Subject(lambda c: tt.StickBreakingTransform(), lacks=NO_BOX),
    "cat": Subject(
        lambda c: tt.CatTransform([tt.ExpTransform(), tt.identity_transform], dim=-1, lengths=[2, 1]), lacks=NO_BOX
    ),
    "cat-of-vectors": Subject(
        lambda c: tt.CatTransform(
            [tt.AffineTransform(1.0, 3.0, event_dim=1), tt.AffineTransform(0.0, c(2.0, 4.0), event_dim=1)],
            dim=-1, lengths=[1, 2],
        )
    ),  # fmt: skip
    "lower-cholesky": Subject(
        lambda c: lower_triangular(tt.LowerCholeskyTransform()), lacks=(TARGET, LOG_DET, INVERSE_LOG_DET)
    ),
    "positive-definite": Subject(
        lambda c: lower_triangular(tt.PositiveDefiniteTransform(), reach=3.0), lacks=(TARGET, LOG_DET, INVERSE_LOG_DET)
    ),
    "normal-cdf": Subject(
        lambda c: tt.CumulativeDistributionTransform(Normal(c(0.0), c(1.0))),
        options={"domain": Interval(-0.5, 5.0)}, codomain=Interval(0.25, 1.0),
    ),  # fmt: skip
}  # fmt: skip



def power_near_zero(reach: float, dtype: torch.dtype) -> Subject:
    reason = "the quotient y / x is formed before its logarithm is taken, and y underflows"
    known = Known(BUG, reason, off=1.0)
    return Subject(
        lambda c: tt.PowerTransform(c(3.0)), {LOG_DET: known, INVERSE_LOG_DET: known}, lacks=(ROUND_TRIP,),
        forward=lambda x: x**3, log_det=lambda x: mpmath.log(3 * x**2), options={"reach": reach}, dtypes=(dtype,),
        codomain=AWAY,
    )  # fmt: skip


FAILING: dict[str, Subject] = {
    "affine-vector-of-one-scale": Subject(
        lambda c: tt.AffineTransform(c(0.0), c(2.0), event_dim=1),
        {LOG_DET: Known(BUG, "a scale without dimensions counts once, not once for each coordinate", off=0.6)},
        log_det=lambda x: mpmath.log(2),
    ),
    "stack": Subject(
        lambda c: tt.StackTransform([tt.ExpTransform(), tt.AffineTransform(0.0, 2.0)], dim=-1),
        {LOG_DET: STACKED, INVERSE_LOG_DET: STACKED, SHAPE: STACKED}, lacks=NO_BOX,
    ),
    "power-3-of-a-number": Subject(
        lambda c: tt.PowerTransform(3.0),
        {ROUND_TRIP: SINGLE, TARGET: SINGLE, INVERSE_LOG_DET: SINGLE},
        forward=lambda x: x**3, log_det=lambda x: mpmath.log(3 * x**2), options={"domain": Interval(2.0, 10.0)},
        codomain=Interval(2.0, 10.0), dtypes=(torch.float64,),
    ),
    "power-3-near-zero": power_near_zero(2.0**-370, torch.float64),
    "power-3-near-zero-single": power_near_zero(2.0**-53, torch.float32),
    "compose-as-tanh": Subject(
        lambda c: tt.ComposeTransform([tt.AffineTransform(0.0, 2.0), tt.SigmoidTransform(), tt.AffineTransform(-1.0, 2.0)]),
        {ROUND_TRIP: Known(LIMIT, "torch calls it less stable than TanhTransform: it cancels near 0"),
         TARGET: Known(COARSE, "the codomain is stated as all reals, the image is (-1, 1)", 0, 0.5, outside_image)},
        forward=mpmath.tanh, log_det=lambda x: -2 * mpmath.log(mpmath.cosh(x)), options={"reach": 2.0**-7},
        codomain=Interval(reach=10.0),
    ),
    "compose-of-exp": Subject(
        lambda c: tt.ComposeTransform([tt.ExpTransform(), tt.AffineTransform(1.0, 2.0)]),
        {TARGET: Known(COARSE, "the codomain is stated as all reals, the image is y > 1", 0, 0.5, outside_image)},
        forward=lambda x: 1 + 2 * mpmath.exp(x), log_det=lambda x: mpmath.log(2) + x,
    ),
    "softplus-beyond-20": Subject(
        lambda c: tt.SoftplusTransform(),
        {law: Known(LIMIT, "the map is linear beyond 20, its inverse and log-determinant are not", error=error_of_map)
         for law in (ROUND_TRIP, LOG_DET)}
        | {TARGET: Known(LIMIT, "the map is linear beyond 20, its inverse is not")},
        forward=lambda x: mpmath.log1p(mpmath.exp(x)), log_det=lambda x: -mpmath.log1p(mpmath.exp(-x)),
        options={"domain": Interval(20.0, 24.0, 24.0)}, codomain=Interval(20.0, 24.0, 24.0), dtypes=(torch.float64,),
    ),
    "sigmoid-below-minus-20": Subject(
        lambda c: tt.SigmoidTransform(),
        {LOG_DET: Known(BUG, "the softplus in it is linear beyond 20: the log-determinant loses half of its digits")},
        forward=lambda x: 1 / (1 + mpmath.exp(-x)), log_det=lambda x: x - 2 * mpmath.log1p(mpmath.exp(x)),
        options={"domain": Interval(-24.0, -20.0, 24.0)}, dtypes=(torch.float64,),
    ),
    "normal-cdf-tail": Subject(
        lambda c: tt.CumulativeDistributionTransform(Normal(c(0.0), c(1.0))),
        {ROUND_TRIP: TAIL, TARGET: TAIL, INVERSE_LOG_DET: TAIL}, forward=mpmath.ncdf,
        log_det=lambda x: -(x**2 + mpmath.log(2 * mpmath.pi)) / 2,
        options={"domain": Interval(-30.0, -6.0, 30.0)}, codomain=Interval(0.0, 2.0**-20),
    ),
    "laplace-cdf-tail": Subject(
        lambda c: tt.CumulativeDistributionTransform(Laplace(c(0.0), c(1.0))),
        {ROUND_TRIP: TAIL, TARGET: TAIL, INVERSE_LOG_DET: TAIL}, forward=lambda x: mpmath.exp(x) / 2,
        log_det=lambda x: x - mpmath.log(2),
        options={"domain": Interval(-60.0, -10.0, 60.0)}, codomain=Interval(0.0, 2.0**-20),
    ),
    "exponential-cdf-near-zero": Subject(
        lambda c: tt.CumulativeDistributionTransform(Exponential(c(1.0))),
        {ROUND_TRIP: TAIL, TARGET: TAIL}, forward=lambda x: -mpmath.expm1(-x), log_det=lambda x: -x, lacks=(LOG_DET,),
        options={"reach": 2.0**-20}, codomain=Interval(0.0, 2.0**-20),
    ),
    "cauchy-cdf-tail": Subject(
        lambda c: tt.CumulativeDistributionTransform(Cauchy(c(0.0), c(1.0))),
        {ROUND_TRIP: TAIL, TARGET: TAIL}, forward=lambda x: mpmath.atan(x) / mpmath.pi + 0.5,
        log_det=lambda x: -mpmath.log(mpmath.pi * (1 + x**2)),
        options={"domain": Interval(-(2.0**20), -(2.0**10), 2.0**20)}, codomain=Interval(0.0, 2.0**-20),
    ),
}  # fmt: skip

# Transforms that are judged by no law, since they have no exact inverse on the domain that they state.
OUT_OF_SCOPE = {
    "AbsTransform": "x and -x have one image",
    "SoftmaxTransform": "x and x + c have one image",
    "Transform": "the base class",
}


def evidence_of(name: str, record: Any, claim: Any, dtype: torch.dtype, seed: int, examples: int) -> Evidence:
    return verify(claim, record, dtype=dtype, settings=Settings(examples=examples, seed=seed), name=name)


def inputs_of(evidence: Evidence) -> list[Any]:
    assert evidence.counterexample is not None
    return [eval(source, {"torch": torch}) for source in evidence.counterexample.inputs.values()]


def cases(table: Mapping[str, Any], kind: type) -> list[Any]:
    return [
        pytest.param(name, dtype, claim, id=f"{name}-{claim.name.rsplit('.', 1)[-1]}-{str(dtype)[6:]}")
        for name, subject in table.items()
        for dtype in subject.dtypes
        for claim in laws(kind)
    ]


def judge(evidence: Evidence, subject: Any) -> None:
    """The verdict is the one in the table; a refuted law is confirmed by the caller."""
    law = evidence.claim.rsplit(".", 1)[-1]
    if law in subject.failures:
        assert evidence.status is Status.REFUTED, f"expected to fail: {subject.failures[law].reason}\n{evidence}"
    elif law in subject.lacks:
        assert evidence.status in (Status.SKIPPED, Status.VACUOUS), str(evidence)
    else:
        assert evidence.status is Status.HOLDS, str(evidence)


def check_transform(name: str, dtype: torch.dtype, claim: Any, seed: int, examples: int) -> None:
    subject = {**TRANSFORMS, **FAILING}[name]
    evidence = evidence_of(name, subject.adapted(dtype), claim, dtype, seed, examples)
    judge(evidence, subject)
    law = claim.name.rsplit(".", 1)[-1]
    if known := subject.failures.get(law):
        (point,) = inputs_of(evidence)
        with mpmath.workdps(50):
            error = (known.error or ERRORS[law])(subject, subject.transform(dtype), point)
        assert error > max(known.ulps * torch.finfo(dtype).eps, known.off), f"torch is off by {error}\n{evidence}"


@pytest.mark.parametrize(("name", "dtype", "claim"), cases(TRANSFORMS | FAILING, Bijection))
def test_transform(name: str, dtype: torch.dtype, claim: Any, seed: int) -> None:
    check_transform(name, dtype, claim, seed, examples=15)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype", "claim"), cases(TRANSFORMS | FAILING, Bijection))
def test_transform_at_length(name: str, dtype: torch.dtype, claim: Any, seed: int) -> None:
    check_transform(name, dtype, claim, seed, examples=400)


def test_no_transform_is_forgotten() -> None:
    def kinds(t: Any) -> set[str]:
        return {type(t).__name__} | {name for part in getattr(t, "parts", []) for name in kinds(part)}

    matrices = {"LowerCholeskyTransform", "PositiveDefiniteTransform"}
    judged = {name for s in (TRANSFORMS | FAILING).values() for name in kinds(s.transform(torch.float64))}
    assert judged - {"Bijection", "_InverseTransform"} | matrices | set(OUT_OF_SCOPE) == set(tt.__all__) - {
        "identity_transform"
    }
