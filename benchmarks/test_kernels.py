"""The kernels beside their peers, for pytest-benchmark: each result is verified, then timed.

pytest benchmarks --benchmark-enable --benchmark-group-by=group --benchmark-columns=median,iqr,rounds

Read the ratios within a group, not the times; `mathcheck bench` takes all contenders in turn, which is fairer still.
"""

from __future__ import annotations

import pytest

from mathcheck.bench.kernel import Kernel, catalogue

CASES = [
    pytest.param(kernel, name, id=f"{kernel.name}-{name}")
    for kernel in catalogue().values()
    for name in kernel.present()
]


@pytest.mark.parametrize(("kernel", "name"), CASES)
def test_kernel(benchmark, kernel: Kernel, name: str) -> None:
    # Without timing, a small size shows whether everything still runs and is right.
    size = kernel.sizes[-1 if benchmark.enabled else 0]
    benchmark.group = f"{kernel.title}, {', '.join(f'{k} {v}' for k, v in size.items())}"
    inputs = kernel.problem(size)
    call = kernel.contenders[name].prepare(*inputs)
    worst = max(kernel.residuals(inputs, call()), key=lambda residual: residual.ratio)
    if worst.ratio > 1 and not name.startswith("mathcheck"):
        pytest.skip(f"wrong here: {worst}")
    assert worst.ratio <= 1, worst
    benchmark(call)
