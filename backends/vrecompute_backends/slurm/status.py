"""`StatusQuery`: asks a Slurm about any number of jobs by one command, in the way that its site prefers.

A way that turns out not to exist here is given up for good, with one warning, for the text of the commands,
which every Slurm has.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from vrecompute.batch.outage import Outage
from vrecompute.errors import SiteError, Unavailable
from vrecompute.sites.access import Access, LocalAccess
from vrecompute.sites.model import Site
from vrecompute_backends.slurm.options import SlurmOptions
from vrecompute_backends.slurm.poll import LONGEST_S, MARKS, Answer, by_commands, read
from vrecompute_backends.slurm.pyslurm_query import BODY, mismatch
from vrecompute_backends.slurm.rest import RestStatus
from vrecompute_backends.slurm.shell import complaint, slurm

__all__ = ["StatusQuery"]

_LOG = logging.getLogger(__name__)
#: How long accounting is left alone that let a poll wait so long for nothing: what squeue knows would come late.
_LEFT_ALONE_S, _HUNG_S = 30.0, 5.0


class StatusQuery:
    """The questions of one backend. `way` is what it asks by now: commands, json, rest or pyslurm."""

    def __init__(self, site: Site, options: SlurmOptions, access: Access) -> None:
        self.site = site
        self.access = access
        self.cluster = options.cluster
        self.way: str = options.prefer
        self._rest: RestStatus | None = None
        if self.way == "rest":
            if options.rest_url is None:
                raise SiteError(f"site {site.name!r}: options.prefer: rest needs options.rest_url")
            self._rest = RestStatus(access, options.rest_url, options.rest_token_file, options.cluster)
        whom = f"slurmrestd at {options.rest_url}" if self._rest is not None else f"Slurm ({access})"
        self._silence = Outage(f"site {site.name!r}: {whom}")
        self._matched = False
        self._silent = float("-inf")

    def ask(self, spool: str, ids: Sequence[str]) -> Answer:
        """What is known of these ids, within `slurm_poll.LONGEST_S`. Unavailable where the site does not answer."""
        try:
            if self.way == "pyslurm" and not self._matched:
                self._match_pyslurm()
            answer = self._ask(spool, ids)
            if answer.refusal:
                self._give_up(answer.refusal)
                answer = self._ask(spool, ids)
        except Unavailable as error:
            self._keep_silence(str(error))
            raise
        if answer.instead:
            self._keep_silence(answer.instead)
        else:
            self._silence.broken()
        return answer

    def _keep_silence(self, instead: str) -> None:
        advice = self._rest.advice(instead) if self._rest is not None else ""
        self._silence.kept(f"{instead}; {advice}" if advice else instead)

    def _ask(self, spool: str, ids: Sequence[str]) -> Answer:
        now = time.monotonic()
        alone = now - self._silent < _LEFT_ALONE_S
        command, stdin = self._question(spool, ids, accounting=not alone)
        answer = read(self.access.run(command, stdin=stdin, timeout_s=LONGEST_S).text, ids, self.way)
        if alone:
            return replace(answer, silent=True)
        if answer.silent and time.monotonic() - now > _HUNG_S:
            self._silent = time.monotonic()
        return answer

    def _question(self, spool: str, ids: Sequence[str], *, accounting: bool) -> tuple[list[str], bytes]:
        if self.way == "rest" and self._rest is not None:
            return self._rest.question(spool, ids, accounting=accounting)
        if self.way == "pyslurm":
            words = [spool, ",".join(ids), sys.executable, "accounting" if accounting else ""]
            return ["sh", "-c", MARKS + BODY, "sh", *words], b""
        return by_commands(spool, ids, self.way, accounting=accounting, cluster=self.cluster), b""

    def _match_pyslurm(self) -> None:
        if not isinstance(self.access, LocalAccess):
            self._give_up(f"pyslurm can ask only the Slurm of this machine, and this site is reached by {self.access}")
            return
        done = slurm(self.access, ["sinfo", "--version"])
        if done.code != 0:
            raise Unavailable(f"{self.access}: sinfo --version: {complaint(done)}")
        why = mismatch(done.text)
        if why:
            self._give_up(why)
        self._matched = True

    def _give_up(self, why: str) -> None:
        _LOG.warning(
            "site %r: options.prefer: %s does not work here: %s. The text of squeue and sacct is read instead; "
            "`options: {prefer: commands}` in its file does so without this warning",
            self.site.name,
            self.way,
            why,
        )
        self.way = "commands"
