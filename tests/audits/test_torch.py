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
from torch.distributions import Cauchy, Exponential, Laplace, MultivariateNormal, Normal
from torch.distributions import transforms as tt
from torch.distributions.utils import tril_matrix_to_vec, vec_to_tril_matrix

from mathcheck.adapters import KINDS, adapt
from mathcheck.adapters.torch import bijection, divergence
from mathcheck.divergence.divergence import Divergence
from mathcheck.engine.claim import Claim, Settings, laws, verify
from mathcheck.engine.evidence import Status
from mathcheck.engine.strategies import BATCH_SHAPES, Interval
from mathcheck.flows.bijection import Bijection
from mathcheck.probability.families import Normals, normals

DTYPES = (torch.float64, torch.float32)
ROUND_TRIP = "inverse_undoes_forward"
TARGET = "every_target_is_reached"
LOG_DET = "log_det_is_that_of_the_jacobian"
INVERSE_LOG_DET = "inverse_log_det_is_the_negative"
SHAPE = "shape_and_dtype_are_those_of_the_point"
ONE_PASS = "one_pass_is_two"

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

    `forward` and `log_det` define the map of a single number in mpmath; `lacks` names the laws, beside that on a map and
    its log-determinant in one pass, that have nothing to
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
    """The largest relative error of floats; infinite for NaN, infinities, and where only the truth is 0."""

    def error(said: float, true: mpf) -> float:
        if not math.isfinite(said) or (true == 0 and said):
            return math.inf
        return float(abs(said - true) / abs(true)) if true else 0.0

    return max(error(s, t) for s, t in zip(said.flatten().tolist(), true, strict=True))


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
    return relative(
        t.log_abs_det_jacobian(x, t(x)), [mpmath.fsum(each[k : k + size]) for k in range(0, len(each), size)]
    )


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
        lambda v: t(vec_to_tril_matrix(v)),
        lambda y: tril_matrix_to_vec(t.inv(y)),
        event_shape=(3,),
        domain=Interval(reach=reach),
        codomain=None,
        coordinates=tril_matrix_to_vec,
        batch_shapes=BATCH_SHAPES,
    )


NO_BOX = (TARGET,)
AWAY = Interval(2.0**-10, reach=10.0)
TAIL = Known(BUG, "a small probability is the difference of numbers near 1: its error is eps, however small it is")
STACKED = Known(
    BUG, "log-determinants are stacked, not summed, though the event has one more dimension", 0, 0.5, surplus_dimensions
)
SINGLE = Known(LIMIT, "the exponent is to be a tensor; a number becomes one of single precision, as 1 / exponent", 1e6)

TRANSFORMS: dict[str, Subject] = {
    "exp": Subject(lambda c: tt.ExpTransform()),
    "log": Subject(lambda c: tt.ExpTransform().inv),
    "sigmoid": Subject(lambda c: tt.SigmoidTransform()),
    # Arguments are clamped to the smallest normal number, 2^-126 in single precision.
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
            dim=-1,
            lengths=[1, 2],
        )
    ),
    "lower-cholesky": Subject(
        lambda c: lower_triangular(tt.LowerCholeskyTransform()), lacks=(TARGET, LOG_DET, INVERSE_LOG_DET)
    ),
    "positive-definite": Subject(
        lambda c: lower_triangular(tt.PositiveDefiniteTransform(), reach=3.0), lacks=(TARGET, LOG_DET, INVERSE_LOG_DET)
    ),
    "normal-cdf": Subject(
        lambda c: tt.CumulativeDistributionTransform(Normal(c(0.0), c(1.0))),
        options={"domain": Interval(-0.5, 5.0)},
        codomain=Interval(0.25, 1.0),
    ),
}


