"""Status from slurmrestd, for sites that offer it: two questions in one command, the token on its stdin alone.

Jobs are submitted and cancelled by sbatch and scancel all the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vrecompute.batch.marks import LONGEST_S
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.web_questions import CURL, GET, Token
from vrecompute.errors import SiteError, Unavailable

__all__ = ["POLL", "RestStatus"]

#: Its standard input has three lines: the header with the token, and the addresses of two questions, of which
#: the second may be empty. slurmrestd answers for slurmctld and slurmdbd each, and either may be silent.
POLL = rf"""{GET}
IFS= read -r controller
IFS= read -r accounting
tell squeue get "$controller"
[ -z "$accounting" ] || tell sacct get "$accounting"
"""
_ADVICE = "write `scontrol token` to options.rest_token_file, or set SLURM_JWT"


class RestStatus:
    """The jobs of a user as slurmrestd tells them. curl runs where the batch system is spoken to."""

    def __init__(self, backend: QueueBackend) -> None:
        if backend.options.rest_url is None:
            raise SiteError(f"site {backend.site.name!r}: options.prefer: rest needs options.rest_url")
        self.access, self.options = backend.access, backend.options
        self.url, self._version = backend.options.rest_url.rstrip("/"), ""
        self.token = Token("slurmrestd", "X-SLURM-USER-TOKEN", "SLURM_JWT", _ADVICE, self.options.rest_token_file)

    def questions(self, ids: Sequence[str], *, accounting: bool) -> bytes:
        """The standard input of POLL.

        Asks slurmrestd for the newest version of its interface before the first. Unavailable where it does not answer.
        """
        self._version = self._version or self._newest()
        asked = "&".join(sorted({f"step={i.partition('_')[0]}" for i in ids}))
        if self.options.cluster:  # accounting tells of all that it serves
            asked += f"&cluster={self.options.cluster}"
        accounts = f"{self.url}/slurmdb/{self._version}/jobs/?{asked}" if accounting else ""
        return f"{self.token.header()}\n{self.url}/slurm/{self._version}/jobs/\n{accounts}\n".encode()

    def _newest(self) -> str:
        """The newest version of the interface that serves both; versions are numbered v0.0.N."""
        asked = f'{self.token.header()}\nurl = "{self.url}/openapi/v3"\n'
        done = self.access.run(CURL, stdin=asked.encode(), timeout_s=LONGEST_S)
        if done.code != 0:
            raise Unavailable(f"{self.access}: slurmrestd at {self.url}: {done.complaint or 'no answer'}")
        served = set(re.findall(r'"/(slurm|slurmdb)/v0\.0\.([0-9]{1,9})/jobs/', done.text.replace("\\/", "/")))
        both = [number for part, number in served if part == "slurm" and ("slurmdb", number) in served]
        if not both:
            raise Unavailable(f"{self.url} serves no jobs of both slurmctld and slurmdbd; use options.prefer: commands")
        return f"v0.0.{max(both, key=int)}"
