"""`python -m mathcheck`."""

from __future__ import annotations

from mathcheck.cli import main

if __name__ == "__main__":
    main()
