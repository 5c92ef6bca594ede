"""Every kernel at its smallest size: whoever computes it here is right, and what is not would be noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from mathcheck.bench import measure
from mathcheck.bench.kernel import COMPILED, OURS, PLAIN, Kernel, catalogue, of
from mathcheck.cli import main
from mathcheck.report import bench as report
from mathcheck.runner import catalogue as claims

KERNELS = catalogue()
MACHINE = measure.Machine("a machine", torch.__version__, 1, 1e10, {"torch.float32": 1e11, "torch.float64": 5e10})
DIAGONAL = KERNELS["kl_diagonal"]


@pytest.fixture(scope="module")
def measured() -> measure.Measurement:
    return measure.measure(DIAGONAL, DIAGONAL.sizes[0], machine=MACHINE, peers=False, rounds=3, least=1e-4)


# What torch compiles takes minutes altogether: `pytest benchmarks` looks at that.
CASES = [(k, name) for k in KERNELS.values() for name in k.present(peers=False) if name != COMPILED]


@pytest.mark.parametrize(("kernel", "name"), CASES, ids=[f"{kernel.name}-{name}" for kernel, name in CASES])
def test_results_are_right(kernel: Kernel, name: str) -> None:
    inputs = kernel.problem(kernel.sizes[0])
    found = list(kernel.residuals(inputs, kernel.contenders[name].prepare(*inputs)()))
    assert found
    if name.startswith(OURS):
        assert all(r.ratio <= 1 for r in found), found


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_kernels_are_whole(kernel: Kernel) -> None:
    assert OURS in kernel.contenders
    assert PLAIN in kernel.contenders
    assert kernel.derivation in claims.derivations()
    assert len(kernel.sizes) == 3
    work = [kernel.work(size) for size in kernel.sizes]
    assert sorted(w.numbers + w.flops for w in work) == [w.numbers + w.flops for w in work]


def test_a_wrong_contender_is_told(measured: measure.Measurement) -> None:
    wrong = replace(
        DIAGONAL,
        contenders={
            PLAIN: DIAGONAL.contenders[PLAIN],
            "wrong": of(lambda m, v, a, w: 2 * (m - a).sum(-1)),
            "broken": of(lambda m, v, a, w: m.no_such_thing),
        },
    )
    found = measure.measure(wrong, wrong.sizes[0], machine=MACHINE, rounds=3, least=1e-4)
    timing = found.of("wrong")
    assert timing is not None
    assert timing.error > 1
    assert "no_such_thing" in found.failures["broken"]
    assert report.best_peer(found) is None
    ours, plain = measured.of(OURS), measured.of(PLAIN)
    assert ours is not None
    assert plain is not None
    assert ours.error <= 1
    assert plain.ratio == 1


def test_the_floor_is_that_of_the_work(measured: measure.Measurement) -> None:
    assert measured.floor == pytest.approx(4 * 4 * 64 * 32 / 1e10)


def test_peak_memory_counts_what_lives_at_once() -> None:
    x = torch.zeros(1000, dtype=torch.float64)
    # Two results of 8,000 bytes live at once; a third takes the place of the first.
    assert measure.peak_bytes(lambda: ((x + 1) + 1) + 1, "cpu") == pytest.approx(16_000, abs=200)


def test_time_grows_as_it_was_told_to() -> None:
    def timed(rows: int, seconds: float) -> measure.Measurement:
        t = measure.Timing(OURS, seconds, (seconds, seconds), 1.0, (1.0, 1.0), 0.0, 0.0, None)
        return measure.Measurement("kl_diagonal", "", {"rows": rows, "n": 8}, "torch.float32", 1e-6, (t,), {})

    assert measure.exponent([timed(10, 1e-3), timed(100, 1e-1)], DIAGONAL) == pytest.approx(2)
    assert measure.exponent([timed(10, 1e-3)], DIAGONAL) is None


def test_a_claim_that_fails_stops_the_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        derivation = "divergence.gaussian_kl"

        def verify(self, **options: Any) -> Any:
            from mathcheck.engine.evidence import Status

            class Evidence:
                status = Status.REFUTED

            return Evidence()

    measure.verify.cache_clear()
    monkeypatch.setattr(claims, "entries", lambda: (Wrong(),))
    with pytest.raises(measure.Unverified):
        measure.verify("divergence.gaussian_kl", torch.float32, "cpu")
    measure.verify.cache_clear()


def test_results_are_read_back_and_drawn(measured: measure.Measurement, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(report.as_json(MACHINE, "cpu", [measured], KERNELS))
    content, found = report.read([path])
    assert found == [measured]
    assert report.read([path, path])[1] == [measured]
    assert DIAGONAL.title in report.markdown(content, found)
    assert all(p.stat().st_size > 10_000 for p in report.plots(found, tmp_path))
    other = tmp_path / "other.json"
    other.write_text(report.as_json(replace(MACHINE, threads=2), "cpu", [measured], KERNELS))
    with pytest.raises(ValueError, match="threads 2, expected 1"):
        report.read([path, other])
    path.write_text("{}")
    with pytest.raises(ValueError, match="no file of benchmark results"):
        report.read([path])


def test_the_command_names_what_it_cannot_do() -> None:
    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["bench", *arguments])
        return result.exit_code, result.output

    code, said = run("kl_diagnal")
    assert code == 4
    assert "there is no kernel 'kl_diagnal'; did you mean kl_diagonal" in said
    code, said = run("--list")
    assert code == 0
    assert "kl_diagonal" in said


def test_the_command_times(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        "mathcheck.bench.kernel.catalogue", lambda: {"kl_diagonal": replace(DIAGONAL, sizes=DIAGONAL.sizes[:1])}
    )
    monkeypatch.setattr(measure, "verify", lambda *_: 1)
    monkeypatch.setattr(measure, "machine", lambda *_: MACHINE)
    path = tmp_path / "bench.json"
    result = CliRunner().invoke(main, ["bench", "kl_diagonal", "--rounds", "3", "--json", str(path)])
    assert result.exit_code == 0, result.output
    assert "times plain" in result.output
    assert report.read([path])[1][0].kernel == "kl_diagonal"


@pytest.mark.slow
def test_several_kernels_are_timed_in_processes_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    result = CliRunner().invoke(main, ["bench", "epoch", "convolution_backprop", "--rounds", "3", "--json", str(path)])
    assert result.exit_code == 0, result.output
    kernels = [m.kernel for m in report.read([path])[1]]
    assert kernels == [
        name for name in ("convolution_backprop", "convolution_backprop_batch", "epoch") for _ in range(3)
    ]
