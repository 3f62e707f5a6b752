"""`StatusQuery`: asks a Slurm about any number of jobs by one command, in the way that its site prefers.

A way that turns out not to exist here is given up for good, with one warning, for the text of the commands,
which every Slurm has.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from vrecompute.errors import SiteError
from vrecompute.sites.access import Access, Completed, LocalAccess
from vrecompute.sites.model import Site
from vrecompute_backends.slurm.options import SlurmOptions
from vrecompute_backends.slurm.poll import Polled, by_commands, read
from vrecompute_backends.slurm.pyslurm_query import BODY, mismatch
from vrecompute_backends.slurm.rest import RestStatus
from vrecompute_backends.slurm.shell import FORGET, version

__all__ = ["StatusQuery"]

_LOG = logging.getLogger(__name__)
#: How long accounting is left alone that let a poll wait so long for nothing: what squeue knows would come late.
_LEFT_ALONE_S, _HUNG_S = 30.0, 5.0
#: `QueueDriver.ask_site`.
AskSite = Callable[..., tuple[dict[str, dict[int, int]], list[str], Completed]]


class StatusQuery:
    """The questions of one backend. `way` is what it asks by now: commands, json, rest or pyslurm."""

    def __init__(self, site: Site, options: SlurmOptions, access: Access, ask_site: AskSite) -> None:
        self.site, self.access, self.cluster = site, access, options.cluster
        self.way: str = options.prefer
        self._ask_site = ask_site
        self._rest: RestStatus | None = None
        if self.way == "rest":
            if options.rest_url is None:
                raise SiteError(f"site {site.name!r}: options.prefer: rest needs options.rest_url")
            self._rest = RestStatus(access, options.rest_url, options.rest_token_file, options.cluster)
        self._matched = False
        self._silent = float("-inf")

    def ask(self, ids: Sequence[str]) -> Polled:
        """What is known of these ids, within `marks.LONGEST_S`. Unavailable where the site does not answer."""
        if self.way == "pyslurm" and not self._matched:
            self._match_pyslurm()
        answer = self._ask(ids)
        if answer.refusal:
            self._give_up(answer.refusal)
            answer = self._ask(ids)
        return answer

    def _ask(self, ids: Sequence[str]) -> Polled:
        now = time.monotonic()
        alone = now - self._silent < _LEFT_ALONE_S
        script, arguments, stdin = self._question(ids, accounting=not alone)
        marks, lines, _ = self._ask_site(FORGET + script, ids, *arguments, stdin=stdin)
        answer = read(marks, lines, ids, self.way)
        if self._rest is not None and (advice := self._rest.advice(answer.instead)):
            answer = replace(answer, instead=f"{answer.instead}; {advice}")
        if alone:
            return replace(answer, silent=True)
        if answer.silent and time.monotonic() - now > _HUNG_S:
            self._silent = time.monotonic()
        return answer

    def _question(self, ids: Sequence[str], *, accounting: bool) -> tuple[str, list[str], bytes]:
        """The script of a poll, its arguments from $3 on, and its standard input."""
        if self.way == "rest" and self._rest is not None:
            script, stdin = self._rest.question(ids, accounting=accounting)
            return script, [], stdin
        if self.way == "pyslurm":
            return BODY, [sys.executable, "accounting" if accounting else ""], b""
        script, *arguments = by_commands(self.way, accounting=accounting, cluster=self.cluster)
        return script, arguments, b""

    def _match_pyslurm(self) -> None:
        if not isinstance(self.access, LocalAccess):
            self._give_up(f"pyslurm can ask only the Slurm of this machine, and this site is reached by {self.access}")
        elif why := mismatch(version(self.access)):
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