def power_near_zero(reach: float, dtype: torch.dtype) -> Subject:
    reason = "the quotient y / x is formed before its logarithm is taken, and y underflows"
    known = Known(BUG, reason, off=1.0)
    return Subject(
        lambda c: tt.PowerTransform(c(3.0)),
        {LOG_DET: known, INVERSE_LOG_DET: known},
        forward=lambda x: x**3,
        log_det=lambda x: mpmath.log(3 * x**2),
        options={"reach": reach},
        dtypes=(dtype,),
        codomain=AWAY,
    )


FAILING: dict[str, Subject] = {
    "affine-vector-of-one-scale": Subject(
        lambda c: tt.AffineTransform(c(0.0), c(2.0), event_dim=1),
        {LOG_DET: Known(BUG, "a scale without dimensions counts once, not once for each coordinate", off=0.6)},
        log_det=lambda x: mpmath.log(2),
    ),
    "stack": Subject(
        lambda c: tt.StackTransform([tt.ExpTransform(), tt.AffineTransform(0.0, 2.0)], dim=-1),
        {LOG_DET: STACKED, INVERSE_LOG_DET: STACKED, SHAPE: STACKED},
    ),
    "power-3-of-a-number": Subject(
        lambda c: tt.PowerTransform(3.0),
        {ROUND_TRIP: SINGLE, TARGET: SINGLE, INVERSE_LOG_DET: SINGLE},
        forward=lambda x: x**3,
        log_det=lambda x: mpmath.log(3 * x**2),
        options={"domain": Interval(2.0, 10.0)},
        codomain=Interval(2.0, 10.0),
        dtypes=(torch.float64,),
    ),
    "power-3-near-zero": power_near_zero(2.0**-370, torch.float64),
    "power-3-near-zero-single": power_near_zero(2.0**-53, torch.float32),
    "compose-as-tanh": Subject(
        lambda c: tt.ComposeTransform(
            [tt.AffineTransform(0.0, 2.0), tt.SigmoidTransform(), tt.AffineTransform(-1.0, 2.0)]
        ),
        {
            ROUND_TRIP: Known(LIMIT, "torch calls it less stable than TanhTransform: it cancels near 0"),
            TARGET: Known(COARSE, "the codomain is stated as all reals, the image is (-1, 1)", 0, 0.5, outside_image),
        },
        forward=mpmath.tanh,
        log_det=lambda x: -2 * mpmath.log(mpmath.cosh(x)),
        options={"reach": 2.0**-7},
        codomain=Interval(1.0, reach=10.0),
    ),
    "compose-of-exp": Subject(
        lambda c: tt.ComposeTransform([tt.ExpTransform(), tt.AffineTransform(1.0, 2.0)]),
        {TARGET: Known(COARSE, "the codomain is stated as all reals, the image is y > 1", 0, 0.5, outside_image)},
        forward=lambda x: 1 + 2 * mpmath.exp(x),
        log_det=lambda x: mpmath.log(2) + x,
    ),
    "softplus-beyond-20": Subject(
        lambda c: tt.SoftplusTransform(),
        {
            law: Known(
                LIMIT, "the map is linear beyond 20, its inverse and log-determinant are not", error=error_of_map
            )
            for law in (ROUND_TRIP, LOG_DET)
        }
        | {TARGET: Known(LIMIT, "the map is linear beyond 20, its inverse is not")},
        forward=lambda x: mpmath.log1p(mpmath.exp(x)),
        log_det=lambda x: -mpmath.log1p(mpmath.exp(-x)),
        options={"domain": Interval(20.0, 24.0, 24.0)},
        codomain=Interval(20.0, 24.0, 24.0),
        dtypes=(torch.float64,),
    ),
    "sigmoid-below-minus-20": Subject(
        lambda c: tt.SigmoidTransform(),
        {LOG_DET: Known(BUG, "the softplus in it is linear beyond 20: the log-determinant loses five digits")},
        forward=lambda x: 1 / (1 + mpmath.exp(-x)),
        log_det=lambda x: x - 2 * mpmath.log1p(mpmath.exp(x)),
        options={"domain": Interval(-24.0, -20.0, 24.0)},
        dtypes=(torch.float64,),
    ),
    "normal-cdf-tail": Subject(
        lambda c: tt.CumulativeDistributionTransform(Normal(c(0.0), c(1.0))),
        {ROUND_TRIP: TAIL, TARGET: TAIL, INVERSE_LOG_DET: TAIL},
        forward=mpmath.ncdf,
        log_det=lambda x: -(x**2 + mpmath.log(2 * mpmath.pi)) / 2,
        options={"domain": Interval(-30.0, -6.0, 30.0)},
        codomain=Interval(0.0, 2.0**-20),
    ),
    "laplace-cdf-tail": Subject(
        lambda c: tt.CumulativeDistributionTransform(Laplace(c(0.0), c(1.0))),
        {ROUND_TRIP: TAIL, TARGET: TAIL},
        forward=lambda x: mpmath.exp(x) / 2,
        log_det=lambda x: x - mpmath.log(2),
        options={"domain": Interval(-15.0, -9.0, 15.0)},
        codomain=Interval(0.0, 2.0**-20),
    ),
    "exponential-cdf-near-zero": Subject(
        lambda c: tt.CumulativeDistributionTransform(Exponential(c(1.0))),
        {ROUND_TRIP: TAIL, TARGET: TAIL},
        forward=lambda x: -mpmath.expm1(-x),
        log_det=lambda x: -x,
        options={"reach": 2.0**-10},
        codomain=Interval(0.0, 2.0**-20),
    ),
    "cauchy-cdf-tail": Subject(
        lambda c: tt.CumulativeDistributionTransform(Cauchy(c(0.0), c(1.0))),
        {ROUND_TRIP: TAIL, TARGET: TAIL},
        forward=lambda x: mpmath.atan(x) / mpmath.pi + 0.5,
        log_det=lambda x: -mpmath.log(mpmath.pi * (1 + x**2)),
        options={"domain": Interval(-(2.0**20), -(2.0**10), 2.0**20)},
        codomain=Interval(0.0, 2.0**-20),
    ),
}

