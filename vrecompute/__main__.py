"""`python -m vrecompute`: the command line, where no `vrecompute` is on the path."""

from __future__ import annotations

from vrecompute.cli import main

if __name__ == "__main__":
    main()
