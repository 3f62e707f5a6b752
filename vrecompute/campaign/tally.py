"""`Tally`: what one tick did and found, and the exit code and sentence that follow."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from vrecompute.errors import VrecomputeError

__all__ = ["NOTHING_TO_DO", "Tally"]

NOTHING_TO_DO = 6
# The code of a tick is the first of these that anything in it has.
_ORDER = (2, 4, 5, 3, 7)


@dataclass
class Tally:
    """Counted by word: submitted, published, failed, ...; `troubles` are sentences by exit code."""

    done: Counter[str] = field(default_factory=Counter)
    troubles: dict[str, int] = field(default_factory=dict)
    waiting: str = ""

    def trouble(self, sentence: str, code: int) -> None:
        """Something went wrong; said once."""
        self.troubles.setdefault(sentence, code if code in _ORDER else 4)

    def error(self, error: VrecomputeError, of: str = "") -> None:
        """The same from an error."""
        said = str(error)
        self.trouble(f"{of}: {said}" if of and of not in said else said, error.exit_code)

    @property
    def exit_code(self) -> int:
        """The worst; 0 where something was done, 6 where there was nothing to do."""
        codes = set(self.troubles.values())
        worst = next((code for code in _ORDER if code in codes), None)
        return worst if worst is not None else 0 if self.done else NOTHING_TO_DO

    @property
    def summary(self) -> str:
        """One line; empty where there was nothing to do."""
        words = [f"{count} {word}" for word, count in self.done.items()]
        return "; ".join(filter(None, [", ".join(words), self.trouble_text]))

    @property
    def trouble_text(self) -> str:
        """The worst of what went wrong; empty where nothing did."""
        first = sorted(self.troubles, key=lambda said: _ORDER.index(self.troubles[said]))
        more = f" (and {len(first) - 2} more)" if len(first) > 2 else ""
        return "; ".join(said.splitlines()[0] for said in first[:2]) + more
