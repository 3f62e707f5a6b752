"""`StatusQuery`: asks a Slurm about any number of jobs by one command, in the way that its site prefers.

A way that turns out not to exist here is given up for good, with one warning, for the text of the commands,
which every Slurm has.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from functools import partial

from vrecompute.batch.accounting import Accounting
from vrecompute.batch.queue_driver import QueueDriver
from vrecompute.sites.access import LocalAccess
from vrecompute_backends.slurm.poll import Polled, by_commands, read
from vrecompute_backends.slurm.pyslurm_query import BODY, mismatch
from vrecompute_backends.slurm.rest import POLL, RestStatus
from vrecompute_backends.slurm.submit import FORGET

__all__ = ["StatusQuery"]

_LOG = logging.getLogger(__name__)
_GIVEN_UP = (
    "site %r: options.prefer: %s does not work here: %s. The text of squeue and sacct is read instead; "
    "`options: {prefer: commands}` in its file does so without this warning"
)


class StatusQuery:
    """The questions of one backend. `way` is what it asks by now: commands, json, rest or pyslurm."""

    def __init__(self, backend: QueueDriver) -> None:
        self.backend = backend
        self.way: str = backend.options.prefer
        self._rest = RestStatus(backend) if self.way == "rest" else None
        self._matched = self.way != "pyslurm"
        self._accounting = Accounting()

    def ask(self, ids: Sequence[str]) -> Polled:
        """What is known of these ids, within `marks.LONGEST_S`. Unavailable where the site does not answer."""
        if not self._matched:
            self._match_pyslurm()
        answer = self._accounting.asked(partial(self._ask, ids))
        if answer.refusal:
            self._give_up(answer.refusal)
            answer = self._accounting.asked(partial(self._ask, ids))
        return answer

    def _ask(self, ids: Sequence[str], accounting: bool) -> Polled:
        (script, *arguments), stdin = self._question(ids, accounting=accounting)
        marks, lines, _ = self.backend.ask_site(FORGET + script, ids, *arguments, stdin=stdin)
        return read(marks, lines, ids, self.way)

    def _question(self, ids: Sequence[str], *, accounting: bool) -> tuple[list[str], bytes]:
        """The script of a poll with its arguments from $3 on, and its standard input."""
        if self._rest is not None:
            return [POLL], self._rest.questions(ids, accounting=accounting)
        if self.way == "pyslurm":
            return [BODY, sys.executable, "accounting" if accounting else ""], b""
        return by_commands(self.way, accounting=accounting, cluster=self.backend.options.cluster), b""

    def _match_pyslurm(self) -> None:
        access = self.backend.access
        if not isinstance(access, LocalAccess):
            self._give_up(f"pyslurm can ask only the Slurm of this machine, and this site is reached by {access}")
        elif why := mismatch(self.backend.greet()):
            self._give_up(why)
        self._matched = True

    def _give_up(self, why: str) -> None:
        _LOG.warning(_GIVEN_UP, self.backend.site.name, self.way, why)
        self.way = "commands"
