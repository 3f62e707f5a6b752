"""Waiting for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["comes_true"]


def comes_true(condition: Callable[[], object], patience_s: float = 60.0, pause_s: float = 0.1) -> bool:
    """Whether the condition held at one of the looks that fit into this time.

    Looks are counted, not seconds: where the machine stands still for a while, so does what is waited for.
    """
    for _ in range(int(patience_s / pause_s)):
        if condition():
            return True
        time.sleep(pause_s)
    return bool(condition())
