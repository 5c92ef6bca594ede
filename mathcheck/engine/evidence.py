"""What a claim says about a subject: plain data that prints as a verdict and travels as JSON."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction

import torch
from torch import Tensor

from mathcheck.engine.readable import besides
from mathcheck.engine.residual import Kind, Residual


class Status(StrEnum):
    """How a verification ended.

    `HOLDS`: compared, and within bounds. `INACCURATE`: the maths is right, but digits are lost: every error beyond its
    bound is one that the subject's own rounding explains, or is small everywhere, as that of an approximation.
    `REFUTED`: an error that rounding does not explain. `VACUOUS`: within bounds, but so are wrong versions of the
    subject, all that were tried. `SKIPPED`: nothing could be compared. `ERROR`: the subject misbehaved, or the check
    itself failed.
    """

    HOLDS = "holds"
    INACCURATE = "inaccurate"
    REFUTED = "refuted"
    VACUOUS = "vacuous"
    SKIPPED = "skipped"
    ERROR = "error"

    @property
    def fails(self) -> bool:
        """Whether a test fails by it."""
        return self in (Status.REFUTED, Status.VACUOUS, Status.ERROR)


def python_source(value: object) -> str:
    """A Python expression that rebuilds `value`: tensors to the last bit, and plain data around them."""
    if isinstance(value, Tensor):
        return _tensor_source(value.detach().cpu())
    if isinstance(value, (tuple, list)):
        inner = ", ".join(python_source(v) for v in value)
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{python_source(k)}: {python_source(v)}" for k, v in value.items()) + "}"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f"float('{value}')"
    if isinstance(value, Fraction):
        return f"Fraction({value.numerator}, {value.denominator})"
    return repr(value)


def _tensor_source(value: Tensor) -> str:
    dtype = f"dtype={value.dtype}"
    if value.ndim and value.numel() and not bool((value != 0).any()) and not bool(torch.signbit(value).any()):
        return f"torch.zeros({tuple(value.shape)}, {dtype})"
    if 0 in value.shape:
        return f"torch.empty({tuple(value.shape)}, {dtype})"
    body = repr(value.tolist()).replace("nan", "torch.nan").replace("inf", "torch.inf")
    return f"torch.tensor({body}, {dtype})"


@dataclass(frozen=True)
class Counterexample:
    """The smallest input found that refutes a claim, and what was compared there.

    `inputs` maps the names of the check's inputs to Python expressions that rebuild them.
    """

    inputs: Mapping[str, str]
    residual: Residual | None
    seed: int = 0

    @classmethod
    def of(cls, names: Sequence[str], inputs: Sequence[object], residual: Residual | None, seed: int) -> Counterexample:
        """The record of `inputs`, called `names` in the check's signature."""
        bare = None if residual is None else replace(residual, entries=None)
        return cls(dict(zip(names, map(python_source, inputs), strict=False)), bare, seed)

    def __str__(self) -> str:
        return ", ".join(f"{name} = {source}" for name, source in self.inputs.items())


