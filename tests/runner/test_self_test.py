"""The self-test says what it measured, and notices tests and laws that do not keep their word."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from mathcheck.cli import main
from mathcheck.engine.claim import overriding
from mathcheck.engine.residual import Residual
from mathcheck.oracles import statistics
from mathcheck.oracles.calibration import Rate, Trial, calibrate, rejections, trials
from mathcheck.report import self_test as report
from mathcheck.runner import self_test

TRIALS = {trial.name: trial for trial in trials(400)}


def test_a_rate_is_broken_only_beyond_chance() -> None:
    assert Rate(60, 1000, 0.05, True).kept
    assert not Rate(100, 1000, 0.05, True).kept
    assert Rate(985, 1000, 0.99, False).kept
    assert not Rate(950, 1000, 0.99, False).kept
    low, high = Rate(0, 1000, 0.05, True).interval
    assert low == 0
    assert high == pytest.approx(1 - 0.025 ** (1 / 1000))


@pytest.mark.parametrize("name", TRIALS)
def test_every_statistical_test_keeps_its_word(name: str) -> None:
    found = calibrate(dataclasses.replace(TRIALS[name], alpha=1e-3), levels=(0.05,), runs=500)
    assert found.kept
    assert np.isfinite(found.detectable)


def _too_tight(trial: Trial, factor: float) -> Trial:
    def test(sample: torch.Tensor, alpha: float) -> Residual:
        residual = trial.test(sample, alpha)
        return dataclasses.replace(residual, bound=factor * residual.bound)

    return dataclasses.replace(trial, test=test)


def _too_proud(trial: Trial) -> Trial:
    def test(sample: torch.Tensor, alpha: float) -> Residual:
        residual = trial.test(sample, alpha)
        return dataclasses.replace(residual, detectable=0.4 * (residual.detectable or 0))

    return dataclasses.replace(trial, test=test)


def test_wrong_tests_are_noticed() -> None:
    assert not calibrate(_too_tight(TRIALS["dkw, continuous"], 0.8), runs=1000).kept
    assert not calibrate(_too_tight(TRIALS["binomial"], 0.75), runs=1000).kept
    assert not calibrate(_too_proud(TRIALS["bounded mean, coin"]), runs=300).kept
    assert not calibrate(_too_proud(TRIALS["Catoni's mean, normal"]), runs=300).kept


def test_rejections_are_those_of_the_test() -> None:
    trial = TRIALS["dkw, continuous"]
    assert (
        rejections(
            lambda rng: torch.from_numpy(rng.random(400) ** 2), functools.partial(trial.test, alpha=1e-3), 50, seed=0
        )
        == 50
    )


def test_a_kill_matrix_names_what_no_law_sees() -> None:
    (matrix,) = self_test.kill_matrix("projection", 10, 0)
    assert isinstance(matrix, self_test.KillMatrix)
    assert all(kill.killed for kill in matrix.kills)
    assert set(matrix.kills[0].verdicts) == set(matrix.titles)
    blind = self_test.Kill("nothing is done", dict.fromkeys(matrix.titles, "holds"))
    assert report.failures([dataclasses.replace(matrix, kills=(blind,))]) == [
        "projection: no law refutes it when nothing is done"
    ]


def test_the_command_writes_tables_and_a_file(tmp_path: Path) -> None:
    file = tmp_path / "self.json"
    with overriding(budget=0.02):
        result = CliRunner().invoke(
            main, ["self-test", "projection", "--runs", "100", "--repeats", "1", "--workers", "1", "--json", str(file)]
        )
    assert result.exit_code == 0, result.output
    assert "projection: laws against slips" in result.stdout
    assert "false alarms in" in result.stdout
    content = json.loads(file.read_text())
    assert content["schema"] == report.SCHEMA
    assert content["failures"] == []
    assert len(content["calibrations"]) == len(TRIALS)
    assert all(rate["promised"] >= statistics.ALPHA for rate in content["law_alarms"])
    assert "| `projection` |" in content["readme"]


def test_an_unknown_kind_is_refused() -> None:
    result = CliRunner().invoke(main, ["self-test", "projections"], standalone_mode=False)
    assert "kind must be one of" in str(result.exception)
