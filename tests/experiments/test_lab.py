"""Training that goes on where it stopped, and figures that say what they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from mathcheck.experiments import lab as module
from mathcheck.experiments.lab import Diverged, Experiment, Figure, Lab, Noted, Setting, perform

EPOCHS, STEPS = 5, 3


def a_lab(out: Path, **changes: object) -> Lab:
    return Lab("toy", Setting(out, **changes))  # type: ignore[arg-type]


def regression(
    lab: Lab, *, stop: Callable[[int, int], None] = lambda epoch, step: None
) -> tuple[nn.Module, torch.optim.Optimizer, Callable[[torch.Generator], Mapping[str, float]]]:
    """A network with Adam's moments, batch statistics and noise from the epoch's generator; `stop` may raise in a step."""
    with lab.seeded("weights"):
        model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    epochs_done = [0]

    def epoch(generator: torch.Generator) -> Mapping[str, float]:
        total = torch.zeros(())
        for step in range(STEPS):
            stop(epochs_done[0], step)
            x = torch.randn(16, 2, generator=generator)
            loss = (model(x)[:, 0] - x.prod(-1)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        epochs_done[0] += 1
        return {"loss": float(total) / STEPS}

    return model, optimizer, epoch


def same(one: nn.Module, other: nn.Module) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def interrupting(at: tuple[int, int], error: BaseException) -> Callable[[int, int], None]:
    def stop(epoch: int, step: int) -> None:
        if (epoch, step) == at:
            raise error

    return stop


@pytest.mark.parametrize("at", [(0, 0), (0, 2), (2, 1), (4, 2)], ids=str)
def test_an_interrupted_run_comes_to_the_same_end(tmp_path: Path, at: tuple[int, int]) -> None:
    whole = a_lab(tmp_path / "whole")
    model, optimizer, epoch = regression(whole)
    history = whole.fit("net", model, optimizer, EPOCHS, epoch)
    assert len({record["loss"] for record in history}) == EPOCHS

    first = a_lab(tmp_path / "cut")
    half, half_moments, stopped = regression(first, stop=interrupting(at, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        first.fit("net", half, half_moments, EPOCHS, stopped)
    again = a_lab(tmp_path / "cut")
    resumed, moments, rest = regression(again)
    told: list[int] = []
    again.tell = lambda what, done, total, status: told.append(done)
    assert again.fit("net", resumed, moments, EPOCHS, rest) == history
    assert same(resumed, model)
    assert told == list(range(at[0] + 1, EPOCHS + 1)), "an epoch that was finished is not trained again"
    assert json.dumps(str(optimizer.state_dict())) == json.dumps(str(moments.state_dict()))


def test_other_random_numbers_come_to_another_end(tmp_path: Path) -> None:
    ends = []
    for seed in (0, 1):
        lab = a_lab(tmp_path / str(seed), seed=seed)
        model, optimizer, epoch = regression(lab)
        ends.append(lab.fit("net", model, optimizer, EPOCHS, epoch))
    assert ends[0] != ends[1]


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    lab = a_lab(tmp_path)
    model, optimizer, epoch = regression(lab)
    history = lab.fit("net", model, optimizer, EPOCHS, epoch)
    other, moments, never = regression(a_lab(tmp_path), stop=interrupting((0, 0), AssertionError("trained again")))
    assert a_lab(tmp_path).fit("net", other, moments, EPOCHS, never) == history
    assert same(other, model)


def test_an_interruption_leaves_a_whole_checkpoint_and_nothing_else(tmp_path: Path) -> None:
    lab = a_lab(tmp_path)
    model, optimizer, epoch = regression(lab, stop=interrupting((2, 0), KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        lab.fit("net", model, optimizer, EPOCHS, epoch)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["net.pt"]
    state = torch.load(tmp_path / "checkpoints" / "net.pt", weights_only=True)
    assert len(state["history"]) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")], ids=str)
def test_a_value_that_is_not_finite_stops_the_run_and_names_the_checkpoint(tmp_path: Path, value: float) -> None:
    lab = a_lab(tmp_path)
    model, optimizer, epoch = regression(lab)
    told: list[int] = []

    def diverging(generator: torch.Generator) -> Mapping[str, float]:
        told.append(len(told))
        return {**epoch(generator), "penalty": value if len(told) == 3 else 0.0}

    path = tmp_path / "checkpoints" / "net.pt"
    with pytest.raises(Diverged, match=f"penalty {value} in epoch 3 of 5; the last good checkpoint is {path}"):
        lab.fit("net", model, optimizer, EPOCHS, diverging)
    kept = torch.load(path, weights_only=True)
    assert len(kept["history"]) == 2
    assert all(bool(torch.as_tensor(weight).isfinite().all()) for weight in kept["model"].values())


def test_a_run_that_diverges_at_once_says_that_there_is_no_checkpoint(tmp_path: Path) -> None:
    lab = a_lab(tmp_path)
    model, optimizer, _ = regression(lab)
    with pytest.raises(Diverged, match="net: loss nan in epoch 1 of 5; there is no checkpoint before it"):
        lab.fit("net", model, optimizer, EPOCHS, lambda generator: {"loss": float("nan")})
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"size": "quick"}, {"data": Path("elsewhere")}, {"epochs": 6}, {"name": "another"}], ids=str
)
def test_a_checkpoint_of_another_setting_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    lab = a_lab(tmp_path)
    model, optimizer, epoch = regression(lab)
    lab.fit("net", model, optimizer, EPOCHS, epoch)
    left = (tmp_path / "checkpoints" / "net.pt").read_bytes()
    epochs, name = int(str(change.get("epochs", EPOCHS))), str(change.get("name", "toy"))
    setting = {key: value for key, value in change.items() if key not in ("epochs", "name")}
    other = Lab(name, Setting(tmp_path, **setting))  # type: ignore[arg-type]
    model, optimizer, epoch = regression(other, stop=interrupting((0, 0), AssertionError("trained on it")))
    with pytest.raises(ValueError, match=r"out must be a folder of this run alone: .*net\.pt is of"):
        other.fit("net", model, optimizer, epochs, epoch)
    assert (tmp_path / "checkpoints" / "net.pt").read_bytes() == left


def test_two_things_are_trained_in_one_folder(tmp_path: Path) -> None:
    lab = a_lab(tmp_path)
    ends = []
    for name in ("first", "second 0.5"):
        model, optimizer, epoch = regression(lab)
        ends.append(lab.fit(name, model, optimizer, EPOCHS, epoch))
    assert ends[0] != ends[1], "each has random numbers of its own"
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["first.pt", "second 0.5.pt"]


def test_a_checkpoint_is_loaded_as_weights_only(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, ("raise SystemExit('ran')",)

    (tmp_path / "checkpoints").mkdir()
    torch.save({"key": Evil()}, tmp_path / "checkpoints" / "net.pt")
    lab = a_lab(tmp_path)
    model, optimizer, epoch = regression(lab)
    with pytest.raises(
        ValueError, match=r"net\.pt is damaged or no checkpoint .*Weights only load failed.*; delete it"
    ):
        lab.fit("net", model, optimizer, EPOCHS, epoch)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def overwritten(path: Path) -> None:
    path.write_text("no checkpoint")


def changed(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[100:200] = bytes(100)
    path.write_bytes(raw)


def of_something_else(path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, path)


def no_dictionary(path: Path) -> None:
    torch.save(torch.zeros(3), path)


@pytest.mark.parametrize("damage", [truncated, emptied, overwritten, changed, of_something_else, no_dictionary])
def test_a_damaged_checkpoint_is_named_with_what_to_do(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    lab = a_lab(tmp_path)
    model, optimizer, epoch = regression(lab)
    lab.fit("net", model, optimizer, EPOCHS, epoch)
    path = tmp_path / "checkpoints" / "net.pt"
    damage(path)
    model, optimizer, epoch = regression(a_lab(tmp_path), stop=interrupting((0, 0), AssertionError("trained on it")))
    with pytest.raises(ValueError, match=rf"{path} is damaged or no checkpoint of an experiment \(.+\); delete it"):
        a_lab(tmp_path).fit("net", model, optimizer, EPOCHS, epoch)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    lab = a_lab(tmp_path)
    model, optimizer, epoch = regression(lab)
    lab.fit("net", model, optimizer, EPOCHS, epoch)
    other = nn.Linear(2, 1)
    moments = torch.optim.Adam(other.parameters(), 0.05)
    path = tmp_path / "checkpoints" / "net.pt"
    with pytest.raises(ValueError, match=rf"{path} is of another model \(.+\); delete it to train from the start"):
        lab.fit("net", other, moments, EPOCHS, epoch)
    state = torch.load(path, weights_only=True)
    torch.save({**state, "optimizer": {}}, path)
    model, optimizer, epoch = regression(lab)
    with pytest.raises(ValueError, match=rf"{path} is of another model"):
        lab.fit("net", model, optimizer, EPOCHS, epoch)


def test_random_numbers_depend_on_the_key_and_the_seed_alone(tmp_path: Path) -> None:
    lab, same_lab, other = a_lab(tmp_path), a_lab(tmp_path / "x"), a_lab(tmp_path, seed=1)
    draw = torch.rand(3, generator=lab.generator("noise", 1))
    torch.rand(5)
    assert torch.equal(draw, torch.rand(3, generator=same_lab.generator("noise", 1)))
    for generator in (lab.generator("noise", 2), lab.generator("noise"), other.generator("noise", 1)):
        assert not torch.equal(draw, torch.rand(3, generator=generator))


def test_seeding_leaves_the_global_generator_as_it_was(tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    with a_lab(tmp_path).seeded("weights"):
        one = torch.rand(3)
    assert torch.equal(torch.random.get_rng_state(), state)
    with a_lab(tmp_path).seeded("weights"):
        assert torch.equal(torch.rand(3), one)


def test_two_figures_of_one_name_are_refused(tmp_path: Path) -> None:
    lab = a_lab(tmp_path)
    lab.figure("rate", 0.5, "a rate")
    with pytest.raises(ValueError, match="name must be unique in the experiment, got 'rate' twice"):
        lab.figure("rate", 0.25, "another rate")
    assert [(figure.name, figure.value) for figure in lab.figures] == [("rate", 0.5)]


AGREEMENTS = {
    "no figure in the notes": (Figure("f", 1.0, "", error=0.1), ""),
    "inside the interval": (Figure("f", 1.0, "", interval=(0.9, 1.2), notes=Noted(1.2)), "agrees"),
    "outside the interval": (Figure("f", 1.0, "", interval=(0.9, 1.2), notes=Noted(1.21)), "differs"),
    "near": (Figure("f", 1.0, "", error=0.1, notes=Noted(1.25)), "agrees, 2.5 standard errors apart"),
    "far": (Figure("f", 1.0, "", error=0.1, notes=Noted(0.6)), "differs, 4.0 standard errors apart"),
    "two errors": (Figure("f", 1.0, "", error=3.0, notes=Noted(11.0, 4.0)), "agrees, 2.0 standard errors apart"),
    "error of the notes alone": (Figure("f", 1.0, "", notes=Noted(3.0, 0.5)), "differs, 4.0 standard errors apart"),
    "exact and equal": (Figure("f", 2.0, "", notes=Noted(2.0 + 1e-10)), "agrees"),
    "exact and unequal": (Figure("f", 2.0, "", notes=Noted(2.5)), "differs by 0.5"),
    "remark": (
        Figure("f", 1.0, "", error=0.1, notes=Noted(1.0, remark="a bound")),
        "agrees, 0.0 standard errors apart; a bound",
    ),
}


@pytest.mark.parametrize("name", AGREEMENTS)
def test_agreement_is_said_in_standard_errors_or_by_the_interval(name: str) -> None:
    figure, expected = AGREEMENTS[name]
    assert figure.agreement == expected


def test_a_setting_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='size must be "full", "quick" or "tiny"'):
        Setting(tmp_path, size="huge")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        Setting(tmp_path, seed=-1)


def test_a_run_writes_its_figures_and_its_setting(tmp_path: Path) -> None:
    def run(lab: Lab) -> None:
        lab.figure("rate", 0.5, "a rate", interval=(0.4, 0.6), notes=Noted(0.7))

    done = perform(Experiment("toy", "A toy", run), Setting(tmp_path / "new" / "out", size="tiny", seed=3))
    metrics = json.loads((tmp_path / "new" / "out" / "metrics.json").read_text())
    assert (metrics["experiment"], metrics["seed"], metrics["size"]) == ("toy", 3, "tiny")
    assert metrics["figures"][0]["agreement"] == "differs"
    assert metrics["figures"][0]["interval"] == [0.4, 0.6]
    config = json.loads((tmp_path / "new" / "out" / "config.json").read_text())
    assert (config["seed"], config["data"], config["torch"]) == (3, None, torch.__version__)
    assert [path.name for path in done.files] == ["config.json", "metrics.json"]


def test_a_run_has_one_thread_and_gives_the_others_back(tmp_path: Path) -> None:
    inside, before = [], torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        perform(Experiment("toy", "A toy", lambda lab: inside.append(torch.get_num_threads())), Setting(tmp_path))
        assert inside == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_every_experiment_has_a_name_and_a_title() -> None:
    known = module.catalogue()
    assert {"gamblers_ruin", "estimator_race"} <= set(known)
    assert not {"lab", "data"} & set(known)
    assert all(name == found.name and len(found.title) > 10 for name, found in known.items())
