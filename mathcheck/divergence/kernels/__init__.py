"""Fast pieces that several theorems share; whoever calls them has checked the arguments."""

__all__: list[str] = []
