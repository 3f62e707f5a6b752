"""How far parts of vrecompute are from what the machine allows: `python -m benchmarks.limits PART [...]`."""

from __future__ import annotations

import sys

from benchmarks import kernel

PARTS = {"kernel": kernel.main}

if __name__ == "__main__":
    part = sys.argv[1] if len(sys.argv) > 1 else ""
    if part not in PARTS:
        raise SystemExit(f"name one of: {', '.join(PARTS)}")
    sys.exit(PARTS[part](sys.argv[2:]))
