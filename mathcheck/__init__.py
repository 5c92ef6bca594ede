"""Is the maths right? The derivations behind generative models as proofs, as fast code, and as claims to judge by."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mathcheck.claim import Claim as Claim
    from mathcheck.claim import Refuted as Refuted
    from mathcheck.claim import Settings as Settings
    from mathcheck.claim import check as check
    from mathcheck.claim import verify as verify
    from mathcheck.convex.smooth_max import SmoothMax as SmoothMax
    from mathcheck.convex.smooth_max import check_smooth_max as check_smooth_max
    from mathcheck.divergence.divergence import Divergence as Divergence
    from mathcheck.divergence.divergence import check_divergence as check_divergence
    from mathcheck.evidence import Evidence as Evidence
    from mathcheck.evidence import Status as Status
    from mathcheck.flows.bijection import Bijection as Bijection
    from mathcheck.flows.bijection import check_bijection as check_bijection
    from mathcheck.probability.families import normals as normals
    from mathcheck.residual import Ball as Ball
    from mathcheck.residual import Kind as Kind
    from mathcheck.residual import Residual as Residual
    from mathcheck.residual import at_most as at_most
    from mathcheck.residual import close as close
    from mathcheck.residual import exactly as exactly

__version__ = "0.1.0"

# Loaded on first use: importing the package must not cost the seconds that torch takes.
_EXPORTS = {
    "mathcheck.residual": ["Ball", "Kind", "Residual", "at_most", "close", "exactly"],
    "mathcheck.evidence": ["Evidence", "Status"],
    "mathcheck.claim": ["Claim", "Refuted", "Settings", "check", "verify"],
    "mathcheck.probability.families": ["normals"],
    "mathcheck.convex.smooth_max": ["SmoothMax", "check_smooth_max"],
    "mathcheck.divergence.divergence": ["Divergence", "check_divergence"],
    "mathcheck.flows.bijection": ["Bijection", "check_bijection"],
}
_WHERE = {name: module for module, names in _EXPORTS.items() for name in names}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'mathcheck' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
