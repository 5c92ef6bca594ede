"""The command line, on a catalogue of halves."""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import toy_catalogue as toy
from click.testing import CliRunner, Result

from mathcheck.adapters.target import TargetError, load
from mathcheck.cli import main
from mathcheck.engine.claim import Settings
from mathcheck.engine.evidence import Status
from mathcheck.runner import catalogue, index, run

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, *toy.GOOD)
    monkeypatch.setattr(index, "proofs", dict)


def use(monkeypatch: pytest.MonkeyPatch, *entries: catalogue.Entry) -> None:
    monkeypatch.setattr(catalogue, "entries", lambda *names: entries)


def entries(*names: str) -> list[catalogue.Entry]:
    return [entry for entry in toy.EVERYTHING if entry.name.rsplit(".", 1)[-1] in names]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("arguments", [["--help"], ["verify", "--help"], ["--version"], ["show", "-h"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from mathcheck.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as leave: assert leave.code == 0, leave.code\n"
        "heavy = {'torch', 'hypothesis', 'rich', 'numpy', 'sympy', 'scipy', 'z3', 'flint', 'markdown_it'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"


# Exit codes


def test_exit_0_and_the_closing_line_when_all_holds() -> None:
    result = invoke("verify")
    assert result.exit_code == 0
    closing = result.stdout.splitlines()[-1]
    assert re.fullmatch(
        r"2 derivations hold: 3 claims, 3 mutants refuted, 0 vacuous; alpha spent 5e-6 of 1e-4; .+ s", closing
    )
    assert "would have caught an error of 0.013 (alpha 1e-6)" in " ".join(result.stdout.split())
    assert "right: Two halves make a whole" in result.stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("refuted", "it holds once it is multiplied by 3/2"),
        ("vacuous", "it also passes when nothing changes"),
        ("crashing_mutant", "crashed, not refuted: it explodes"),
        ("broken", "LookupError: there is no domain"),
    ],
)
def test_exit_1_and_the_reason_in_full_when_a_claim_fails(
    monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    use(monkeypatch, *toy.GOOD, *entries(name))
    result = invoke("verify")
    assert result.exit_code == 1
    assert said in result.stdout
    assert f"again       mathcheck verify markov.wrong.{name} --seed 0 --dtype float64" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("1 of 3 derivations fails: ")


def test_exit_1_and_file_and_line_when_a_proof_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paths = toy.write_proof(tmp_path, toy.BAD_PROOF)
    monkeypatch.setattr(index, "proofs", lambda: paths)
    result = invoke("verify")
    line = toy.BAD_PROOF.splitlines().index("raise ArithmeticError('no')") + 1
    assert result.exit_code == 1
    assert f"{paths['linear.halves']}:{line}: ArithmeticError: no" in result.stdout
    assert "1 of 2 proof steps hold" in result.stdout
    assert "proof 1/2" in result.stdout
    assert invoke("verify", "--no-proofs").exit_code == 0
    toy.write_proof(tmp_path)
    assert invoke("verify").exit_code == 0


def test_exit_2_and_everything_so_far_when_interrupted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use(monkeypatch, *toy.GOOD[:2], *entries("interrupts"), toy.GOOD[2])
    result = invoke("verify", "--json", str(tmp_path / "a.json"), "--junit", str(tmp_path / "a.xml"))
    assert result.exit_code == 2
    assert "A half is a half" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("interrupted after 2 of 4; so far 1 derivation holds: 2 claims, ")
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["interrupted"] is True
    assert [claim["name"] for claim in report["claims"]] == ["linear.halves.half", "linear.halves.right.two_halves"]
    assert (tmp_path / "a.xml").exists()


def test_exit_3_when_mathcheck_itself_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("the catalogue burns")

    monkeypatch.setattr(catalogue, "entries", fail)
    result = invoke("verify")
    assert result.exit_code == 3
    assert "internal error: RuntimeError: the catalogue burns" in result.stderr
    assert "Traceback" in result.stderr


def test_exit_3_when_two_entries_have_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, toy.GOOD[0], toy.GOOD[0])
    result = invoke("verify")
    assert result.exit_code == 3
    assert "two entries called 'linear.halves.half'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify", "halve"], "did you mean linear.halves or"),
        (["verify", "linear.halvse"], "did you mean linear.halves"),
        (["verify", "probability/samplr"], "did you mean probability.sampler"),
        (["verify", "zzzz"], "`mathcheck list` shows what there is"),
        (["list", "linear.halvse"], "did you mean linear.halves"),
        (["show", "linear.halves"], "no proof is about 'linear.halves'; `mathcheck list` shows what there is"),
        (["verify", "--dtype", "float16"], "float16"),
        (["verify", "--examples", "0"], "0 is not in the range"),
        (["verify", "--workers", "0"], "0 is not in the range"),
        (["verify", "--seed", "-1"], "-1 is not in the range"),
        (["verify", "--device", "meta"], "--device meta: torch cannot use it here"),
        (["verify", "--device", "nonsense"], "--device nonsense: torch cannot use it here"),
        (["verify", "-k", "not"], "does not read as words"),
        (["verify", "-k", "a or"], "does not read as words"),
        (["verify", "-v", "-q"], "exclude each other"),
        (["verify", "flows", "--as", "halver", "a:b"], "with --as, select laws with -k"),
        (["verify", "--as", "halver", "a:b", "--workers", "2"], "--as runs in one process"),
        (["verify", "--json", "/no/such/folder/a.json"], "cannot write /no/such/folder/a.json: No such file"),
        (["verify", "--junit", "/"], "cannot write /: it is a folder"),
        (["verify", "--json", "a", "--junit", "./a"], "the same file"),
        (["verify", "--nonsense"], "No such option"),
        (["nonsense"], "No such command"),
        ([], "Usage"),
    ],
)
def test_exit_4_and_a_line_of_help_on_wrong_usage(arguments: list[str], said: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 4, result.output
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_exit_4_without_the_device() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("here is a GPU")
    result = invoke("verify", "--device", "cuda")
    assert result.exit_code == 4
    assert "--device cuda: torch cannot use it here" in result.stderr


@pytest.mark.parametrize("arguments", [["-k", "nothing_has_this"], ["flows"]])
def test_exit_5_when_nothing_was_compared(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    use(monkeypatch, *toy.GOOD, *entries("odd"))
    result = invoke("verify", *arguments)
    assert result.exit_code == 5
    assert "nothing was checked" in result.stdout


def test_a_skipped_claim_is_said_beside_those_that_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, *toy.GOOD, *entries("odd"))
    result = invoke("verify")
    assert result.exit_code == 0
    assert "2 derivations hold, 1 not compared: 3 of 4 claims hold, 1 skipped," in result.stdout
    assert "the subject cannot negate" in result.stdout


# Selection


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("half", {"half"}),
        ("hal", {"half", "two_halves"}),
        ("HALVES right", {"two_halves"}),
        ("halves not right", {"half"}),
        ("halves and not right or sampler", {"half", "sampled"}),
        ("not not sampler", {"sampled"}),
        ("not linear", {"sampled"}),
    ],
)
def test_k_filters_by_words(text: str, names: set[str], tmp_path: Path) -> None:
    invoke("verify", "-k", text if text != "half" else ".half", "--json", str(tmp_path / "a.json"), "--examples", "1")
    claims = json.loads((tmp_path / "a.json").read_text())["claims"]
    assert {claim["name"].rsplit(".", 1)[-1] for claim in claims} == names


