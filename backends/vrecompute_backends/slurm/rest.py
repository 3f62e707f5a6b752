"""Status from slurmrestd, for sites that offer it: two questions in one command, the token on its stdin alone.

Jobs are submitted and cancelled by sbatch and scancel all the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from vrecompute.batch.marks import LONGEST_S, PATIENCE_S
from vrecompute.errors import SiteError, Unavailable
from vrecompute.sites.access import Access

__all__ = ["RestStatus"]

_CURL = ("curl", "--silent", "--show-error", "--fail", "--max-time", str(PATIENCE_S), "--config", "-")
#: Its standard input has three lines: the header with the token, and the addresses of two questions, of which
#: the second may be empty. slurmrestd answers for slurmctld and slurmdbd each, and either may be silent.
_POLL = rf"""
IFS= read -r token
IFS= read -r controller
IFS= read -r accounting
get() {{
  printf '%s\nurl = "%s"\n' "$token" "$1" | ask {" ".join(_CURL)}
}}
answer=$(get "$controller" 2>&1)
printf '==== squeue %s\n%s\n' "$?" "$answer"
if [ -n "$accounting" ]; then
  answer=$(get "$accounting" 2>&1)
  printf '==== sacct %s\n%s\n' "$?" "$answer"
fi
"""
#: What curl says of HTTP's Unauthorized, Forbidden and Network Authentication Required, which is slurmrestd's.
_NO_ENTRY = re.compile(r"returned error: (401|403|511)")


class RestStatus:
    """The jobs of a user as slurmrestd tells them. curl runs where the batch system is spoken to."""

    def __init__(self, access: Access, url: str, token_file: str | None, cluster: str | None = None) -> None:
        self.access = access
        self.url = url.rstrip("/")
        self.token_file = token_file
        self.cluster = cluster
        self._version: str | None = None

    def question(self, ids: Sequence[str], *, accounting: bool) -> tuple[str, bytes]:
        """(script, its standard input) of one poll, whose output `poll.read` reads.

        Asks slurmrestd for the newest version of its interface before the first. Unavailable where it does not answer.
        """
        if self._version is None:
            self._version = self._newest()
        asked = "&".join(sorted({f"step={i.partition('_')[0]}" for i in ids}))
        asked += f"&cluster={self.cluster}" if self.cluster else ""  # accounting tells of all that it serves
        lines = [self._header(), f"{self.url}/slurm/{self._version}/jobs/"]
        lines.append(f"{self.url}/slurmdb/{self._version}/jobs/?{asked}" if accounting else "")
        return _POLL, "".join(f"{line}\n" for line in lines).encode()

    @staticmethod
    def advice(instead: str) -> str:
        """What to do about what came instead of an answer; empty where it says enough itself."""
        return "its token is not accepted: `scontrol token` gives a new one" if _NO_ENTRY.search(instead) else ""

    def _newest(self) -> str:
        """The newest version of the interface that serves both; versions are numbered v0.0.N."""
        asked = f'{self._header()}\nurl = "{self.url}/openapi/v3"\n'
        done = self.access.run(_CURL, stdin=asked.encode(), timeout_s=LONGEST_S)
        if done.code != 0:
            raise Unavailable(f"{self.access}: slurmrestd at {self.url}: {done.complaint or 'no answer'}")
        found = [
            set(re.findall(rf'"/{part}/(v0\.0\.[0-9]{{1,9}})/jobs/', done.text.replace("\\/", "/")))
            for part in ("slurm", "slurmdb")
        ]
        both = sorted(found[0] & found[1], key=lambda version: int(version.rpartition(".")[2]))
        if not both:
            raise Unavailable(f"{self.url} serves no jobs of both slurmctld and slurmdbd; use options.prefer: commands")
        return str(both[-1])

    def _header(self) -> str:
        return f'header = "X-SLURM-USER-TOKEN: {self._token()}"'

    def _token(self) -> str:
        """The token of `options.rest_token_file` on this machine, else of $SLURM_JWT; read anew, since it expires."""
        if self.token_file is None:
            token = os.environ.get("SLURM_JWT", "")
        else:
            try:
                token = Path(os.path.expandvars(self.token_file)).expanduser().read_text().strip()
            except OSError as error:
                raise Unavailable(f"no token for slurmrestd: {self.token_file}: {error.strerror or error}") from error
        token = token.removeprefix("SLURM_JWT=")
        if not re.fullmatch(r"[A-Za-z0-9_.=-]+", token):
            raise SiteError(
                "no token for slurmrestd: write `scontrol token` to options.rest_token_file, or set SLURM_JWT"
            )
        return token
