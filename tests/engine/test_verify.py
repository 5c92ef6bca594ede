"""The engine: what counts as holding, as refuted, as vacuous, as skipped, as an error, and what a report says."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import time
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck import Refuted, Settings, check, verify
from mathcheck.engine.claim import Claim, claim, recording
from mathcheck.engine.evidence import Evidence, Status
from mathcheck.engine.residual import Ball, Kind, Residual, Undecided, close, exactly
from mathcheck.engine.strategies import Interval, tensors


@dataclasses.dataclass(frozen=True)
class Square:
    """A toy kind: something that ought to square its argument."""

    square: Callable[[Tensor], Tensor]


def _vectors(subject: Square, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor]]:
    return st.tuples(tensors((2,), dtype, Interval(reach=10.0)))


MUTANTS = {
    "it is doubled": lambda s: Square(lambda x: 2 * s.square(x)),
    "it is halved": lambda s: Square(lambda x: s.square(x) / 2),
}


@claim(given=_vectors, mutants=MUTANTS)
def squares(subject: Square, x: Tensor) -> Iterator[Residual]:
    r"""The square is the square: $f(x) = x^2$.

    Error bound: 8 roundings.
    """
    yield close(subject.square(x), x.double().square().to(x.dtype), what="f(x)")


RIGHT = Square(lambda x: x * x)


def judge(function: Callable[[Tensor], Tensor], law: Claim = squares, **options: object) -> Evidence:
    return verify(law, Square(function), **options)  # type: ignore[arg-type]


def test_a_right_subject_holds() -> None:
    evidence = verify(squares, RIGHT)
    assert evidence.status is Status.HOLDS
    assert evidence.kinds == (Kind.NUMERICAL,)
    assert evidence.mutants == {"it is doubled": "refuted", "it is halved": "refuted"}
    assert evidence.examples >= 100
    assert evidence.compared >= 100
    assert not evidence.proved


def test_a_wrong_subject_is_refuted_with_a_minimal_input_and_a_diagnosis() -> None:
    evidence = judge(lambda x: 2 * x * x)
    assert evidence.status is Status.REFUTED
    assert evidence.diagnosis == "it is halved"
    assert evidence.counterexample is not None
    values = eval(evidence.counterexample.inputs["x"], {"torch": torch})
    assert sorted(values.abs().tolist()) in ([0.0, 0.5], [0.0, 1.0])


def test_the_same_seed_gives_the_same_verdict() -> None:
    wrong = lambda x: torch.where(x > 3.3, x * x + 1e-3, x * x)  # noqa: E731
    first, second = (judge(wrong, settings=Settings(seed=7)) for _ in range(2))
    assert first.counterexample == second.counterexample
    assert first.examples == second.examples


def test_the_snippet_reproduces_the_failure() -> None:
    evidence = judge(lambda x: -x * x, origin="subject = Square(lambda x: -x * x)")
    assert evidence.counterexample is not None
    code = "import torch\nsubject = Square(lambda x: -x * x)\n" + f"inputs = ({evidence.counterexample.inputs['x']},)\n"
    code += "print(*law.residuals(subject, *inputs), sep='\\n')"
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {"Square": Square, "law": squares})
    assert "Residual(error=" in out.getvalue()
    assert evidence.reproduce is not None
    compile(evidence.reproduce, "<snippet>", "exec")
    assert evidence.counterexample.inputs["x"] in evidence.reproduce


def test_nan_refutes() -> None:
    assert judge(lambda x: x * x * math.nan).status is Status.REFUTED


def test_the_search_climbs_to_a_rare_failure() -> None:
    """The ratio grows towards 9.5; a uniform search of this size would rarely meet the failing sliver."""
    almost = lambda x: x * x * (1 + 1e-15 * torch.relu(x.abs() - 9))  # noqa: E731
    assert judge(almost).worst >= 0.1


@claim(given=_vectors)
def compares_nothing(subject: Square, x: Tensor) -> Iterator[Residual]:
    r"""Nothing: $0$.

    Error bound: none.
    """
    yield from ()


@claim(given=_vectors)
def compares_without_a_bound(subject: Square, x: Tensor) -> Iterator[Residual]:
    r"""Anything: $\infty$.

    Error bound: none.
    """
    yield close(subject.square(x), Ball(x, torch.full_like(x, math.inf), kind=Kind.NUMERICAL))


@pytest.mark.parametrize("law", [compares_nothing, compares_without_a_bound])
def test_comparing_nothing_is_not_passing(law: Claim) -> None:
    assert verify(law, RIGHT).status is Status.SKIPPED
    with pytest.raises(Refuted, match="NOTHING COMPARED"):
        check(RIGHT, [law])


def test_a_missing_function_skips() -> None:
    def missing(x: Tensor) -> Tensor:
        raise NotImplementedError("no square here")

    evidence = judge(missing)
    assert evidence.status is Status.SKIPPED
    assert evidence.reason == "no square here"


def test_an_undecided_oracle_skips() -> None:
    @claim(given=_vectors)
    def undecided(subject: Square, x: Tensor) -> Iterator[Residual]:
        raise Undecided("the solver gave up")
        yield

    assert verify(undecided, RIGHT).status is Status.SKIPPED


def test_a_surviving_mutant_makes_the_verdict_vacuous() -> None:
    def blind(subject: Square, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor]]:
        return st.just((torch.zeros(2, dtype=dtype),))

    evidence = verify(dataclasses.replace(squares, given=blind), RIGHT, settings=Settings(accuracy="full"))
    assert evidence.status is Status.VACUOUS
    assert "it also passes when it is doubled" in str(evidence)
    # Of somebody's own subject it is said that nothing can be told: at 0 the doubled square is the square.
    evidence = verify(dataclasses.replace(squares, given=blind), RIGHT)
    assert evidence.status is Status.SKIPPED
    assert evidence.blind_to == ["it is doubled", "it is halved"]
    with pytest.raises(Refuted, match="NOTHING COMPARED"):
        check(RIGHT, [dataclasses.replace(squares, given=blind)])


def test_a_law_that_sees_no_wrong_version_is_vacuous() -> None:
    def nothing(subject: Square, x: Tensor) -> Iterator[Residual]:
        subject.square(x)
        yield exactly(1, 1)

    evidence = verify(dataclasses.replace(squares, check=nothing), RIGHT)
    assert evidence.status is Status.VACUOUS
    with pytest.raises(Refuted, match="VACUOUS"):
        check(RIGHT, [dataclasses.replace(squares, check=nothing)])


def test_a_mutant_that_crashes_is_not_refuted() -> None:
    def crash(subject: Square) -> Square:
        return Square(lambda x: x.reshape(17))

    law = dataclasses.replace(squares, mutants={"it crashes": crash})
    assert verify(law, RIGHT).mutants == {"it crashes": "crashed"}
    with pytest.raises(Refuted):
        dataclasses.replace(law, reference=RIGHT).refutes("it crashes")


def test_a_mutant_that_does_not_apply_says_so() -> None:
    def never(subject: Square) -> Square:
        raise NotImplementedError

    assert verify(dataclasses.replace(squares, mutants={"never": never}), RIGHT).mutants == {"never": "not applicable"}


def _mutates(x: Tensor) -> Tensor:
    y = x * x
    x += 1
    return y


def _seeds(x: Tensor) -> Tensor:
    torch.manual_seed(0)
    return x * x


def _changes_dtype(x: Tensor) -> Tensor:
    torch.set_default_dtype(torch.float64)
    return x * x


def _disables_grad(x: Tensor) -> Tensor:
    torch.set_grad_enabled(False)
    return x * x


def _hangs(x: Tensor) -> Tensor:
    time.sleep(60)
    return x * x


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (_mutates, "changed its input"),
        (_seeds, "changed torch's random seed"),
        (_changes_dtype, "changed torch's default dtype"),
        (_disables_grad, "changed torch's grad mode"),
        (lambda x: x.nonsense(), "raised AttributeError"),
        (lambda x: x.reshape(17), "raised RuntimeError"),
        (_hangs, "did not return within 1 s by the clock"),
        (
            lambda x: torch.rand(2, dtype=x.dtype) * 0 + x * x + (1 if time.perf_counter_ns() % 2 else 0),
            "different answers",
        ),
    ],
)
def test_a_subject_that_misbehaves_is_reported(function: Callable[[Tensor], Tensor], complaint: str) -> None:
    before = torch.get_default_dtype(), torch.is_grad_enabled(), torch.random.get_rng_state()
    evidence = judge(function, settings=Settings(timeout=0.1))
    assert evidence.status in (Status.ERROR, Status.REFUTED)
    assert complaint in str(evidence.reason) or evidence.status is Status.REFUTED
    if complaint != "different answers":
        assert evidence.status is Status.ERROR
    assert before[:2] == (torch.get_default_dtype(), torch.is_grad_enabled())
    assert torch.equal(before[2], torch.random.get_rng_state())


def test_what_a_subject_prints_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    def noisy(x: Tensor) -> Tensor:
        print("squaring", x)
        return x * x

    assert judge(noisy).status is Status.HOLDS
    assert capsys.readouterr().out == ""


def test_a_broken_check_is_an_error_and_not_a_verdict_on_the_subject() -> None:
    @claim(given=_vectors)
    def broken(subject: Square, x: Tensor) -> Iterator[Residual]:
        yield close(subject.square(x), x[7])

    evidence = verify(broken, RIGHT)
    assert evidence.status is Status.ERROR
    assert "the check failed with IndexError" in str(evidence.reason)


@pytest.mark.parametrize("value", [lambda x: (x * x).sum(), lambda x: (x * x)[:1], lambda x: torch.zeros(3, 2)])
def test_a_wrong_shape_is_refuted_by_comparison(value: Callable[[Tensor], Tensor]) -> None:
    evidence = judge(value)
    assert evidence.status is Status.REFUTED
    assert "the shape of" in str(evidence)


def test_check_returns_the_evidence_or_raises() -> None:
    assert [e.status for e in check(RIGHT, [squares])] == [Status.HOLDS]
    with pytest.raises(Refuted, match="it holds once it is halved") as error:
        check(Square(lambda x: 2 * x * x), [squares])
    assert error.value.evidence[0].status is Status.REFUTED


def test_expected_failures_are_strict() -> None:
    wrong = Square(lambda x: x * x + 1)
    check(wrong, [squares], expected_failures={"squares": "it adds one"})
    with pytest.raises(Refuted, match="UNEXPECTED PASS"):
        check(RIGHT, [squares], expected_failures={"squares": "it adds one"})
    with pytest.raises(ValueError, match="expected_failures names 'cubes'"):
        check(RIGHT, [squares], expected_failures={"cubes": "no such law"})


def test_evidence_is_recorded_where_asked() -> None:
    with recording() as found:
        verify(squares, RIGHT)
        verify(squares, Square(lambda x: x))
    assert [e.status for e in found] == [Status.HOLDS, Status.REFUTED]


@pytest.mark.parametrize(
    "bad", [{"examples": 0}, {"timeout": 0.0}, {"timeout": math.nan}, {"budget": 0.0}, {"budget": math.inf}]
)
def test_settings_refuse_nonsense(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Settings(**bad)  # type: ignore[arg-type]


def test_float32_is_judged_as_float32() -> None:
    evidence = verify(squares, RIGHT, dtype=torch.float32)
    assert evidence.status is Status.HOLDS
    assert evidence.dtype == "float32"


def test_kinds_are_kept_apart() -> None:
    @claim(given=_vectors, mutants=MUTANTS)
    def mixed(subject: Square, x: Tensor) -> Iterator[Residual]:
        yield close(subject.square(x), Ball(x.double() ** 2, 1e-9, kind=Kind.ENCLOSED))
        yield close(subject.square(x), x * x)

    evidence = verify(mixed, RIGHT)
    assert evidence.kinds == (Kind.ENCLOSED, Kind.NUMERICAL)
    assert not evidence.proved
