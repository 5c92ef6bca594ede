"""Is the maths right? The derivations behind generative models as proofs, as fast code, and as claims to judge by."""

import lazy_loader

from mathcheck.engine import adapting, moved

# The names stand in `__init__.pyi`. Each is loaded on first use: importing the package must not cost what torch takes.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.2.0"
moved.install()
adapting.look_in("mathcheck.adapters")
