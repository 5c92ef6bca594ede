"""Every experiment runs from the command line, leaves what it says, and goes on after an interruption."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner

from mathcheck.cli import main
from mathcheck.experiments import lab

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")
EXPERIMENTS = lab.catalogue()
# Of NumPy's, where a tensor is plotted that should have been turned into an array.
pytestmark = pytest.mark.filterwarnings("error::DeprecationWarning")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_it_runs_and_says_what_it_found(name: str, tmp_path: Path) -> None:
    done = lab.perform(EXPERIMENTS[name], lab.Setting(tmp_path, size="tiny"))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["experiment"] == metrics["experiment"] == name
    assert [figure["name"] for figure in metrics["figures"]] == [figure.name for figure in done.figures]
    assert all(math.isfinite(figure.value) and figure.what for figure in done.figures)
    assert all(figure.error is None or figure.error >= 0 for figure in done.figures)
    pictures = [path for path in done.files if path.suffix == ".png"]
    assert pictures
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


class _Stop(KeyboardInterrupt):
    pass


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_interrupted_run_ends_with_the_same_figures(name: str, tmp_path: Path) -> None:
    whole = lab.perform(EXPERIMENTS[name], lab.Setting(tmp_path / "whole", size="tiny"))
    calls = 0

    def interrupt(what: str, done: int, total: int, status: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise _Stop

    setting = lab.Setting(tmp_path / "broken", size="tiny")
    try:
        broken = lab.perform(EXPERIMENTS[name], setting, interrupt)
    except _Stop:
        broken = lab.perform(EXPERIMENTS[name], setting)
    assert broken.figures == whole.figures


def test_the_command_lists_them() -> None:
    result = CliRunner().invoke(main, ["experiment", "--list"])
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(EXPERIMENTS)


def test_the_command_shows_figures_and_files(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["experiment", "gamblers_ruin", "--quick", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "2.38838e-06" in result.stdout
    assert f"{tmp_path / 'estimate.png'}" in result.stdout


def test_a_damaged_checkpoint_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "flow.pt"
    path.parent.mkdir()
    path.write_bytes(b"PK\x03\x04")
    result = CliRunner().invoke(main, ["experiment", "mixture_flow", "--quick", "--out", str(tmp_path)])
    assert result.exit_code == 4
    assert result.stderr.startswith(f"mathcheck: {path} is damaged or no checkpoint of an experiment")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gambler"], "there is no experiment 'gambler', expected one of"),
        (["gamblers_ruin", "--data", "/nowhere"], "there is no such folder"),
        (["gamblers_ruin", "--device", "tpu9"], "torch cannot use it here"),
    ],
)
def test_bad_requests_are_refused(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["experiment", *arguments], standalone_mode=False)
    assert said in str(result.exception)