# Transforms that are judged by no law, since they have no exact inverse on the domain that they state.
OUT_OF_SCOPE = {
    "AbsTransform": "x and -x have one image",
    "SoftmaxTransform": "x and x + c have one image",
    "Transform": "the base class",
}


def source(claim: Claim) -> str:
    return claim.name.rsplit(".", 1)[-1]


def cases(table: Mapping[str, Any], kind: type) -> list[Any]:
    """Every subject with every law and dtype; a subject that shows failures is there for the laws that fail."""
    return [
        pytest.param(name, dtype, claim, id=f"{name}-{source(claim)}-{str(dtype)[6:]}")
        for name, subject in table.items()
        for dtype in subject.dtypes
        for claim in laws(kind)
        if not subject.failures or source(claim) in subject.failures
    ]


def judged(
    name: str, subject: Any, claim: Claim, dtype: torch.dtype, seed: int, examples: int
) -> tuple[Known | None, list[Any], str]:
    """Asserts the verdict of the table; returns the known failure, if it is one, with the counterexample and a report."""
    settings = Settings(examples, seed, accuracy="full")
    evidence = verify(claim, subject.adapted(dtype), dtype=dtype, settings=settings, name=name)
    known = subject.failures.get(source(claim))
    allowed = (Status.SKIPPED, Status.VACUOUS) if source(claim) in (*subject.lacks, ONE_PASS) else (Status.HOLDS,)
    expected = allowed if known is None else (Status.REFUTED,)
    assert evidence.status in expected, f"expected {expected[0]} ({known and known.reason})\n{evidence}"
    found = evidence.counterexample.inputs.values() if evidence.counterexample else ()
    return known, [eval(text, {"torch": torch}) for text in found], str(evidence)


def check_transform(name: str, dtype: torch.dtype, claim: Claim, seed: int, examples: int) -> None:
    subject = (TRANSFORMS | FAILING)[name]
    known, inputs, report = judged(name, subject, claim, dtype, seed, examples)
    if known:
        with mpmath.workdps(50):
            error = (known.error or ERRORS[source(claim)])(subject, subject.transform(dtype), *inputs)
        assert error > max(known.ulps * torch.finfo(dtype).eps, known.off), f"torch is off by {error} only\n{report}"


