"""pytest: one test for each law of each subject, and options that say how hard to look. Loads nothing heavy by itself."""

from __future__ import annotations

import argparse
import unittest
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import torch

    from mathcheck.engine.claim import Claim, Settings

_OPTIONS = {
    "examples": "inputs to try each claim on, whatever the tests say",
    "seed": "seed of the search, whatever the tests say",
}


def _number(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"expected an integer of at least {least}, got {text!r}")
        return value

    return parse


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--mathcheck-examples`, `--mathcheck-seed` and `--mathcheck-strict`."""
    group = parser.getgroup("mathcheck", "is the maths right?")
    for (name, text), least in zip(_OPTIONS.items(), (1, 0), strict=True):
        group.addoption(f"--mathcheck-{name}", type=_number(least), metavar="N", help=text)
    group.addoption("--mathcheck-strict", action="store_true", help="lost digits fail a test, too")


def _asked(config: pytest.Config) -> dict[str, Any]:
    values = {name: config.getoption(f"mathcheck_{name}") for name in _OPTIONS}
    values["accuracy"] = "full" if config.getoption("mathcheck_strict") else None
    return {name: value for name, value in values.items() if value is not None}


def pytest_report_header(config: pytest.Config) -> str | None:
    """What was asked for, if anything."""
    asked = _asked(config)
    return f"mathcheck: {', '.join(f'{name} {value}' for name, value in asked.items())}" if asked else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Runs a test under the settings that the command line asks for."""
    asked = _asked(item.config)
    context: Any = nullcontext()
    if asked:
        from mathcheck.engine.claim import overriding

        context = overriding(**asked)
    with context:
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Shows a refutation where the test asked for it, without the frames of the package."""
    if call.excinfo is None or call.excinfo.typename != "Refuted":
        return
    frames = list(_frames(call.excinfo.tb))
    outside = [
        frame for frame in frames if Path(__file__).parent not in Path(frame.tb_frame.f_code.co_filename).parents
    ]
    if outside:
        outside[-1].tb_next = None


def _frames(frame: TracebackType | None) -> Iterator[TracebackType]:
    while frame is not None:
        yield frame
        frame = frame.tb_next


def parametrize(
    subjects: Mapping[str, Any],
    *,
    kind: str | None = None,
    expected_failures: Mapping[str, Mapping[str, str]] | None = None,
    dtypes: Sequence[torch.dtype | None] = (None,),
    device: torch.device | str = "cpu",
    settings: Settings | None = None,
) -> pytest.MarkDecorator:
    """Decorator that makes one test of every law of every subject, called `subject-law`.

    The test takes `subject` and `law` and calls `law(subject)`, which raises `mathcheck.Refuted` unless the law holds,
    and skips the test where nothing could be compared, saying why. An expected failure that passes is a failure.

    Args:
        subjects: name -> subject: a record such as `Bijection`, or with `kind` whatever an adapter takes.
        kind: name of the kind, e.g. "bijection", where the subjects are no records.
        expected_failures: name of a subject -> name of a law -> why it is known to fail.
        dtypes: of the inputs, a test for each; default the subject's own, or float64.
        device: where the inputs live.
        settings: how hard to look; `--mathcheck-examples` and `--mathcheck-seed` go before.

    Raises:
        ValueError: if there is no subject, or `expected_failures` names none of the subjects or laws.
        TypeError: if `subjects` is no mapping, or a subject is of no kind.
    """
    from mathcheck.engine.claim import Refuted

    if not isinstance(subjects, Mapping):
        raise TypeError(f"subjects must be a mapping from names to subjects, got {type(subjects).__name__}")
    if not subjects:
        raise ValueError("subjects must hold at least one subject, got none")
    expected = {name: dict(reasons) for name, reasons in (expected_failures or {}).items()}
    if strangers := sorted(set(expected) - set(subjects)):
        raise ValueError(f"expected_failures names the subject {strangers[0]!r}, expected one of {list(subjects)}")
    cases = []
    for name, subject in subjects.items():
        record, found = _record(subject, kind, name)
        known = expected.get(name, {})
        laws = {claim.name.rsplit(".", 1)[-1]: claim for claim in found}
        if strangers := sorted(set(known) - set(laws)):
            raise ValueError(
                f"expected_failures names the law {strangers[0]!r} of {name!r}, expected one of {list(laws)}"
            )
        for law, claim in laws.items():
            marks = [pytest.mark.xfail(reason=known[law], raises=Refuted, strict=True)] if law in known else []
            for dtype in dtypes:
                ending = "" if len(dtypes) == 1 else f"-{str(dtype).removeprefix('torch.')}"
                judge = _judge(claim, name, dtype=dtype, device=device, settings=settings)
                cases.append(pytest.param(record, judge, id=f"{name}-{law}{ending}", marks=marks))
    return pytest.mark.parametrize(("subject", "law"), cases)


def _record(subject: Any, kind: str | None, name: str) -> tuple[Any, Sequence[Claim]]:
    from mathcheck.adapters import KINDS, adapt
    from mathcheck.engine.claim import laws

    record = adapt(kind, subject) if kind is not None else subject
    if type(record) not in KINDS.values():
        hint = "" if kind else "; give kind, for an object that is no record"
        raise TypeError(f"subjects[{name!r}] must be a record of functions, got {type(record).__name__}{hint}")
    return record, laws(type(record))


def _judge(claim: Claim, name: str, **options: Any) -> Callable[[Any], None]:
    def law(subject: Any) -> None:
        from mathcheck.engine.claim import InaccurateWarning, Refuted, verify
        from mathcheck.engine.evidence import Status

        evidence = verify(claim, subject, name=name, **options)
        if evidence.status is Status.SKIPPED:
            raise unittest.SkipTest(f"{claim.title}: {evidence.reason}")
        if evidence.status.fails:
            raise Refuted(str(evidence), [evidence])
        if evidence.status is Status.INACCURATE:
            warnings.warn(f"{evidence.subject}: {claim.title}: {evidence.loss}", InaccurateWarning, stacklevel=2)

    return law
