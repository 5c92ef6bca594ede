"""The README's table of the experiments' figures is made from what runs left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mathcheck.cli import main
from mathcheck.experiments.lab import Experiment, Figure, Lab, Noted, Setting, perform
from mathcheck.report import experiments as report
from mathcheck.report import pages


def a_run(lab: Lab) -> None:
    lab.figure("rate", 0.25, "P(a | b): 1 of 4", interval=(0.006, 0.806), notes=Noted(0.3, 0.1))
    lab.figure("mean", 101.2808, "a mean", error=0.754, notes=Noted(99.0, remark="on other data"))
    lab.figure("small", 2.33333e-6, "a small mean", error=2.9e-7, notes=Noted(2.01061199926214e-06, 2.943e-07))
    lab.figure("ours", 1.0, "of no interest to the notes")


def left(folder: Path, name: str = "toy", *, seed: int = 0) -> None:
    perform(Experiment(name, "A toy", a_run), Setting(folder, size="tiny", seed=seed))


def test_the_table_has_the_figures_that_the_notes_report(tmp_path: Path) -> None:
    left(tmp_path)
    (run,) = report.read(tmp_path)
    assert (run.name, run.size, run.seed, len(run.figures)) == ("toy", "tiny", 0, 4)
    assert run.figures[0] == Figure("rate", 0.25, "P(a | b): 1 of 4", None, (0.006, 0.806), Noted(0.3, 0.1))
    assert report.markdown([run]).splitlines()[2:] == [
        r"| toy | rate: P(a \| b): 1 of 4 | 0.30 ± 0.10 | 0.25 [0.006, 0.806] | agrees |",
        "| toy | mean: a mean | 99 | 101.28 ± 0.75 | differs, 3.0 standard errors apart; on other data |",
        "| toy | small: a small mean | (2.01 ± 0.29)e-06 | (2.33 ± 0.29)e-06 | agrees, 0.8 standard errors apart |",
        "",
        "3 figures of 4 have a counterpart in the notes; tiny size, seed 0.",
    ]


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (163.17555, 1.01695, "163.2 ± 1.0"),
        (0.0091133, 0.0000617, "0.009113 ± 0.000062"),
        (1512.8, 65.3, "1513 ± 65"),
        (-0.001, 0.2, "-0.00 ± 0.20"),
        (0.0, 0.5, "0.00 ± 0.50"),
        (1.5e7, 2e5, "(1.500 ± 0.020)e+07"),
    ],
)
def test_a_value_is_shown_to_the_second_digit_of_its_error(value: float, error: float, text: str) -> None:
    assert report._with_error(value, error) == text


def test_only_the_marked_part_of_the_readme_is_written(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        left(tmp_path / "runs" / str(number), name)
    readme = tmp_path / "README.md"
    readme.write_text("before\n" + "STALE".join(pages.marks("experiments")) + "\nafter\n")
    command = ["pages", "--experiments", str(tmp_path / "runs"), "--root", str(tmp_path)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"wrote {readme}\n"
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "STALE" not in text
    assert text.count("| one |") == text.count("| two |") == 3
    assert not (tmp_path / "proofs").exists()
    again = CliRunner().invoke(main, [*command, "--experiments", str(tmp_path / "runs" / "0")])
    assert again.exit_code == 4
    assert "each experiment must come once, got one, two, one" in again.stderr


def test_runs_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    left(tmp_path / "a", "one")
    left(tmp_path / "b", "two", seed=1)
    with pytest.raises(ValueError, match="one size and seed"):
        report.markdown(report.read(tmp_path))


def test_a_folder_without_runs_and_a_damaged_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{tmp_path} holds no metrics.json"):
        report.read(tmp_path)
    path = tmp_path / "metrics.json"
    for content in ("{", "[]", "{}", json.dumps({"figures": [{"name": "rate"}]})):
        path.write_text(content)
        with pytest.raises(ValueError, match=f"{path} is not what an experiment writes"):
            report.read(tmp_path)


def test_pages_of_nothing_are_refused() -> None:
    result = CliRunner().invoke(main, ["pages"])
    assert result.exit_code != 0
    assert "give REPORT.json, --self-test FILE, --experiments DIR" in result.stderr