@pytest.mark.parametrize("name", ["linear", "linear/halves", "proofs/linear/halves.md", "mathcheck/linear/halves.py"])
def test_a_name_selects_a_topic_a_derivation_or_a_file(name: str) -> None:
    assert "1 derivation holds: 2 claims" in invoke("verify", name, "--examples", "5").stdout


def test_a_name_selects_one_claim() -> None:
    assert "1 derivation holds: 1 claim," in invoke("verify", "linear.halves.right.two_halves").stdout


def test_both_dtypes_are_told_apart(tmp_path: Path) -> None:
    result = invoke("verify", "linear.halves.half", "--dtype", "both", "--json", str(tmp_path / "a.json"))
    assert "A half is a half (float64)" in result.stdout
    assert "A half is a half (float32)" in result.stdout
    claims = json.loads((tmp_path / "a.json").read_text())["claims"]
    assert [claim["dtype"] for claim in claims] == ["float64", "float32"]


def test_examples_and_seed_reach_the_search(tmp_path: Path) -> None:
    invoke("verify", "linear.halves.half", "--examples", "7", "--seed", "3", "--json", str(tmp_path / "a.json"))
    claim = json.loads((tmp_path / "a.json").read_text())["claims"][0]
    assert (claim["examples"], claim["seed"]) == (7, 3)


