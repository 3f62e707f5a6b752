"""`Accounting`: the source of a poll that may hang while the queue answers, and is left alone for a while then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from vrecompute.batch.known import Answer

__all__ = ["Accounting"]

#: How long accounting is left alone that let a poll wait so long for nothing: what the queue knows would come late.
_LEFT_ALONE_S, _HUNG_S = 30.0, 5.0
_Answer = TypeVar("_Answer", bound=Answer[Any])


class Accounting:
    """That of one backend."""

    def __init__(self) -> None:
        self._silent = float("-inf")

    def asked(self, poll: Callable[[bool], _Answer]) -> _Answer:
        """What a poll says that asks accounting too where it is given True; silent where accounting is left alone."""
        now = time.monotonic()
        if now - self._silent < _LEFT_ALONE_S:
            return replace(poll(False), silent=True)
        answer = poll(True)
        if answer.silent and time.monotonic() - now > _HUNG_S:
            self._silent = time.monotonic()
        return answer
