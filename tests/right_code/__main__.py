"""`python -m right_code`, from the folder of the tests: judges all right code and writes the table of docs/self-test.md.

Every subject, dtype and seed is judged; it takes hours of one processor. `--seeds 0` takes a fifth of it.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from pathlib import Path

import torch

from mathcheck import Refuted
from mathcheck.engine.evidence import Status
from mathcheck.report import pages
from mathcheck.runner import index
from right_code.catalogue import SUBJECTS
from right_code.subject import SEEDS, Right


def judged(subjects: dict[str, Right], seeds: list[int]) -> Counter[str]:
    """What became of the laws, and of the checks: "checks", "alarms" and the statuses."""
    counts: Counter[str] = Counter()
    for name, right in subjects.items():
        for dtype in right.dtypes:
            for seed in seeds:
                try:
                    found = right.judge(dtype, seed)
                except Refuted as alarm:
                    found = alarm.evidence
                    counts["alarms"] += 1
                    print(f"{name}, {dtype}, seed {seed}\n{alarm}", flush=True)
                counts["checks"] += 1
                counts.update(str(e.status) for e in found)
    return counts


def row(name: str, number: int, counts: Counter[str]) -> str:
    """One line of the table."""
    figures = [number, counts["checks"], counts[Status.HOLDS], counts[Status.INACCURATE], counts["alarms"]]
    return f"| {name} | " + " | ".join(map(str, figures)) + " |"


def main() -> None:
    """Judges, prints and writes."""
    parser = argparse.ArgumentParser(prog="right_code", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--root", type=Path, help="the checkout whose page is written; default: it is printed only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    lines = ["| right code | subjects | checks | laws that hold | laws that lose digits | false alarms |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    total: Counter[str] = Counter()
    for room, subjects in SUBJECTS.items():
        counts = judged(subjects, options.seeds)
        total += counts
        lines.append(row(room, len(subjects), counts))
        print(lines[-1], flush=True)
    lines.append(row("all", sum(map(len, SUBJECTS.values())), total))
    print(lines[-1])
    if options.root is not None:
        pages.write(None, {"right-code": "\n".join(lines)}, index.proofs(), options.root)


if __name__ == "__main__":
    main()
