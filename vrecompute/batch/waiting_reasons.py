"""`WaitingReasons`: why a job waits, as a sentence, from the reason that a system gives: a code, or words.

A driver has the tables. What a reason says beside its code differs between jobs, as the names of nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vrecompute.batch.limit_reached import LimitReached

__all__ = ["WaitingReasons"]

#: `NodeNotAvailable, nodes:c1` and `(Priority)` begin with the code; words are none.
_CODE = re.compile(r"\(?([A-Za-z]++)(?!'|[ _][A-Za-z0-9])")


def _no_limit(code: str) -> LimitReached | None:
    del code
    return None


@dataclass(frozen=True)
class WaitingReasons:
    """The sentences of one `system`, by codes and by patterns of words.

    `passing`, `said`: of what passes when other jobs end, or the site lets it. `never`, `never_said`: what no end of
    another job mends, only a change of the job, of the site's file or of the site. `told_apart`: (code, word) of
    reasons in which a word says more than the code. `holding`: codes and words of jobs that start no sooner than they
    are released. `limit` reads the codes that name a limit by its parts.
    """

    system: str
    passing: Mapping[str, str]
    never: Mapping[str, str]
    said: Mapping[str, str] = field(default_factory=dict)
    never_said: Mapping[str, str] = field(default_factory=dict)
    told_apart: Mapping[tuple[str, str], str] = field(default_factory=dict)
    holding: tuple[frozenset[str], re.Pattern[str]] = (frozenset(), re.compile(r"(?!)"))
    limit: Callable[[str], LimitReached | None] = _no_limit

    def held(self, reason: str) -> bool:
        """Whether a pending job with this reason will not start before it is released."""
        codes, words = self.holding
        return _code(reason) in codes or bool(words.search(reason))

    def never_starts(self, reason: str) -> bool:
        """Whether waiting alone will not start a pending job with this reason."""
        code = _code(reason)
        if any(re.search(words, reason) for words in self.never_said):
            return True
        limit = self.limit(code)
        return code in self.never or (limit is not None and limit.never)

    def why(self, reason: str) -> str:
        """What a job waits for, and what to do where waiting alone does not help; empty where nothing is said.

        >>> reasons = WaitingReasons("QQ", {"Priority": "others are before it"}, {}, {"no machine": "none is free"})
        >>> reasons.why("(Priority)"), reasons.why("no machine now"), reasons.why("Moon")
        ('others are before it', 'none is free', "QQ gives the reason 'Moon'")
        """
        code = _code(reason)
        apart = (said for (of, word), said in self.told_apart.items() if of == code and word in reason)
        if known := next(apart, None) or self.never.get(code) or self.passing.get(code) or self.limit(code):
            return str(known)
        words = {**self.never_said, **self.said}
        if said := next((sentence for pattern, sentence in words.items() if re.search(pattern, reason)), ""):
            return f"{said} ({reason})" if self.never_starts(reason) else said
        return f"{self.system} gives the reason {reason!r}" if reason else ""

    def code(self, reason: str) -> str:
        """The system's word for it without what differs between jobs; all of a reason that comes in words."""
        return _code(reason) or reason


def _code(reason: str) -> str:
    found = _CODE.match(reason)
    return found[1] if found else ""