def test_fail_fast_stops_at_the_first_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, *entries("refuted", "vacuous"))
    result = invoke("verify", "--fail-fast")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1].startswith("stopped after 1 of 2; so far 1 of 1 derivation fails: ")


# Output


def test_output_to_a_pipe_has_no_control_codes_and_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, *toy.GOOD, *entries("odd", "refuted", "vacuous"))
    few = ["--examples", "5"]
    for arguments in (["verify", *few], ["verify", "-v", *few], ["verify", "-q", *few], ["list", "-v"]):
        result = invoke(*arguments)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", result.output)
        body = result.stdout.split("\nREFUTED")[0].splitlines()
        assert max(map(len, body)) <= 100
        assert not any(line.endswith(" ") for line in body)


def test_marks_are_told_apart_without_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, *toy.GOOD[:2], *entries("refuted"))
    result = CliRunner(charset="ascii").invoke(main, ["verify", "-q", "--examples", "5"])
    assert result.exit_code == 1
    assert "+ linear/halves" in result.stdout
    assert "x markov/wrong" in result.stdout


def test_quiet_shows_derivations_only() -> None:
    result = invoke("verify", "-q")
    assert "linear/halves" in result.stdout
    assert "A half is a half" not in result.stdout
    assert "numerical, statistical" not in result.stdout
    assert result.stderr == ""


def test_verbose_shows_names_mutants_and_formulas() -> None:
    result = invoke("verify", "-v")
    assert "linear.halves.right.two_halves" in result.stdout
    assert "refuted   it is multiplied by 4" in result.stdout
    assert "h(x) = x/2" in result.stdout


def test_list_shows_claims_and_proofs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paths = toy.write_proof(tmp_path)
    monkeypatch.setattr(index, "proofs", lambda: paths)
    result = invoke("list", "linear")
    assert result.exit_code == 0
    assert str(paths["linear.halves"]) in result.stdout
    assert "A half is a half   linear.halves.half" in result.stdout
    assert "h(x) = x/2" in result.stdout
    assert "Two halves make a whole   two_halves" in result.stdout
    assert "sampler" not in result.stdout
    assert "wrong when it is multiplied by 4" in invoke("list", "linear", "-v").stdout


@pytest.mark.parametrize("name", ["linear.halves", "linear/halves.md", "linear", "linear.halves.half"])
def test_show_sets_a_proof_for_the_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    paths = toy.write_proof(tmp_path)
    monkeypatch.setattr(index, "proofs", lambda: paths)
    result = invoke("show", name)
    assert result.exit_code == 0
    assert "      h(x) = x/2\n" in result.stdout
    assert "Since h₁ is linear and x₁ * x₂ is not, code $stays$." in result.stdout
    assert "    def by_comparison(subject, x):\n        yield exactly(1, 1)\n" in result.stdout
    assert f"    # {'a long line ' * 12}".rstrip() + "\n" in result.stdout


def test_list_names_no_subject_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, toy.GOOD[1], toy.GOOD[0])
    assert "None" not in invoke("list", "linear").stdout


def test_list_without_a_name_shows_the_theorems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paths = toy.write_proof(tmp_path)
    monkeypatch.setattr(index, "proofs", lambda: paths)
    assert invoke("list").stdout.startswith("linear/halves  A half\n")
    assert "A half is a half" in invoke("list", "-v").stdout


def test_show_suggests_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paths = toy.write_proof(tmp_path)
    monkeypatch.setattr(index, "proofs", lambda: paths)
    result = invoke("show", "linear.halvse")
    assert result.exit_code == 4
    assert "no proof is about 'linear.halvse'; did you mean linear.halves" in result.stderr


