r"""Families of outcomes that can be counted: binary vectors, vectors of classes, vectors of counts.

Each is the domain of a log-likelihood, as `mathcheck.probability.families.Normals` is for real vectors: it says which
parameters are given, and how far a search goes.
"""

from __future__ import annotations

from dataclasses import dataclass

from mathcheck.engine import arguments


def _one_of(names: tuple[str, ...], parameter: str) -> None:
    if parameter not in names:
        raise ValueError(f"parameter must be one of {names}, got {parameter!r}")


@dataclass(frozen=True)
class Bernoullis:
    r"""Binary vectors: $p(t) = \prod_i \mu_i^{t_i}(1-\mu_i)^{1-t_i}$ for outcomes `(*batch, n)`, floats 0 or 1.

    Args:
        parameter: "probability", $\mu$ itself, or "logit", $\log\frac{\mu}{1-\mu}$; `(*batch, n)`.
        boundary: whether probabilities may be 0, 1 or very close to them; without they stay 0.001 away.
        reach: logits are drawn from [-reach, reach].
    """

    parameter: str = "probability"
    boundary: bool = True
    reach: float = 1e4

    def __post_init__(self) -> None:
        _one_of(("probability", "logit"), self.parameter)
        arguments.positive(reach=self.reach)
        arguments.instances(bool, boundary=self.boundary)

    @property
    def logit(self) -> bool:
        """True if the parameter is a logit."""
        return self.parameter == "logit"


@dataclass(frozen=True)
class Categoricals:
    r"""Vectors of classes: $p(t) = \prod_i \pi_{i t_i}$ for outcomes `(*batch, n)`, indices from 0, in int64.

    Args:
        parameter: "logits", $\pi_{ij} = e^{\ell_{ij}}/\sum_k e^{\ell_{ik}}$, or "probabilities", $\pi$ itself, whose rows sum
            to 1 up to rounding; `(*batch, n, k)`.
        boundary: whether probabilities may be 0, 1 or very close to them; without they stay 0.001 away.
        reach: logits are drawn from [-reach, reach].
    """

    parameter: str = "logits"
    boundary: bool = True
    reach: float = 1e4

    def __post_init__(self) -> None:
        _one_of(("logits", "probabilities"), self.parameter)
        arguments.positive(reach=self.reach)
        arguments.instances(bool, boundary=self.boundary)

    @property
    def logits(self) -> bool:
        """True if the parameters are logits."""
        return self.parameter == "logits"


@dataclass(frozen=True)
class Poissons:
    r"""Vectors of counts: $p(t) = \prod_i \lambda_i^{t_i}e^{-\lambda_i}/t_i!$ for outcomes `(*batch, n)`, floats 0, 1, 2, ...

    Args:
        parameter: "rate", $\lambda$ itself, or "log_rate", $\log\lambda$; `(*batch, n)`.
        boundary: whether rates may be 0 or very close to it; without they are at least 0.001.
        reach: the largest rate drawn.
    """

    parameter: str = "rate"
    boundary: bool = True
    reach: float = 1e3

    def __post_init__(self) -> None:
        _one_of(("rate", "log_rate"), self.parameter)
        arguments.positive(reach=self.reach)
        arguments.instances(bool, boundary=self.boundary)
        if not 1 <= self.reach <= 1e6:
            raise ValueError(f"reach must be in [1, 1e6], got {self.reach}")

    @property
    def log(self) -> bool:
        """True if the parameter is the logarithm of a rate."""
        return self.parameter == "log_rate"


def _check(parameter: str, boundary: bool, reach: float) -> None:
    arguments.instances(str, parameter=parameter)
    arguments.instances(bool, boundary=boundary)
    arguments.positive(reach=reach)


def bernoullis(parameter: str = "probability", *, boundary: bool = True, reach: float = 1e4) -> Bernoullis:
    """The family of binary vectors given by "probability" or "logit"; see `Bernoullis`.

    Raises:
        TypeError, ValueError: for an unknown parameter, or arguments of another type.
    """
    _check(parameter, boundary, reach)
    return Bernoullis(parameter, boundary, reach)


def categoricals(parameter: str = "logits", *, boundary: bool = True, reach: float = 1e4) -> Categoricals:
    """The family of vectors of classes given by "logits" or "probabilities"; see `Categoricals`.

    Raises:
        TypeError, ValueError: for an unknown parameter, or arguments of another type.
    """
    _check(parameter, boundary, reach)
    return Categoricals(parameter, boundary, reach)


def poissons(parameter: str = "rate", *, boundary: bool = True, reach: float = 1e3) -> Poissons:
    """The family of vectors of counts given by "rate" or "log_rate"; see `Poissons`.

    Raises:
        TypeError, ValueError: for an unknown parameter, or arguments of another type.
    """
    _check(parameter, boundary, reach)
    return Poissons(parameter, boundary, reach)