@pytest.mark.parametrize(("name", "dtype", "claim"), cases(TRANSFORMS | FAILING, Bijection))
def test_transform(name: str, dtype: torch.dtype, claim: Claim, seed: int) -> None:
    # A pair of points on either side of a fold takes more luck than one point does.
    examples = {LOG_DET: 5, "determinant_keeps_its_sign": 60}.get(source(claim), 8)
    check_transform(name, dtype, claim, seed, examples)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype", "claim"), cases(TRANSFORMS | FAILING, Bijection))
def test_transform_at_length(name: str, dtype: torch.dtype, claim: Claim, seed: int) -> None:
    check_transform(name, dtype, claim, seed, examples=400)


def test_no_transform_is_forgotten() -> None:
    def kinds(t: Any) -> set[str]:
        parts = getattr(t, "parts", []) or ([t.inv] if isinstance(t, tt._InverseTransform) else [])
        return {type(t).__name__}.union(*map(kinds, parts))

    judged = set().union(*(kinds(s.transform(torch.float64)) for s in (TRANSFORMS | FAILING).values()))
    matrices = {"LowerCholeskyTransform", "PositiveDefiniteTransform"}
    assert judged - {"Bijection", "_InverseTransform"} | matrices | set(OUT_OF_SCOPE) == (
        set(tt.__all__) - {"identity_transform"}
    )
    for name in set(OUT_OF_SCOPE) - {"Transform"}:
        with pytest.raises(TypeError, match="must be bijective"):
            bijection(getattr(tt, name)())


@dataclass(frozen=True)
class Pair:
    """A divergence of torch, and the family that it is judged on."""

    distribution: type
    domain: Normals
    failures: Mapping[str, Known] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    dtypes: tuple[torch.dtype, ...] = DTYPES

    def adapted(self, dtype: torch.dtype) -> Divergence:
        return divergence(self.distribution, self.domain)


CANCELS = Known(BUG, "nearly equal numbers are subtracted: at a distance of delta the value is about delta squared")
SQUARED = Known(BUG, "the ratio of the variances is squared before its logarithm is taken, and over- or underflows")
APART_LACKS = ("zero_on_equal_arguments", "finite_wherever_the_true_value_is")
NEAR = {"equals_the_definition": CANCELS}
DIVERGENCES = {
    "normal-apart": Pair(Normal, normals("std", near_equal=False), lacks=APART_LACKS),
    "multivariate-apart": Pair(MultivariateNormal, normals("covariance", near_equal=False), lacks=APART_LACKS),
    "multivariate-cholesky-apart": Pair(MultivariateNormal, normals("scale_tril", near_equal=False), lacks=APART_LACKS),
    "normal-near": Pair(Normal, normals("std", reach=4.0), NEAR, dtypes=(torch.float64,)),
    "normal-extreme": Pair(Normal, normals("std"), {"finite_wherever_the_true_value_is": SQUARED}),
    "multivariate-near": Pair(MultivariateNormal, normals("covariance"), NEAR | {"never_negative": CANCELS}),
    "multivariate-cholesky-near": Pair(MultivariateNormal, normals("scale_tril"), NEAR | {"never_negative": CANCELS}),
}


def true_divergence(domain: Normals, q: list[Tensor], p: list[Tensor]) -> mpf:
    """KL(q, p) of one row from the textbook formula, at the working precision of mpmath."""
    n = len(q[0])
    spreads = [mpmath.diag(numbers(s)) if not domain.full else mpmath.matrix(s.tolist()) for s in (q[1], p[1])]
    a, b = spreads if domain.spread == "covariance" else [s * s.T for s in spreads]
    shift = mpmath.matrix(numbers(q[0])) - mpmath.matrix(numbers(p[0]))
    ratio = b**-1 * a
    trace = mpmath.fsum(ratio[i, i] for i in range(n))
    return (trace - n - mpmath.log(mpmath.det(ratio)) + (shift.T * b**-1 * shift)[0]) / 2