@dataclass(frozen=True)
class Evidence:
    """What one claim says about one subject.

    Attributes:
        claim: the claim's name, its import path below `mathcheck`.
        title: the law in words. `statement`: the law in LaTeX.
        subject: the subject's name, and `origin`: the Python statement that makes it, where known.
        status: see `Status`.
        kinds: the kinds of the comparisons made, strongest first.
        worst: the largest ratio of error to bound that was met (`inf` for NaN).
        compared: comparisons made; `examples`: inputs tried.
        mutants: for each known slip "refuted", "survived", "crashed", "not applicable" or "equivalent", where it changes
            nothing of this subject on the inputs tried.
        counterexample: the smallest refuting input.
        digits: of an inaccurate subject, how many decimal digits are left at the counterexample, its worst input.
        remedy: what keeps the digits, after "to keep them, ".
        diagnosis: the slip whose repair makes the claim hold.
        reason: why it was skipped, or what went wrong.
        alpha, detectable: of statistical comparisons, the largest alpha of one comparison and the smallest error that
            every one of them would have caught.
        seconds, dtype, device, seed: how it was run.
    """

    claim: str
    title: str
    statement: str
    subject: str
    status: Status
    kinds: tuple[Kind, ...] = ()
    worst: float = 0.0
    compared: int = 0
    examples: int = 0
    mutants: Mapping[str, str] = field(default_factory=dict)
    counterexample: Counterexample | None = None
    digits: float | None = None
    remedy: str | None = None
    diagnosis: str | None = None
    reason: str | None = None
    proof: str | None = None
    origin: str | None = None
    alpha: float | None = None
    detectable: float | None = None
    seconds: float = 0.0
    dtype: str = "float64"
    device: str = "cpu"
    seed: int = 0

    @property
    def proved(self) -> bool:
        """True if the claim holds and every comparison was exact or enclosed."""
        strong = (Kind.EXACT, Kind.ENCLOSED)
        return self.status is Status.HOLDS and bool(self.kinds) and all(kind in strong for kind in self.kinds)

    @property
    def applicable_mutants(self) -> dict[str, str]:
        """The mutants that make a different subject of this one."""
        return {name: fate for name, fate in self.mutants.items() if fate not in ("not applicable", "equivalent")}

    @property
    def blind_to(self) -> list[str]:
        """Wrong versions of this very subject that would have passed as well, or answer just as it does here."""
        return [name for name, fate in self.mutants.items() if fate in ("survived", "equivalent")]

    @property
    def loss(self) -> str:
        """Of an inaccurate subject, how many digits are left and where, in a line."""
        digits = math.floor(self.digits or 0.0)
        left = f"{digits} digits are" if digits > 1 else "one digit is" if digits else "no digit is"
        at = f" at {self.counterexample}" if self.counterexample is not None else ""
        advice = f"; to keep them, {self.remedy}" if self.remedy else ""
        return f"the maths is right, but {left} left{at}{advice}"

    @property
    def reproduce(self) -> str | None:
        """A snippet to paste into Python that repeats the comparison of the counterexample."""
        if self.counterexample is None or ":" in self.claim:
            return None
        module, name = self.claim.rsplit(".", 1)
        inputs = "".join(f"    {source},\n" for source in self.counterexample.inputs.values())
        subject = self.origin or "subject = ...  # your implementation"
        fractions = "from fractions import Fraction\n" if "Fraction(" in inputs else ""
        seed = f"torch.manual_seed({self.counterexample.seed})\n" if self.counterexample.seed else ""
        return (
            f"{fractions}import torch\nfrom mathcheck.{module} import {name} as law\n{subject}\n"
            f"inputs = (\n{inputs})\n{seed}print(*law.residuals(subject, *inputs), sep='\\n')"
        )

    @property
    def formula(self) -> str:
        """What the law says besides its title, as a terminal can show it."""
        return besides(self.title, self.statement)

    def verdict(self, *, brief: bool = False) -> str:
        """The verdict for a person to read; if `brief`, without the formula, the proof and the snippet."""
        lines = [f"{self.status.upper():<8} {self.title}    {', '.join(self.kinds)}".rstrip()]
        if self.status in (Status.REFUTED, Status.VACUOUS) and self.formula and not brief:
            lines.append(textwrap.fill(self.formula, 110, initial_indent="  law         ", subsequent_indent=" " * 14))
        lines.append(f"  subject     {self.subject}")
        if self.counterexample is not None:
            lines += [f"  at          {name} = {src}" for name, src in self.counterexample.inputs.items()]
            residual = self.counterexample.residual
            if residual is not None:
                lines.append(f"  compared    {residual.what or self.title}")
                lines.append(f"  yours       {residual.actual}")
                source = f"    ({residual.source})" if residual.source else ""
                radius = f" +- {residual.radius:.2g}" if residual.radius else ""
                lines.append(f"  true        {residual.expected}{radius}{source}")
                lines.append(f"  error       {residual.error:.3g}, allowed {residual.bound:.3g}")
        if self.digits is not None:
            lines.append(f"  digits      {math.floor(self.digits)} are left here")
        if self.remedy:
            lines.append(f"  remedy      to keep the digits, {self.remedy}")
        if self.reason:
            lines.append(f"  reason      {self.reason}")
        if self.diagnosis:
            lines.append(f"  diagnosis   it holds once {self.diagnosis}")
        if self.status is Status.VACUOUS:
            lines += [
                f"  unseen      it also passes when {name}"
                for name, fate in self.mutants.items()
                if fate in ("survived", "equivalent")
            ]
        if self.status in (Status.REFUTED, Status.VACUOUS) and self.proof and not brief:
            lines.append(f"  why         {self.proof}")
        if self.reproduce and not brief:
            lines.append("  reproduce   paste into Python:")
            lines.append(textwrap.indent(self.reproduce, "    "))
        if self.status is Status.HOLDS:
            caught = sum(fate == "refuted" for fate in self.mutants.values())
            text = f"  worst {self.worst:.2g} of its bound over {self.examples} inputs; {caught} wrong versions refuted"
            text += f"; blind to {len(self.blind_to)}" if self.blind_to else ""
            if self.detectable is not None:
                text += f"; would have caught an error of {self.detectable:.2g} (alpha {self.alpha:.0e})"
            lines.append(text)
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.verdict()
