"""A run as JUnit XML, for continuous integration: a test case for each claim and each step of a proof."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from mathcheck.engine.evidence import Evidence, Status
from mathcheck.report.files import write_whole
from mathcheck.report.report import Report, verdict
from mathcheck.runner.proofs import StepResult
from mathcheck.runner.run import Result

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_xml(report: Report) -> ElementTree.Element:
    """A `testsuite` for each derivation; a claim in error is an `error`, another failing one a `failure`."""
    root = ElementTree.Element("testsuites", name="mathcheck", time=f"{report.seconds:.3f}")
    for derivation, results in report.derivations.items():
        suite = ElementTree.SubElement(
            root, "testsuite", name=derivation, timestamp=report.started.isoformat(timespec="seconds")
        )
        properties = ElementTree.SubElement(suite, "properties")
        settings = {"seed": report.options.settings.seed, "dtype": report.dtype, "device": report.options.device}
        for name, value in settings.items():
            ElementTree.SubElement(properties, "property", name=name, value=str(value))
        for result in results:
            if result.evidence is not None:
                _add_claim(suite, report, result, result.evidence)
            for step in result.steps:
                _add_step(suite, derivation, step)
        _count(suite)
        suite.set("time", f"{sum(result.seconds for result in results):.3f}")
    _count(root)
    return root


def _count(element: ElementTree.Element) -> None:
    for attribute, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(attribute, str(sum(1 for _ in element.iter(tag))))


def _legal(text: str) -> str:
    return _ILLEGAL.sub("�", text)


def _case(suite: ElementTree.Element, derivation: str, name: str, seconds: float) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite, "testcase", classname=f"mathcheck.{derivation}", name=_legal(name), time=f"{seconds:.3f}"
    )


def _add_claim(suite: ElementTree.Element, report: Report, result: Result, evidence: Evidence) -> None:
    name = result.task.name.removeprefix(f"{result.task.derivation}.") + (
        f"[{evidence.dtype}]" if report.dtype == "both" else ""
    )
    case = _case(suite, result.task.derivation, name, result.seconds)
    text = verdict(result, evidence, report.options)
    if result.failed:
        tag = "error" if evidence.status is Status.ERROR else "failure"
        message = f"{'a mutant is not refuted' if evidence.status is Status.HOLDS else evidence.status}: "
        ElementTree.SubElement(case, tag, message=_legal(message + evidence.title)).text = _legal(text)
    elif evidence.status is Status.SKIPPED:
        ElementTree.SubElement(case, "skipped", message=_legal(evidence.reason or "nothing was compared"))
    else:
        ElementTree.SubElement(case, "system-out").text = _legal(text)


def _add_step(suite: ElementTree.Element, derivation: str, step: StepResult) -> None:
    case = _case(suite, derivation, f"proof: {step.heading}", sum(found.seconds for found in step.evidence))
    if not step.holds:
        text = step.error or "\n".join(str(found) for found in step.evidence if found.status is not Status.HOLDS)
        ElementTree.SubElement(case, "failure", message=f"line {step.line} of the proof").text = _legal(text)


def write(report: Report, path: Path) -> None:
    """Writes the run as JUnit XML."""
    root = as_xml(report)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    write_whole(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')
