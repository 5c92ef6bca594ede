"""Statements about all real numbers, decided by z3: a proof, a counterexample, or `Undecided`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import z3

from mathcheck.engine.residual import Kind, Residual, Undecided

# z3's expressions have no types here.
Formula = Any

_DIVISIONS = (z3.Z3_OP_DIV, z3.Z3_OP_IDIV, z3.Z3_OP_MOD, z3.Z3_OP_REM)


def _solve(formulas: Sequence[Formula], timeout: float) -> tuple[Any, Any]:
    solver = z3.Solver()
    # Seeds fixed, so that only the clock can change an answer, and then only to or from "unknown".
    solver.set("timeout", max(1, round(timeout * 1000)), "random_seed", 0)
    solver.add(*formulas)
    return solver.check(), solver


def _denominators(formula: Formula) -> Iterator[Formula]:
    if z3.is_app(formula) and formula.decl().kind() in _DIVISIONS:
        yield formula.arg(1)
    # Denominators with a variable that a quantifier binds have no value in a model, and are left out.
    if not z3.is_quantifier(formula):
        for child in formula.children():
            yield from _denominators(child)


def for_all(statement: Formula, *, given: Sequence[Formula] = (), timeout: float = 10.0, what: str = "") -> Residual:
    r"""$\forall x: \mathrm{given}(x) \Rightarrow \mathrm{statement}(x)$, over all values of the free constants.

    z3 is asked for the negation: if that has no solution, the statement is proved; a solution is a counterexample, and
    is put into the statement again before it counts. z3 gives $x / 0$ an arbitrary value, so `given` has to exclude
    denominators of zero; a counterexample that hangs on such a value does not count. Statements that are polynomial in
    real constants are decidable, though time may not suffice.

    Args:
        statement: a z3 boolean over constants such as `z3.Real("x")`.
        given: hypotheses, z3 booleans.
        timeout: seconds, above 0, for each of at most two questions to z3.
        what: names the statement; by default its text.

    Returns:
        Error 0 if proved; error 1 with the counterexample in `actual` if refuted. The bound is 0, the kind `EXACT`.

    Raises:
        TypeError: if `statement` or a hypothesis is not a z3 boolean.
        ValueError: if the hypotheses contradict each other or let a denominator be zero, or `timeout` is not positive.
        Undecided: if z3 gave up, or could not find out whether the hypotheses contradict each other.
    """
    if z3.is_expr(given) or not isinstance(given, Sequence):
        raise TypeError(f"given must be a sequence of z3 booleans, got {type(given).__name__}")
    for name, formula in [("statement", statement), *((f"given[{i}]", g) for i, g in enumerate(given))]:
        if not z3.is_bool(formula):
            raise TypeError(f"{name} must be a z3 boolean, got {formula!r} of type {type(formula).__name__}")
    if not timeout > 0:
        raise ValueError(f"timeout must be above 0 seconds, got {timeout}")
    text = " ".join(str(statement).split())
    what = what or text
    answer, solver = _solve([*given, z3.Not(statement)], timeout)
    if answer == z3.sat:
        model = solver.model()
        if not all(z3.is_true(model.eval(f, model_completion=True)) for f in (*given, z3.Not(statement))):
            raise Undecided(f"z3 found a counterexample to {what} that it could not confirm: {model}")
        zeros = [
            str(d)
            for f in (*given, statement)
            for d in _denominators(f)
            if z3.is_true(model.eval(d == 0, model_completion=True))
        ]
        constants = [d for d in model.decls() if d.arity() == 0]
        point = ", ".join(sorted(f"{d.name()} = {model[d]}" for d in constants))
        # With other values of x / 0 the statement may hold at the same point: then it is not false but undefined there.
        if zeros and _solve([*given, statement, *(d() == model[d] for d in constants)], timeout)[0] != z3.unsat:
            raise ValueError(f"given must exclude denominators of zero, but {zeros[0]} = 0 at {point}")
        return Residual(1.0, 0.0, Kind.EXACT, what, f"false at {point or 'every point'}", text, source="z3")
    if answer == z3.unknown:
        raise Undecided(f"z3 gave up on {what} within {timeout} s: {solver.reason_unknown()}")
    if given:
        consistent, solver = _solve(given, timeout)
        if consistent == z3.unsat:
            raise ValueError(f"given is contradictory, so it implies anything: {list(given)}")
        if consistent == z3.unknown:
            raise Undecided(f"z3 could not find out whether given is contradictory: {solver.reason_unknown()}")
    return Residual(0.0, 0.0, Kind.EXACT, what, "proved for all values", text, source="z3")
