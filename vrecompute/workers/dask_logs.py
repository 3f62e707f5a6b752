"""`dask_logs_kept_back`: what Dask logs of a lost worker or scheduler is for its developers; a run's report says it.

Dask's own way, `silence_logging`, sets levels of handlers: where a program has configured logging before it imports
Dask there are none to set, and where the program's own handlers are Dask's too its own lines would be lost.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

__all__ = ["dask_logs_kept_back"]

_DASK = "distributed"
_lock = threading.Lock()
_levels: dict[str, int] = {}
_holders = 0


@contextlib.contextmanager
def dask_logs_kept_back() -> Iterator[None]:
    """Meanwhile nothing that Dask logs below CRITICAL is shown. Several may overlap, and end in any order."""
    global _holders
    with _lock:
        for logger in _own_levels():
            if logger.level < logging.CRITICAL:
                _levels.setdefault(logger.name, logger.level)
                logger.setLevel(logging.CRITICAL)
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if not _holders:
                for name, level in _levels.items():
                    logger = logging.getLogger(name)
                    if logger.level == logging.CRITICAL:  # else somebody has chosen another meanwhile
                        logger.setLevel(level)
                _levels.clear()


def _own_levels() -> list[logging.Logger]:
    """Dask's logger, and those below it that do not take its level."""
    below = [each for name, each in list(logging.root.manager.loggerDict.items()) if name.startswith(f"{_DASK}.")]
    return [logging.getLogger(_DASK), *(each for each in below if isinstance(each, logging.Logger) and each.level)]
