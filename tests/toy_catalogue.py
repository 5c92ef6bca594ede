"""A small catalogue to run the command line on: halving a number, right and in every way wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from hypothesis import strategies as st

from mathcheck.engine.claim import Claim, claim
from mathcheck.engine.residual import Kind, Residual, close, exactly
from mathcheck.runner import catalogue, index
from mathcheck.runner.catalogue import Entry


@dataclass(frozen=True)
class Halver:
    half: Callable[[float], float]


RIGHT = Halver(lambda x: x / 2)
right = RIGHT
thirds = Halver(lambda x: x / 3)
a_function = RIGHT.half


def numbers(subject: Halver, dtype: torch.dtype) -> st.SearchStrategy[tuple[torch.Tensor]]:
    return st.tuples(st.floats(-10, 10, width=32).map(lambda x: torch.tensor(x, dtype=dtype)))


DOUBLED = {"it is multiplied by 4": lambda s: Halver(lambda x: s.half(x) * 4)}


@claim(given=numbers, mutants=DOUBLED)
def two_halves(subject: Halver, x: torch.Tensor) -> Iterator[Residual]:
    r"""Two halves make a whole: $2\,h(x) = x$."""
    yield close(2 * subject.half(x), x, ulps=2, what="2 h(x) and x")


@claim(given=numbers, mutants=DOUBLED)
def odd(subject: Halver, x: torch.Tensor) -> Iterator[Residual]:
    r"""Halving leaves the sign alone: $h(-x) = -h(x)$; nothing is compared."""
    raise NotImplementedError("the subject cannot negate")
    yield


@claim(given=numbers, reference=RIGHT, mutants=DOUBLED)
def half(subject: Halver, x: torch.Tensor) -> Iterator[Residual]:
    r"""A half is a half: $h(x) = \frac{x}{2}$."""
    yield close(subject.half(x), x / 2, ulps=1, what="h(x) and x/2")


@claim(
    given=numbers, reference=thirds, mutants={"it is multiplied by 3/2": lambda s: Halver(lambda x: s.half(x) * 1.5)}
)
def refuted(subject: Halver, x: torch.Tensor) -> Iterator[Residual]:
    r"""A third is a half: $h(x) = \frac{x}{2}$."""
    yield close(subject.half(x), x / 2, ulps=4, what="h(x) and x/2")


@claim(given=numbers, reference=RIGHT, mutants={"nothing changes": lambda s: s})
def vacuous(subject: Halver, x: torch.Tensor) -> Iterator[Residual]:
    """A claim that sees nothing."""
    yield exactly(1, 1)


def explode(x: float) -> float:
    raise ZeroDivisionError("boom")


@claim(given=numbers, reference=RIGHT, mutants={"it explodes": lambda s: Halver(explode)})
def crashing_mutant(subject: Halver, x: torch.Tensor) -> Iterator[Residual]:
    """A claim whose mutant is stopped by a crash, not by a comparison."""
    yield close(subject.half(x), x / 2, ulps=1)


@claim(given=numbers, reference=RIGHT, mutants=DOUBLED, examples=5)
def sampled(subject: Halver, x: torch.Tensor) -> Iterator[Residual]:
    r"""A sampler draws from its law: $\sup_x \lvert F_n(x) - F(x)\rvert \le \epsilon$."""
    error = float((subject.half(x) - x / 2).abs()) + 0.01
    yield Residual(error, 0.02, Kind.STATISTICAL, alpha=1e-6, detectable=0.0131)


@claim(given=numbers, reference=RIGHT)
def interrupts(subject: Halver, x: torch.Tensor) -> Iterator[Residual]:
    """Somebody presses Ctrl-C."""
    raise KeyboardInterrupt
    yield


@claim(given=numbers, reference=RIGHT)
def kills(subject: Halver, x: torch.Tensor) -> Iterator[Residual]:
    """The process dies."""
    os._exit(9)
    yield


def broken_domain(subject: Halver, dtype: torch.dtype) -> st.SearchStrategy[tuple[torch.Tensor]]:
    raise LookupError("there is no domain")


@claim(given=broken_domain, reference=RIGHT)
def broken(subject: Halver, x: torch.Tensor) -> Iterator[Residual]:
    """A claim whose own code fails."""
    yield exactly(1, 1)


@dataclass(frozen=True, eq=False)
class Named(Entry):
    """An entry under the name that it would have in a derivation."""

    @property
    def name(self) -> str:
        return ".".join(filter(None, (self.derivation, self.attribute, self.claim.check.__name__)))


def entry(stated: Claim, derivation: str, attribute: str | None = None) -> Entry:
    return Named(stated, stated.reference or RIGHT, derivation, attribute)


EVERYTHING = (
    entry(half, "linear.halves"),
    entry(two_halves, "linear.halves", "right"),
    entry(sampled, "probability.sampler"),
    entry(odd, "flows.signs"),
    entry(refuted, "markov.wrong"),
    entry(vacuous, "markov.wrong"),
    entry(crashing_mutant, "markov.wrong"),
    entry(broken, "markov.wrong"),
    entry(kills, "linear.deadly"),
    entry(interrupts, "linear.interrupted"),
)
GOOD = EVERYTHING[:3]

PROOF = r"""# A half

$$
h(x) = \frac{x}{2}
$$

```python
from toy_catalogue import half, exactly
# LONG
```

## Step 1. Compare

Since $`h_1`$ is *linear* and $x_1 * x_2$ is not, `code $stays$`.

```python
@half.step
def by_comparison(subject, x):
    yield exactly(1, 1)
```
"""
PROOF = PROOF.replace("LONG", "a long line " * 12)
BAD_PROOF = PROOF + "\n## Step 2. Fail\n\n```python\nraise ArithmeticError('no')\n```\n"


def write_proof(folder: Path, text: str = PROOF) -> dict[str, Path]:
    path = folder / "linear" / "halves.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return {"linear.halves": path}


def start_worker() -> None:
    """As a worker starts, but with this catalogue."""
    from mathcheck.runner import run

    run._start_worker()
    catalogue.entries = lambda *names: EVERYTHING
    index.proofs = dict
