"""What an experiment is, and what it works with: settings, figures, plots, random numbers, training that can go on."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import math
import os
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import nn

from mathcheck import experiments

Size = Literal["full", "quick", "tiny"]
T = TypeVar("T")


@dataclass(frozen=True)
class Noted:
    """A figure that the source notes report.

    Attributes:
        value: as printed.
        error: its standard error, where it can be told.
        remark: what is to be said about it, e.g. that it is the value of another quantity.
    """

    value: float
    error: float | None = None
    remark: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure that a run found.

    Attributes:
        name: short and unique in its experiment.
        value: the figure; `what` it is, in words.
        error: its standard error, or `interval`: its 95 % confidence interval; neither for what is exact.
        notes: the source notes' figure, where they report one.
    """

    name: str
    value: float
    what: str
    error: float | None = None
    interval: tuple[float, float] | None = None
    notes: Noted | None = None

    @property
    def agreement(self) -> str:
        """Whether the notes' figure is within three standard errors of this one, or inside its interval."""
        if self.notes is None:
            return ""
        gap = abs(self.value - self.notes.value)
        spread = math.hypot(self.error or 0.0, self.notes.error or 0.0)
        if self.interval is not None:
            said = "agrees" if self.interval[0] <= self.notes.value <= self.interval[1] else "differs"
        elif spread > 0:
            said = f"{'agrees' if gap <= 3 * spread else 'differs'}, {gap / spread:.1f} standard errors apart"
        else:
            said = "agrees" if gap <= 1e-9 * abs(self.value) else f"differs by {gap:.2g}"
        return f"{said}; {self.notes.remark}" if self.notes.remark else said


@dataclass(frozen=True)
class Setting:
    """How an experiment is run.

    Args:
        out: folder of what it leaves; made if it is missing.
        data: folder with MNIST and KMNIST as IDX files; without it the digits that scikit-learn brings.
        device: where tensors live.
        seed: of everything random.
        size: "full", "quick" for under two minutes, "tiny" for a test.
    """

    out: Path
    data: Path | None = None
    device: str = "cpu"
    seed: int = 0
    size: Size = "full"

    def __post_init__(self) -> None:
        if self.size not in ("full", "quick", "tiny"):
            raise ValueError(f'size must be "full", "quick" or "tiny", got {self.size!r}')
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")


class Diverged(ArithmeticError):
    """Training came to a value that is not finite; the last checkpoint is from before that."""


