"""Kernels of textbooks hold, and their usual slips are refuted by a comparison."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from markov import textbook_kernels as kernels

from mathcheck import MarkovKernel, Refuted, Settings, Target, check_markov_kernel
from mathcheck.engine.claim import laws, verify
from mathcheck.engine.evidence import Evidence, Status

SEEDS = range(5)


def law(name: str, kernel: MarkovKernel, **options: float) -> Evidence:
    claim = next(claim for claim in laws(MarkovKernel) if claim.check.__name__ == name)
    return verify(claim, kernel, settings=Settings(**options))  # type: ignore[arg-type]


def refuted(kernel: MarkovKernel, settings: Settings) -> list[Evidence]:
    with pytest.raises(Refuted) as error:
        check_markov_kernel(kernel, settings=settings)
    return [e for e in error.value.evidence if e.status is Status.REFUTED and e.counterexample is not None]


@pytest.mark.parametrize("name", kernels.QUICK_RIGHT)
def test_a_right_one_holds(name: str, seed: int) -> None:
    check_markov_kernel(kernels.QUICK_RIGHT[name], settings=Settings(seed=seed, budget=0.2))


@pytest.mark.parametrize("name", kernels.QUICK_WRONG)
def test_a_slip_is_refuted(name: str, seed: int) -> None:
    assert refuted(kernels.QUICK_WRONG[name], Settings(seed=seed, budget=0.3, shrink=False))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", kernels.RIGHT)
def test_every_right_one_holds_by_default(name: str, seed: int) -> None:
    check_markov_kernel(kernels.RIGHT[name], settings=Settings(seed=seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", kernels.WRONG)
def test_every_slip_is_refuted_by_default(name: str, seed: int) -> None:
    assert refuted(kernels.WRONG[name], Settings(seed=seed))


def test_how_much_a_step_draws_decides_how_independence_is_judged() -> None:
    always, few = kernels.walk(1.0, full=False), kernels.ON_NORMAL(kernels.walk_of_few_draws(1.0))
    row_by_row, in_law = "chains_are_independent", "chains_are_independent_in_law"
    assert law(row_by_row, always).status is Status.HOLDS
    assert law(in_law, always).status is Status.SKIPPED
    assert law(row_by_row, few).status is Status.SKIPPED
    assert law(in_law, few, budget=0.1).status is Status.HOLDS
    leaking = dataclasses.replace(few, step=kernels.leaking_walk_of_few_draws(1.0))
    assert law(in_law, leaking, budget=0.1).status is Status.REFUTED
    assert law(row_by_row, leaking).status is Status.SKIPPED


def test_a_generator_that_cannot_be_looked_into_is_judged_in_law() -> None:
    """The step seeds a generator of NumPy's, of which it draws as much as the states call for."""

    def step(t: Target, x: torch.Tensor, g: torch.Generator) -> torch.Tensor:
        own = np.random.default_rng(int(torch.randint(2**62, (), generator=g)))
        y = x + torch.from_numpy(own.standard_normal(x.shape)).to(x)
        ratio = kernels.change(t, x, y)
        taken = ratio >= 0
        need = ~taken
        taken[need] = torch.from_numpy(own.random(int(need.sum()))).to(x).log() < ratio[need]
        return kernels.choose(taken, y, x)

    assert law("chains_are_independent", kernels.ON_NORMAL(step)).status is Status.SKIPPED
    assert law("chains_are_independent_in_law", kernels.ON_NORMAL(step), budget=0.1).status is Status.HOLDS


def test_an_approximate_kernel_is_held_to_nothing_that_it_does_not_promise() -> None:
    approximate = kernels.halving(kernels.unadjusted, 0.1)
    found = {e.claim.rsplit(".", 1)[-1]: e for e in check_markov_kernel(approximate, settings=Settings(budget=0.3))}
    assert found["halving_its_step_shrinks_its_bias"].status is Status.HOLDS
    for name in ("leaves_its_target_invariant", "a_step_is_as_likely_as_its_reverse", "a_nan_proposal_is_rejected"):
        assert "approximate" in (found[name].reason or "")
    rough = kernels.halving(kernels.unadjusted, 0.1, targets=(kernels.EXPONENTIAL,))
    assert "Lipschitz" in (law("halving_its_step_shrinks_its_bias", rough).reason or "")


def test_a_density_without_its_constant_is_compared_with_itself() -> None:
    kernel = kernels.walk(20.0, kernels.WIDE)
    evidence = law("targets_agree_with_themselves", kernel)
    assert evidence.status is Status.HOLDS
    assert set(evidence.mutants.values()) == {"refuted"}


def test_a_target_says_what_it_lacks() -> None:
    with pytest.raises(ValueError, match="sample must give exact draws of a cloud"):
        Target("a cloud", kernels.NORMAL.log_density)
    x = torch.tensor([[0.5], [-2.0]], dtype=torch.float64)
    assert torch.equal(kernels.DRAWS_ONLY.score(x), -x)
    heights = kernels.DRAWS_ONLY.heights(x)
    assert bool(((heights > 0) & (heights < 1)).all())
    assert heights[0] > heights[1]


@pytest.mark.parametrize("bad", [{"targets": ()}, {"moving": 1.5}, {"order": 0}])
def test_records_refuse_nonsense(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        MarkovKernel(kernels.walk(1.0).step, **bad)  # type: ignore[arg-type]


def test_a_step_that_raises_at_nan_is_not_accused() -> None:
    def step(t: Target, x: torch.Tensor, g: torch.Generator) -> torch.Tensor:
        if bool(t.log_density(x + 1).isnan().any()):
            raise ArithmeticError("the density is not a number")
        return kernels.walk(1.0).step(t, x, g)

    evidence = law("a_nan_proposal_is_rejected", kernels.ON_NORMAL(step))
    assert evidence.status is Status.SKIPPED
    assert "raises an exception" in (evidence.reason or "")
