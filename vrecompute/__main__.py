"""The command line: the console script `vrecompute`, and `python -m vrecompute` where none is on the path."""

from __future__ import annotations

import sys

from vrecompute.workers.quick_exit import end_quickly

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit, quietly where it is interrupted before it is loaded."""
    end_quickly()
    try:
        from vrecompute.cli import main as run
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