PROOFS = index.proofs()


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("planar", ["flows.planar"]),
        ("flows/planar", ["flows.planar"]),
        ("proofs/flows/planar.md", ["flows.planar"]),
        ("elbo", ["inference.elbo"]),
        ("flows.planar.constraint_is_met", ["flows.planar"]),
        ("flows.planar.no_such_claim", []),
        ("constraint_is_met", ["flows.planar"]),
        ("on_unit_ball", ["convex.projection"]),
        ("smooth maximum", ["convex.smooth_max"]),
        ("KL", ["divergence.gaussian_kl", "divergence.nearest_neighbour_kl", "markov.kl_contraction"]),
        ("convex", [name for name in PROOFS if name.startswith("convex.")]),
        ("inverse_undoes_forward", ["flows.bijection"]),
        ("zzz", []),
        ("", []),
        ("(", []),
    ],
)
def test_the_proof_that_is_meant(monkeypatch: pytest.MonkeyPatch, said: str, meant: list[str]) -> None:
    monkeypatch.setattr(index, "proofs", lambda: PROOFS)
    assert list(index.proofs_about(said)) == meant


def test_show_lists_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "proofs", lambda: PROOFS)
    result = invoke("show", "KL")
    assert result.exit_code == 0
    assert "divergence/gaussian_kl " in result.stdout
    assert "KL fits these 3 proofs" in result.stdout