def error_of_divergence(subject: Pair, q: tuple[Tensor, ...], p: tuple[Tensor, ...]) -> float:
    """The largest relative error of torch in a row; an overflow of the true value may come back as infinity."""
    said = divergence(subject.distribution, subject.domain).divergence(*q, *p)
    lead = q[0].ndim - 1
    rows = zip(*(t.reshape(-1, *t.shape[lead:]) for t in (*q, *p)), strict=True)
    errors = []
    for value, row in zip(said.flatten(), rows, strict=True):
        true = true_divergence(subject.domain, list(row[:2]), list(row[2:]))
        overflow = true > torch.finfo(said.dtype).max and float(value) == math.inf
        errors.append(0.0 if overflow else relative(value, [true]))
    return max(errors)


def check_pair(name: str, dtype: torch.dtype, claim: Claim, seed: int, examples: int) -> None:
    subject = DIVERGENCES[name]
    known, inputs, report = judged(name, subject, claim, dtype, seed, examples)
    if known:
        # Far spreads and near arguments: 400 digits leave more than 50 of them correct.
        with mpmath.workdps(400):
            error = error_of_divergence(subject, *inputs)
        assert error > known.ulps * torch.finfo(dtype).eps, f"torch is off by {error} only\n{report}"


def enough(name: str, claim: Claim) -> int:
    """How many examples a law gets: an integral takes a tenth of a second, a failure must be found."""
    return 4 if source(claim) == "equals_the_certified_integral" else 400 if DIVERGENCES[name].failures else 8


@pytest.mark.parametrize(("name", "dtype", "claim"), cases(DIVERGENCES, Divergence))
def test_divergence(name: str, dtype: torch.dtype, claim: Claim, seed: int) -> None:
    check_pair(name, dtype, claim, seed, enough(name, claim))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype", "claim"), cases(DIVERGENCES, Divergence))
def test_divergence_at_length(name: str, dtype: torch.dtype, claim: Claim, seed: int) -> None:
    check_pair(name, dtype, claim, seed, 10 * enough(name, claim))


def test_a_wrong_transform_is_refuted_with_its_diagnosis() -> None:
    class Wrong(tt.ExpTransform):
        def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
            return -x

    claim = next(c for c in laws(Bijection) if source(c) == LOG_DET)
    evidence = verify(claim, bijection(Wrong()), settings=Settings(20))
    assert evidence.status is Status.REFUTED
    assert evidence.diagnosis == "the sign of the log-determinant is changed"


def test_a_cache_is_not_asked() -> None:
    cached = tt.ComposeTransform([tt.TanhTransform(cache_size=1), tt.AffineTransform(0.0, 2.0)], cache_size=1)
    x = torch.tensor([30.0])
    assert cached.inv(cached(x)) is x
    record = bijection(cached)
    assert record.inverse is not None
    assert torch.equal(record.inverse(record.forward(x)), torch.tensor([math.inf]))


@pytest.mark.parametrize(
    ("t", "shape", "dtype", "preserves"),
    [
        (tt.ExpTransform(), (), None, False),
        (tt.AffineTransform(torch.zeros(4), torch.ones(4)), (4,), torch.float32, True),
        (tt.AffineTransform(0.0, torch.ones(2, 1), event_dim=1), (2, 3), torch.float32, True),
        (tt.ReshapeTransform((2, 3), (6,)).inv, (6,), None, True),
        (tt.StackTransform([tt.ExpTransform(), tt.identity_transform], dim=-2), (2, 3), None, False),
        (tt.ComposeTransform([tt.AffineTransform(0.0, 2.0), tt.CorrCholeskyTransform()]), (3,), None, False),
        (tt.IndependentTransform(tt.AffineTransform(0.5, -1.0), 2), (3, 3), None, True),
    ],
)
def test_what_is_read_off_a_transform(
    t: Any, shape: tuple[int, ...], dtype: torch.dtype | None, preserves: bool
) -> None:
    record = bijection(t)
    assert (record.event_shape, record.dtype, record.volume_preserving) == (shape, dtype, preserves)


