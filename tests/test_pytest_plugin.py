"""The pytest plugin, as somebody's own test suite meets it."""

from __future__ import annotations

import pytest

import mathcheck
from mathcheck import Bijection

pytest_plugins = ["pytester"]

SUITE = """
import torch
import mathcheck
from mathcheck import Bijection, check_bijection

def scaling(sign):
    scale = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    return Bijection(lambda x: x * scale.exp(), lambda y: y * (-scale).exp(),
                     lambda x: sign * scale.sum().expand(x.shape[0]), (3,))
"""
LAWS = (
    SUITE
    + """
@mathcheck.parametrize(
    {"right": scaling(1), "wrong": scaling(-1)},
    expected_failures=KNOWN,
)
def test_flow(subject, law):
    law(subject)
"""
)


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider -p no:randomly --benchmark-disable")
    return pytester


def test_one_test_for_each_law_of_each_subject(suite: pytest.Pytester) -> None:
    suite.makepyfile(LAWS.replace("KNOWN", "None"))
    result = suite.runpytest("-v", "--mathcheck-examples=10")
    laws = {claim.check.__name__ for claim in mathcheck.engine.claim.laws(Bijection)}
    outcomes = result.parseoutcomes()
    assert outcomes["failed"] == 1
    assert sum(outcomes.get(name, 0) for name in ("passed", "failed", "skipped")) == 2 * len(laws)
    result.stdout.fnmatch_lines(["*test_flow?right-log_det_is_that_of_the_jacobian? PASSED*"])
    result.stdout.fnmatch_lines(["*test_flow?wrong-log_det_is_that_of_the_jacobian? FAILED*"])
    result.stdout.fnmatch_lines(["*REFUTED*", "*diagnosis   it holds once the sign of the log-determinant is changed*"])
    # Neither the frames of the package nor its source are shown.
    assert "claim.py" not in result.stdout.str()
    assert "def verify" not in result.stdout.str()


def test_expected_failures_are_strict(suite: pytest.Pytester) -> None:
    known = "{'wrong': {'log_det_is_that_of_the_jacobian': 'the sign'}, 'right': {'inverse_undoes_forward': 'none'}}"
    suite.makepyfile(LAWS.replace("KNOWN", known))
    result = suite.runpytest("-v", "--mathcheck-examples=10")
    assert result.parseoutcomes()["xfailed"] == 1
    result.stdout.fnmatch_lines(["*test_flow?right-inverse_undoes_forward? FAILED*"])
    assert result.parseoutcomes()["failed"] == 1


def test_a_law_that_compares_nothing_is_skipped_with_its_reason(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        SUITE
        + """
def missing(*x):
    raise NotImplementedError("no inverse here")

@mathcheck.parametrize({"flow": Bijection(lambda x: 2 * x, missing, missing, (1,))})
def test_flow(subject, law):
    law(subject)
"""
    )
    result = suite.runpytest("-rs", "--mathcheck-examples=5")
    result.stdout.fnmatch_lines(["SKIPPED*no inverse here*"])


def test_the_command_line_goes_before_the_tests_own_settings(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        SUITE
        + """
from mathcheck import Settings

def test_flow():
    for evidence in check_bijection(scaling(1), settings=Settings(examples=3, seed=1)):
        print("evidence", evidence.examples, evidence.seed)
"""
    )
    result = suite.runpytest("-s", "--mathcheck-examples=7", "--mathcheck-seed=5")
    result.stdout.fnmatch_lines(["mathcheck: examples 7, seed 5", "*evidence 7 5"])
    result = suite.runpytest("-s")
    result.stdout.fnmatch_lines(["*evidence 3 1"])
    assert "mathcheck: examples" not in result.stdout.str()


def test_dtypes_and_library_objects(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        SUITE
        + """
@mathcheck.parametrize({"exp": torch.distributions.ExpTransform()}, kind="bijection",
                       dtypes=[torch.float32, torch.float64])
def test_flow(subject, law):
    law(subject)
"""
    )
    result = suite.runpytest("-v", "--mathcheck-examples=5", "-k", "inverse_undoes")
    result.stdout.fnmatch_lines(["*exp-inverse_undoes_forward-float32*", "*exp-inverse_undoes_forward-float64*"])
    result.assert_outcomes(passed=2, deselected=result.parseoutcomes()["deselected"])


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--mathcheck-examples=0", "at least 1, got '0'"),
        ("--mathcheck-seed=x", "at least 0, got 'x'"),
    ],
)
def test_bad_options_are_refused(suite: pytest.Pytester, option: str, said: str) -> None:
    result = suite.runpytest(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()


def test_bad_subjects_are_refused_by_name() -> None:
    flow = Bijection(lambda x: x, lambda y: y, lambda x: x[:, 0] * 0, (1,))
    with pytest.raises(TypeError, match="subjects must be a mapping"):
        mathcheck.parametrize([flow])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one subject"):
        mathcheck.parametrize({})
    with pytest.raises(TypeError, match=r"subjects\['f'\] must be a record of functions, got builtin"):
        mathcheck.parametrize({"f": len})
    with pytest.raises(ValueError, match="the subject 'other'"):
        mathcheck.parametrize({"flow": flow}, expected_failures={"other": {}})
    with pytest.raises(ValueError, match="the law 'onto' of 'flow'"):
        mathcheck.parametrize({"flow": flow}, expected_failures={"flow": {"onto": "it is not"}})


def test_loading_the_plugin_loads_nothing_heavy() -> None:
    import subprocess
    import sys

    code = "import mathcheck.pytest_plugin, sys; print([m for m in ('torch', 'sympy', 'scipy') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