@pytest.mark.parametrize("arguments", [["list"], ["show", "planar"], ["show", "flows.planar.constraint_is_met"]])
def test_reading_imports_no_laws(arguments: list[str]) -> None:
    code = (
        "import sys; from mathcheck.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as leave: assert leave.code == 0, leave.code\n"
        "heavy = {'torch', 'hypothesis', 'numpy', 'sympy', 'scipy', 'z3', 'flint'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"


# Workers


def test_workers_find_the_same_in_the_same_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use(monkeypatch, *toy.GOOD, *entries("kills", "refuted"))
    monkeypatch.setattr(run, "_start_worker", toy.start_worker)
    result = invoke("verify", "--workers", "2", "--examples", "20", "--json", str(tmp_path / "a.json"))
    assert result.exit_code == 1
    claims = json.loads((tmp_path / "a.json").read_text())["claims"]
    assert [(claim["name"].rsplit(".", 1)[-1], claim["status"]) for claim in claims] == [
        ("half", "holds"),
        ("two_halves", "holds"),
        ("kills", "error"),
        ("sampled", "holds"),
        ("refuted", "refuted"),
    ]
    assert claims[2]["reason"] == run.DIED
    alone = run.perform(run.tasks(lambda name: name.endswith("refuted"))[0], run.Options("cpu", Settings(20))).evidence
    assert alone is not None
    assert claims[4]["counterexample"]["inputs"] == alone.counterexample.inputs


def test_an_interrupt_stops_the_workers_silently(tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text(
        "import sys, time\n"
        f"sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\n"
        "import toy_catalogue as toy\n"
        "from mathcheck import cli\nfrom mathcheck.runner import catalogue, index, run\n"
        "def slow(task, options):\n"
        "    if task.name != 'linear.halves.half': print('slow', flush=True); time.sleep(60)\n"
        "    return plain(task, options)\n"
        "plain, run.perform = run.perform, slow\n"
        "catalogue.entries, index.proofs = (lambda *names: toy.GOOD), dict\n"
        "if __name__ == '__main__': run._start_worker = toy.start_worker; cli.main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script), "verify", "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
        # A shell starts what it puts in the background without interrupts, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    # Both workers say so once they sleep, and that is after the one quick task is done.
    seen = [process.stdout.readline(), process.stdout.readline()]
    assert seen == ["slow\n", "slow\n"]
    time.sleep(0.2)
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 2, err
    assert time.monotonic() - start < 20
    assert "Traceback" not in out + err
    assert "interrupted after 1 of 3; so far 1 derivation holds" in out


def test_any_executor_will_do() -> None:
    with ThreadPoolExecutor(1) as pool:
        found = list(run.run(run.tasks(), executor=pool))
    assert sorted(result.task.name for result in found) == sorted(entry.name for entry in toy.GOOD)
    assert not any(result.failed for result in found)


class Broken(concurrent.futures.Executor):
    """Answers one task and breaks."""

    def __init__(self) -> None:
        self.asked = 0

    def submit(self, function, /, *arguments, **options):  # type: ignore[no-untyped-def]
        self.asked += 1
        future: concurrent.futures.Future[object] = concurrent.futures.Future()
        if self.asked == 1:
            future.set_result(function(*arguments))
        elif self.asked == 2:
            future.set_exception(concurrent.futures.BrokenExecutor("gone"))
        else:
            raise concurrent.futures.BrokenExecutor("still gone")
        return future


def test_a_broken_executor_loses_nothing() -> None:
    found = {result.task.name: result for result in run.run(run.tasks(), executor=Broken())}
    statuses = [found[entry.name].evidence.status for entry in toy.GOOD]
    assert statuses == [Status.HOLDS, Status.ERROR, Status.ERROR]
    assert [found[entry.name].evidence.reason for entry in toy.GOOD] == [None, "gone", "still gone"]


def test_run_refuses_no_workers() -> None:
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        run.run([], workers=0)


# Somebody else's code


@pytest.fixture
def adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    def adapt(kind: str, found: object) -> toy.Halver:
        if callable(getattr(found, "halve", None)):
            return toy.Halver(found.halve)
        raise TypeError("no adapter recognises it")

    module = types.ModuleType("mathcheck.adapters")
    module.KINDS, module.adapt = {"halver": toy.Halver}, adapt  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mathcheck.adapters", module)


@pytest.mark.usefixtures("adapters")
def test_as_judges_a_good_subject() -> None:
    result = invoke("verify", "--as", "halver", "toy_catalogue:right")
    assert result.exit_code == 0
    assert "✓ Two halves make a whole   numerical, worst 0 over 100 inputs, 1 wrong version refuted" in result.stdout
    assert "– Halving leaves the sign alone   the subject cannot negate" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("1 subject holds: 1 of 2 claims hold, 1 skipped, ")


@pytest.mark.usefixtures("adapters")
def test_as_judges_a_bad_subject_with_a_snippet_that_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "class Mine:\n    def __init__(self, by): self.by = by\n    def halve(self, x): return x / self.by\n"
    )
    target = f"{file}:Mine(by={{'a': 3}}['a'])"
    result = invoke("verify", "--as", "halver", target, "-k", "two_halves", "--json", str(tmp_path / "a.json"))
    assert result.exit_code == 1
    assert "REFUTED  Two halves make a whole    numerical" in result.stdout
    assert f"subject     {target}" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("1 of 1 subject fails: 0 of 1 claims hold, 1 refuted")
    snippet = json.loads((tmp_path / "a.json").read_text())["claims"][0]["reproduce"]
    assert f"from mathcheck.adapters.target import load; subject = load('halver', {target!r})" in snippet
    assert "law         2 h(x) = x" in result.stdout
    printed: list[object] = []
    exec(
        snippet.replace("from mathcheck.toy_catalogue", "from toy_catalogue"),
        {"print": lambda *r, sep: printed.extend(r)},
    )
    assert [residual.ratio > 1 for residual in printed] == [True]


@pytest.mark.usefixtures("adapters")
@pytest.mark.parametrize(
    ("kind", "target", "said"),
    [
        ("halvr", "toy_catalogue:right", "did you mean 'halver'?"),
        ("halver", "toy_catalogue", "is not package.module:expression"),
        ("halver", "toy_catalogue:", "is not package.module:expression"),
        ("halver", "no_such_module:x", "No module named 'no_such_module'"),
        ("halver", "no/such/file.py:x", "there is no file"),
        ("halver", "toy_catalogue:rihgt", "NameError: name 'rihgt' is not defined"),
        ("halver", "toy_catalogue:right +", "SyntaxError"),
        ("halver", "toy_catalogue:1", "toy_catalogue:1 is no halver: no adapter recognises it"),
        ("halver", "toy_catalogue:a_function", "it is a function, perhaps to be called"),
        ("halver", "toy_catalogue:explode(1)", "ZeroDivisionError: boom"),
        ("halver", "toy_catalogue:exit(3)", "SystemExit"),
    ],
)
def test_as_says_what_is_wrong_with_a_target(kind: str, target: str, said: str) -> None:
    result = invoke("verify", "--as", kind, target)
    assert result.exit_code == 4, result.output
    assert said in result.stderr
    with pytest.raises(TargetError, match=re.escape(said)):
        load(kind, target)


@pytest.mark.usefixtures("adapters")
def test_a_file_does_not_pass_for_the_library_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("from toy_catalogue import right\n")
    assert load("halver", f"{tmp_path / 'torch.py'}:right") is toy.right
    assert hasattr(sys.modules["torch"], "Tensor")