@dataclass
class Lab:
    """A run of one experiment: what it is given, and where it puts what it finds.

    Attributes:
        name: of the experiment. `setting`: how it is run.
        tell: called with what is going on, how much of it is done and of how much, and a word on how it stands.
        figures: what was found so far; `files`: what was written.
    """

    name: str
    setting: Setting
    tell: Callable[[str, int, int, str], None] = lambda what, done, total, status: None
    figures: list[Figure] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        """Where tensors live."""
        return torch.device(self.setting.device)

    def pick(self, full: T, quick: T, tiny: T) -> T:
        """The value for the size of this run."""
        return {"full": full, "quick": quick, "tiny": tiny}[self.setting.size]

    def seed(self, *key: object) -> int:
        """A seed for each key, fixed by that of the setting."""
        text = repr((self.setting.seed, self.name, *key)).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big")

    def generator(self, *key: object) -> torch.Generator:
        """Random numbers on the CPU for a key: the same ones whatever was drawn before, and after an interruption."""
        return torch.Generator().manual_seed(self.seed(*key))

    @contextlib.contextmanager
    def seeded(self, *key: object) -> Iterator[None]:
        """Torch's global generator seeded for a key inside, as for the initial weights of a module, and put back after."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed(*key))
            yield

    def figure(
        self,
        name: str,
        value: float,
        what: str,
        *,
        error: float | None = None,
        interval: tuple[float, float] | None = None,
        notes: Noted | None = None,
    ) -> None:
        """Records a figure; see `Figure`."""
        if any(known.name == name for known in self.figures):
            raise ValueError(f"name must be unique in the experiment, got {name!r} twice")
        if not math.isfinite(value):
            raise Diverged(f"{name}: {value}, expected a finite number")
        self.figures.append(Figure(name, float(value), what, error, interval, notes))

    @contextlib.contextmanager
    def plot(
        self, name: str, *, rows: int = 1, columns: int = 1, width: float = 7.0, height: float = 4.5
    ) -> Iterator[Any]:
        """A matplotlib figure with `rows` x `columns` axes; yields the axes and writes `name`.png."""
        plt = pyplot()
        drawn, axes = plt.subplots(rows, columns, figsize=(width, height), layout="constrained")
        try:
            yield axes
            path = self.setting.out / f"{name}.png"
            drawn.savefig(path, dpi=150)
            self.files.append(path)
        finally:
            plt.close(drawn)

    def fit(
        self,
        name: str,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        epochs: int,
        epoch: Callable[[torch.Generator], Mapping[str, float]],
    ) -> list[dict[str, float]]:
        """Trains, epoch by epoch, with a checkpoint after each; goes on where an interrupted run of the same setting stopped.

        Args:
            name: of what is trained.
            model: whose parameters are changed in place.
            optimizer: that changes them.
            epochs: how many.
            epoch: called with random numbers of its own; trains through one epoch and returns what to record of it.

        Returns:
            What every epoch returned.

        Raises:
            Diverged: if an epoch returns a value that is not finite.
            ValueError: if the folder holds a checkpoint of a run with another setting, or one that is damaged.
        """
        path = self.setting.out / "checkpoints" / f"{name}.pt"
        key = json.dumps(
            {
                "experiment": self.name,
                "seed": self.setting.seed,
                "size": self.setting.size,
                "data": str(self.setting.data),
                "epochs": epochs,
            }
        )
        history = self._resume(path, key, model, optimizer)
        for number in range(len(history), epochs):
            found = dict(epoch(self.generator(name, number)))
            if not all(math.isfinite(value) for value in found.values()):
                kept = f"the last good checkpoint is {path}" if history else "there is no checkpoint before it"
                raise Diverged(f"{name}: {_listed(found)} in epoch {number + 1} of {epochs}; {kept}")
            history.append(found)
            state = {"key": key, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "history": history}
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(state, path.with_suffix(".part"))
            os.replace(path.with_suffix(".part"), path)
            self.tell(name, number + 1, epochs, _listed(found))
        return history

    def _resume(
        self, path: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> list[dict[str, float]]:
        if not path.is_file():
            return []
        advice = "delete it to train from the start, or choose another folder"
        try:
            # What a damaged file raises depends on where the damage is; none of it is an error of this program.
            state = dict(torch.load(path, map_location=self.device, weights_only=True))
            found, history = state["key"], list(state["history"])
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"{path} is damaged or no checkpoint of an experiment ({reason}); {advice}") from error
        if found != key:
            raise ValueError(f"out must be a folder of this run alone: {path} is of {found}, expected {key}")
        try:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"{path} is of another model ({reason}); {advice}") from error
        return history


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Torch on one thread inside: figures do not depend on the number of cores, and small models gain nothing by more.

    On a machine with other work to do, two threads that wait for each other took ten times as long as one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def pyplot() -> Any:
    """Matplotlib's pyplot, drawing to files.

    Raises:
        ModuleNotFoundError: without matplotlib, saying how to get it.
    """
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("plots are drawn with matplotlib: pip install 'mathcheck[experiments]'") from error
    matplotlib.use("Agg")
    return importlib.import_module("matplotlib.pyplot")


@dataclass(frozen=True)
class Experiment:
    """A module of this folder: its function `run`, described by its docstring.

    Attributes:
        name: of the module. `title`: the first line of its docstring. `run`: does it.
    """

    name: str
    title: str
    run: Callable[[Lab], None]


def catalogue() -> dict[str, Experiment]:
    """Name -> experiment, for every module of this folder that has a function `run`."""
    found = {}
    for info in sorted(pkgutil.iter_modules(experiments.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{experiments.__name__}.{info.name}")
        if info.name != "lab" and callable(getattr(module, "run", None)):
            title = (module.__doc__ or info.name).splitlines()[0].rstrip(".")
            found[info.name] = Experiment(info.name, title, module.run)
    return found


def perform(
    experiment: Experiment,
    setting: Setting,
    tell: Callable[[str, int, int, str], None] = lambda what, done, total, status: None,
) -> Lab:
    """Runs an experiment and writes `metrics.json` and `config.json` beside its plots.

    Raises:
        Diverged: if training came to a value that is not finite.
        ValueError: if the data or a checkpoint are broken, or the folder holds another run.
    """
    setting.out.mkdir(parents=True, exist_ok=True)
    lab = Lab(experiment.name, setting, tell)
    config = {
        **asdict(setting),
        "out": str(setting.out),
        "data": str(setting.data) if setting.data else None,
        "experiment": experiment.name,
        "torch": str(torch.__version__),
    }
    _write(lab, "config.json", config)
    with _one_thread():
        experiment.run(lab)
    figures = [{**asdict(figure), "agreement": figure.agreement} for figure in lab.figures]
    _write(
        lab,
        "metrics.json",
        {
            "experiment": experiment.name,
            "title": experiment.title,
            "seed": setting.seed,
            "size": setting.size,
            "figures": figures,
        },
    )
    return lab


def _write(lab: Lab, name: str, content: Mapping[str, Any]) -> None:
    path = lab.setting.out / name
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    lab.files.append(path)
