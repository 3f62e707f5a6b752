"""`LeftOut`: nodes that jobs of this user are kept off for a while, known to all of the user's clients.

Each is a file of the spool, `node-NAME.bad`, whole from the start: a JSON object of the node, until when (seconds since
1970), and why. Deleting it lets jobs go there again, those of a client that looked of late half a minute later.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from vrecompute.batch.spool import Spool
from vrecompute.errors import Unavailable
from vrecompute.records import json_of

__all__ = ["LeftOut"]

_LOG = logging.getLogger(__name__)
_LONG_S = 2 * 3600.0
# How long a look into the spool is good for: many jobs may be submitted one after another, each look is a command.
_LOOK_S = 30.0
#: What may be put into a directive.
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,127}")
_READ = 'cd -- "$1" && cat -- node-*.bad 2> /dev/null || :'


@dataclass(frozen=True)
class _Bad:
    node: str
    until: float
    why: str

    def __str__(self) -> str:
        return (
            f"jobs are kept off node {self.node} until {time.strftime('%H:%M', time.localtime(self.until))}: {self.why}"
        )


class LeftOut:
    """Those of one Backend. What cannot be written or read is no reason for a job not to be submitted."""

    def __init__(self, files: Spool, whose: str, *, can: bool) -> None:
        self.files, self.whose, self.can = files, whose, can
        self._known: dict[str, _Bad] = {}
        self._suspect = ""
        self._looked = float("-inf")

    def add(self, bad: Mapping[str, str], suspect: str = "") -> None:
        """Keep jobs off nodes from now on, each for a reason, where the driver can; and say so.

        Those of this Backend alone also off a suspect, as long as it is one.
        """
        self._suspect = suspect if _NODE.fullmatch(suspect) else ""
        for node, why in bad.items():
            if not (self.can and _NODE.fullmatch(node)):
                _LOG.warning(
                    "%s: jobs come to nothing on node %s, which they cannot be kept off: %s", self.whose, node, why
                )
                continue
            self._known[node] = each = _Bad(node, time.time() + _LONG_S, why)
            path = ""
            with contextlib.suppress(Unavailable, OSError):
                path = f"{self.files.path}/node-{node}.bad"
                self.files.access.put(path, json.dumps(asdict(each)).encode() + b"\n")
            _LOG.warning("%s: %s; `rm %s` lets them go there again", self.whose, each, path)

    def nodes(self) -> tuple[str, ...]:
        """Their names, sorted, by a look into the spool of late; none for a driver that cannot keep jobs off them."""
        if not self.can:
            return ()
        if abs(time.time() - self._looked) > _LOOK_S:
            self._look()
        return tuple(sorted({*(bad.node for bad in self._now()), *filter(None, [self._suspect])}))

    def _look(self) -> None:
        with contextlib.suppress(Unavailable, OSError):
            done = self.files.access.run(["sh", "-c", _READ, "sh", self.files.path])
            self._known, self._looked = {bad.node: bad for bad in _read(done.text)}, time.time()
            if old := [bad.node for bad in self._known.values() if bad.until < time.time()]:
                self.files.access.delete(*(f"{self.files.path}/node-{node}.bad" for node in old))

    def told(self) -> list[str]:
        """A sentence about each, as of the last look."""
        return [str(bad) for bad in self._now()]

    def _now(self) -> list[_Bad]:
        return [bad for bad in self._known.values() if bad.until >= time.time()]


def _read(text: str) -> Iterator[_Bad]:
    """What is in the files; one that is no such thing names no node."""
    for line in text.splitlines():
        with contextlib.suppress(ValueError, TypeError, KeyError):
            given = json_of(line)
            bad = _Bad(str(given["node"]), float(given["until"]), str(given["why"]))
            if _NODE.fullmatch(bad.node) and bad.until < time.time() + 2 * _LONG_S:
                yield bad