def test_intervals_are_those_of_the_constraints() -> None:
    assert bijection(tt.SigmoidTransform()).codomain == Interval(0.0, 1.0, 11.0)
    assert bijection(tt.TanhTransform().inv).domain == Interval(-1.0, 1.0, 11.0)
    assert bijection(tt.CumulativeDistributionTransform(Exponential(1.0))).domain == Interval(0.0, reach=10.0)
    assert bijection(tt.StickBreakingTransform()).codomain is None


@pytest.mark.parametrize(
    ("t", "message"),
    [
        (tt.ExpTransform, "must be a torch.distributions.Transform or a torch.nn.Module, got ExpTransform"),
        (tt.AbsTransform(), "must be bijective, but AbsTransform"),
        (tt.StickBreakingTransform().inv, "must have a box as its domain, got Simplex"),
        (tt.CatTransform([tt.ExpTransform()] * 2, dim=0, lengths=[1, 2]), "event_shape must be given"),
        (tt.ComposeTransform([tt.StickBreakingTransform(), tt.AffineTransform(0.0, 1.0)]), "number of coordinates"),
    ],
)
def test_transforms_that_cannot_be_judged_are_refused(t: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        bijection(t)


def test_adapt_takes_records_functions_and_objects_of_torch() -> None:
    record = bijection(tt.ExpTransform())
    assert adapt("bijection", record) is record
    assert adapt("bijection", tt.ExpTransform()).codomain == Interval(0.0, reach=10.0)
    assert adapt("divergence", Normal).domain == normals("std")
    assert adapt("divergence", (MultivariateNormal, MultivariateNormal)).domain == normals("covariance")
    kl = adapt("divergence", lambda *x: x[0])
    assert isinstance(kl, KINDS["divergence"])
    assert kl.domain == normals("log_variance")
    assert isinstance(adapt("smooth_max", lambda x, beta: x.amax(-1)), KINDS["smooth_max"])


@pytest.mark.parametrize(
    ("kind", "obj", "message"),
    [
        (
            "bijection",
            3,
            r"must be a Bijection; or .*; or a bijective torch.distributions.Transform, or .*; got an object of type int",
        ),
        ("bijection", math.exp, "got an object of type builtin_function_or_method"),
        ("divergence", torch.distributions.Gamma, "must be torch.distributions.Normal, MultivariateNormal"),
        ("divergence", (Normal, MultivariateNormal), "must be torch.distributions.Normal, MultivariateNormal"),
        ("smooth_max", Normal, "must be a SmoothMax; or a function; got the class Normal"),
    ],
)
def test_adapt_says_what_came_and_what_is_recognised(kind: str, obj: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        adapt(kind, obj)


def test_a_kind_is_known_by_the_function_that_checks_it() -> None:
    assert {"bijection", "divergence", "smooth_max"} <= set(KINDS)
    assert len(KINDS) == len(set(KINDS))
    assert all(dataclasses.is_dataclass(KINDS[kind]) for kind in KINDS)
    with pytest.raises(ValueError, match=r"kind must be one of .*bijection, .*, got 'flow'"):
        adapt("flow", None)


def test_a_function_of_a_mean_and_a_spread_is_a_divergence_with_its_domain() -> None:
    with pytest.raises(TypeError, match="function with a domain"):
        divergence(lambda mean, std: Normal(mean, std))
    record = divergence(lambda mean, std: torch.distributions.Independent(Normal(mean, std), 1), normals("std"))
    q, p = (torch.zeros(2), torch.ones(2)), (torch.ones(2), torch.ones(2))
    # Two coordinates, means one standard deviation apart.
    assert float(record.divergence(*q, *p)) == 1.0
