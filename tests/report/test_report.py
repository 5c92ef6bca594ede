"""Reports: what a run adds up to, and that the files say the same as the terminal."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import stat
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from mathcheck.engine.claim import Settings
from mathcheck.engine.evidence import Counterexample, Evidence, Status
from mathcheck.engine.readable import readable, unicode_maths
from mathcheck.engine.residual import Kind, Residual
from mathcheck.report import bench, files, json_file, junit, terminal
from mathcheck.report.report import Report, Totals
from mathcheck.runner.proofs import StepResult
from mathcheck.runner.run import Options, Result, Task

HOLDS = Evidence(
    "linear.halves.half",
    "A half is a half",
    "A half is a half: $h(x) = x/2$",
    "right",
    Status.HOLDS,
    kinds=(Kind.EXACT, Kind.NUMERICAL),
    worst=0.034,
    compared=100,
    examples=1200,
    mutants={"doubled": "refuted", "halved": "not applicable"},
    seconds=1.25,
)
REFUTED = dataclasses.replace(
    HOLDS,
    status=Status.REFUTED,
    worst=math.inf,
    mutants={},
    diagnosis="it is halved",
    counterexample=Counterexample(
        {"x": "torch.tensor(1.)"}, Residual(math.nan, 0.0, Kind.EXACT, "a \x1b[31m", -math.inf, "(2, 3)")
    ),
)
VACUOUS = dataclasses.replace(HOLDS, status=Status.VACUOUS, mutants={"doubled": "survived", "halved": "refuted"})
CRASHED = dataclasses.replace(HOLDS, mutants={"doubled": "crashed", "halved": "refuted"})
SKIPPED = dataclasses.replace(HOLDS, status=Status.SKIPPED, kinds=(), mutants={}, reason="no inverse", examples=3)
ERROR = dataclasses.replace(HOLDS, status=Status.ERROR, kinds=(), mutants={}, reason="half raised ZeroDivisionError")
SAMPLED = dataclasses.replace(HOLDS, kinds=(Kind.STATISTICAL,), alpha=1e-6, detectable=0.0131, examples=20)
STEP = StepResult("linear.halves", "Step 1. Compare $x_1$", 12, (SAMPLED,))
FAILED = StepResult("linear.halves", "Step 2. Fail", 20, (), "proofs/linear/halves.md:21: ArithmeticError: no")


def result(
    evidence: Evidence, name: str = "linear.halves.half", *, strict: bool = True, seconds: float = 2.0
) -> Result:
    task = Task(name, name.rsplit(".", 1)[0], evidence.claim, evidence.title, strict=strict)
    return Result(task, evidence, seconds=seconds)


def steps(*results: StepResult) -> Result:
    return Result(Task("linear.halves", "linear.halves", "", "", proof="proofs/linear/halves.md"), steps=results)


def report(*results: Result, planned: int | None = None, interrupted: bool = False) -> Report:
    options = Options("cpu", Settings(seed=5))
    return Report(results, len(results) if planned is None else planned, options, seconds=74.2, interrupted=interrupted)


EVERY = report(
    result(HOLDS),
    result(REFUTED, "linear.halves.third"),
    result(VACUOUS, "flows.coupling.onto"),
    result(CRASHED, "flows.coupling.round_trip"),
    result(SKIPPED, "flows.coupling.inverse"),
    result(ERROR, "markov.chain.balance"),
    result(SAMPLED, "markov.sampler.law"),
    steps(STEP, FAILED),
)


def rendered(given: Report, width: int = 100, **options: bool) -> str:
    screen = Console(file=io.StringIO(), width=width, record=True, highlight=False)
    screen.print(terminal.table(given, width=width, **options))
    return screen.export_text()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (report(result(HOLDS)), 0),
        (report(result(HOLDS), result(SKIPPED)), 0),
        (report(steps(STEP)), 0),
        (report(result(HOLDS), result(REFUTED)), 1),
        (report(result(VACUOUS)), 1),
        (report(result(ERROR)), 1),
        (report(result(CRASHED)), 1),
        (report(result(CRASHED, strict=False)), 0),
        (report(result(HOLDS), steps(STEP, FAILED)), 1),
        (report(steps(dataclasses.replace(STEP, evidence=(REFUTED,)))), 1),
        (report(result(HOLDS), interrupted=True), 2),
        (report(result(REFUTED), interrupted=True), 2),
        (report(), 5),
        (report(result(SKIPPED)), 5),
    ],
)
def test_exit_codes(given: Report, code: int) -> None:
    assert given.exit_code == code


def test_totals() -> None:
    totals = Totals.of([result(HOLDS), result(VACUOUS), result(SKIPPED), steps(STEP, FAILED)])
    assert dict(totals.claims) == {Status.HOLDS: 1, Status.VACUOUS: 1, Status.SKIPPED: 1}
    assert (totals.failed, totals.refuted, totals.mutants, totals.held, totals.steps) == (2, 2, 3, 1, 2)
    assert totals.kinds == (Kind.EXACT, Kind.NUMERICAL)
    assert (totals.worst, totals.inputs) == (0.034, 2403)


def test_the_ledger_bounds_the_false_alarms_by_the_inputs_tried() -> None:
    refutes = dataclasses.replace(SAMPLED, claim="linear.halves.half:refutes")
    given = report(result(HOLDS), result(SAMPLED), steps(STEP, dataclasses.replace(STEP, evidence=(refutes,))))
    assert [(spent.claim, spent.total) for spent in given.ledger] == [
        ("linear.halves.half", pytest.approx(2e-5, rel=1e-12)),
        ("linear.halves: Step 1. Compare $x_1$", pytest.approx(2e-5, rel=1e-12)),
    ]
    greedy = report(result(dataclasses.replace(SAMPLED, alpha=0.5)))
    assert greedy.ledger[0].total == 1.0


# The terminal


def test_closing_lines() -> None:
    assert terminal.closing(report(result(HOLDS), steps(STEP))) == (
        "1 derivation holds: 1 claim, 1 mutant refuted, 1 proof step, 0 vacuous; alpha spent 2e-5 of 1e-4; 74 s"
    )
    assert terminal.closing(EVERY) == (
        "3 of 4 derivations fail: 3 of 7 claims hold, 1 refuted, 1 error, 1 skipped, 4 of 6 mutants refuted, "
        "1 of 2 proof steps hold, 1 vacuous; alpha spent 4e-5 of 1e-4; 74 s"
    )
    assert terminal.closing(report(result(HOLDS), planned=9, interrupted=True)) == (
        "interrupted after 1 of 9; so far 1 derivation holds: 1 claim, 1 mutant refuted, 0 vacuous; 74 s"
    )
    assert terminal.closing(report()) == "nothing was checked: 0 claims, 0 mutants refuted, 0 vacuous; 74 s"


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_table_fits(width: int) -> None:
    for options in ({}, {"quiet": True}, {"verbose": True}):
        text = rendered(EVERY, width, **options)
        assert max(len(line.rstrip()) for line in text.splitlines()) <= min(width, terminal.WIDEST)


def test_the_rows_say_what_was_found() -> None:
    rows = {" ".join(line.split()) for line in rendered(EVERY).splitlines()}
    assert "✓ A half is a half exact, 0.034 1,200 1/1 2.0 s" in rows
    assert "✗ A half is a half REFUTED ∞ 1,200 2.0 s" in rows
    assert "✗ A half is a half VACUOUS 0.034 1,200 1/2 2.0 s" in rows
    assert "– A half is a half skipped 3 2.0 s" in rows
    assert "✗ A half is a half ERROR 1,200 2.0 s" in rows
    assert "would have caught an error of 0.013 (alpha 1e-6)" in rows
    assert "✗ linear/halves 2 claims proof 1/2 exact, ∞ 2,400 1/1 4.0 s" in rows


def test_quiet_rows() -> None:
    rows = [" ".join(line.split()) for line in rendered(EVERY, quiet=True).splitlines()]
    assert "✗ linear/halves 2 claims exact, numerical ∞ 2,400 1/1 1/2 4.0 s" in rows
    assert len([row for row in rows if row]) == 1 + len(EVERY.derivations)


def test_failures_in_full() -> None:
    texts = terminal.failures(EVERY)
    assert len(texts) == 5
    assert "again       mathcheck verify linear.halves.third --seed 0 --dtype float64" in texts[0]
    assert "it holds once it is halved" in texts[0]
    assert texts[2].startswith("UNREFUTED ")
    assert "mutant      crashed, not refuted: doubled" in texts[2]
    assert texts[4].endswith("proofs/linear/halves.md:21: ArithmeticError: no")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (0.114, "0.11"),
        (3.14e-5, "3.1e-5"),
        (1e-4, "1e-4"),
        (99.9, "100"),
        (150, "150"),
        (123456, "1.2e5"),
        (math.inf, "∞"),
        (9.96e-4, "0.001"),
    ],
)
def test_two_significant_digits(number: float, text: str) -> None:
    assert terminal.short(number) == text


# Files


def test_json_round_trip_with_infinities(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    json_file.write(EVERY, path)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    raw = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert raw["claims"][1]["worst"] == "inf"
    content = json_file.read(path)
    third = content["claims"][1]
    residual = third["counterexample"]["residual"]
    assert third["worst"] == math.inf
    assert math.isnan(residual["error"])
    assert residual["actual"] == -math.inf
    assert residual["expected"] == "(2, 3)"
    assert third["counterexample"]["inputs"] == {"x": "torch.tensor(1.)"}
    assert third["reproduce"] == REFUTED.reproduce
    assert content["claims"][0]["mutants"] == HOLDS.mutants
    assert [claim["failed"] for claim in content["claims"]] == [False, True, True, True, False, True, False]
    assert content["proof_steps"][1]["error"] == FAILED.error
    assert content["alpha_ledger"][0]["spent"] == pytest.approx(2e-5, rel=1e-12)
    assert (content["seed"], content["exit_code"], content["interrupted"]) == (5, 1, False)
    assert content["summary"]["claims"] == {"holds": 3, "refuted": 1, "vacuous": 1, "skipped": 1, "error": 1}


def test_json_members_are_those_documented() -> None:
    documented = json_file.__doc__ or ""
    for member in json_file.as_json(EVERY):
        assert f"`{member}`" in documented


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not JSON"), ("[]", "has the schema None"), ('{"schema": "mathcheck-report/2"}', "mathcheck-report/2")],
)
def test_read_refuses_what_it_does_not_know(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        json_file.read(tmp_path / "a.json")


def test_junit_passes_what_is_inaccurate_and_says_so() -> None:
    lossy = dataclasses.replace(
        REFUTED, status=Status.INACCURATE, digits=3.7, diagnosis=None, remedy="use mathcheck.f", mutants={}
    )
    suite = junit.as_xml(report(result(lossy, strict=False), result(HOLDS, "linear.halves.third", strict=False)))
    assert suite.get("failures") == suite.get("errors") == suite.get("skipped") == "0"
    said, held = (case.findtext("system-out") or "" for case in suite.iter("testcase"))
    assert said.startswith("INACCURATE A half is a half")
    assert "digits      3 are left here" in said
    assert "remedy      to keep the digits, use mathcheck.f" in said
    assert held.startswith("HOLDS    A half is a half")
    assert json_file.as_json(report(result(lossy, strict=False)))["claims"][0]["remedy"] == "use mathcheck.f"


def test_junit_counts_and_verdicts(tmp_path: Path) -> None:
    junit.write(EVERY, tmp_path / "a.xml")
    root = ElementTree.parse(tmp_path / "a.xml").getroot()
    assert (root.get("tests"), root.get("failures"), root.get("errors"), root.get("skipped")) == ("9", "4", "1", "1")
    suite = root.find("testsuite[@name='linear.halves']")
    assert suite is not None
    assert suite.get("tests") == "4"
    cases = {case.get("name"): case for case in suite}
    failure = cases["third"].find("failure")
    assert failure is not None
    assert failure.get("message") == "refuted: A half is a half"
    assert "it holds once it is halved" in (failure.text or "")
    assert cases["half"].find("failure") is None
    step = cases["proof: Step 2. Fail"].find("failure")
    assert step is not None
    assert step.text == FAILED.error


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    files.write_whole(path, "old")

    def fail(source: str, target: Path) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="the disk is full"):
        files.write_whole(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_file_is_as_readable_as_others(tmp_path: Path) -> None:
    files.write_whole(tmp_path / "a.json", "text")
    (tmp_path / "other").write_text("text")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.json", "other")]
    assert modes[0] == modes[1]


def test_checking_a_path_leaves_nothing_behind(tmp_path: Path) -> None:
    files.check_writable(tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="cannot write"):
        files.check_writable(tmp_path / "missing" / "a.json")


# Formulas


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\mathrm{KL}(q\,\|\,p) \ge 0", "KL(q ‖ p) ≥ 0"),
        (r"\tfrac12 x^{-1} + \frac{a+b}{\sigma^2}", "1/2 x⁻¹ + (a+b)/σ²"),
        (r"\lVert x_i\rVert_2^2 \le \sqrt{n}", "‖xᵢ‖₂² ≤ √n"),
        (r"\sum_{i=1}^n \log x_i", "∑ᵢ₌₁ⁿ log xᵢ"),
        (r"2\log x = \log\frac{p(x)}{q(x)}", "2 log x = log(p(x)/q(x))"),
        (r"e^{s(x_\Omega)}", "e^(s(x_Ω))"),
        (r"\mathbb{E}_{x\sim q}\left[f'(x)\right]", "𝔼_(x∼q)[f′(x)]"),
        (r"\hat\theta \in \mathbb R^{d}", "θ̂ ∈ ℝᵈ"),
        (r"\begin{aligned} a &= b \\ &= c \end{aligned}", "a = b\n= c"),
        (r"\begin{pmatrix} 1 & 0 \\ x & 1 \end{pmatrix}", "(1, 0; x, 1)"),
        (r"\big(\begin{smallmatrix}1-a & a\\ b & 1\end{smallmatrix}\big)", "(1-a, a; b, 1)"),
        (r"\begin{cases} x & \text{if } x > 0, \\ 0 & \text{otherwise} \end{cases}", "{x if x > 0; 0 otherwise}"),
        (r"\{x : \lvert x\rvert < 1\}", "{x : |x| < 1}"),
        (r"y = \underbrace{a + b_i}_{\text{the bound}} + c", "y = (a + bᵢ) [= the bound] + c"),
        (r"\underbrace{f(x)}_{y} - \overbrace{z}", "f(x) [= y] - z"),
        (r"p(\cdot \mid x) = \lVert z \rVert ,", "p(· | x) = ‖z‖,"),
        (r"\frac{(x-\mu)^2}{2\sigma^2} \cdot \frac1{2t(t + 1)}", "(x-μ)²/(2σ²) · 1/(2t(t + 1))"),
        (r"\frac{\partial f}{\partial x_i} = \frac{p(x)}{q(y \mid p(x))}", "∂f/∂xᵢ = p(x)/q(y | p(x))"),
        (r"\sqrt{pq} + \sqrt2\sqrt{x_i}", "√(pq) + √2√xᵢ"),
        (r"x \gets \ln^2\frac ab\sum_i\det\partial f", "x ← ln²(a/b) ∑ᵢ det ∂f"),
        (r"\mu + \Sigma a - \mu", "μ + Σa - μ"),
        (r"\unknown{x}", r"\unknownx"),
        ("{unbalanced", "unbalanced"),
        ("x^", "x^()"),
    ],
)
def test_formulas_are_set_in_unicode(latex: str, text: str) -> None:
    assert unicode_maths(latex) == text


def test_only_formulas_are_set() -> None:
    assert readable(r"costs \$5, $x_1$ and $`x_2`$: $$x_3$$ \le") == r"costs \$5, x₁ and x₂: x₃ \le"


def test_pages_are_made_from_a_report(tmp_path: Path) -> None:
    from mathcheck.report import pages

    proof = tmp_path / "proofs" / "toy" / "halves.md"
    proof.parent.mkdir(parents=True)
    proof.write_text("# Halving\n\n## What the notes say\n\nThey say a third.\n\n```python\nx\n```\n\n## Step 1. Go\n")
    (tmp_path / "README.md").write_text(
        "before\n" + "".join(f"{'STALE'.join(pages.marks(name))}\nafter\n" for name in ("derivations", "self-test"))
    )
    claim = {
        "derivation": "toy.halves",
        "status": "holds",
        "kinds": ["exact"],
        "mutants": {"a": "refuted", "b": "not applicable"},
    }
    step = {"proof": "toy.halves", "holds": True, "evidence": [{"kinds": ["enclosed"]}]}
    report = {
        "claims": [claim],
        "proof_steps": [step],
        "torch": "2",
        "dtype": "float64",
        "seed": 0,
        "summary": {"claims": {"holds": 1}, "mutants_refuted": 1, "proof_steps_held": 1},
    }
    pages.write(report, {"self-test": "| kind |"}, {"toy.halves": proof}, tmp_path)
    readme = (tmp_path / "README.md").read_text()
    assert "| Halving | [toy/halves](../proofs/toy/halves.md) | 1 | exact, enclosed | 1 of 1 | 1 of 1 |" in readme
    assert readme.startswith("before\n")
    assert readme.endswith("after\n")
    assert "STALE" not in readme
    page = (tmp_path / "proofs" / "README.md").read_text()
    assert "They say a third." in page
    assert "```" not in page
    with pytest.raises(ValueError, match="marks"):
        pages.replace_between(proof, "derivations", "text")


def test_what_verdicts_cost_stands_side_by_side(tmp_path: Path) -> None:
    runs = []
    for version, seconds in (("0.1.0", {"a flow": 97.3}), ("0.2.0", {"a flow": 6.61, "an image": 12.0})):
        benchmarks = [
            {"params": {"case": case}, "stats": {"median": cost}, "extra_info": {"version": version}}
            for case, cost in seconds.items()
        ]
        runs.append(tmp_path / f"{version}.json")
        runs[-1].write_text(json.dumps({"benchmarks": benchmarks}))
    table = bench.verdicts(runs).splitlines()
    assert table[:2] == ["| judged, every law | 0.1.0 | 0.2.0 |", "| --- | --- | --- |"]
    assert table[2:4] == ["| a flow | 97 | 6.6 |", "| an image |  | 12 |"]
    runs[0].write_text("{}")
    with pytest.raises(ValueError, match=r"0\.1\.0\.json must be what the benchmark of verdicts wrote"):
        bench.verdicts(runs)
