"""Status from slurmrestd, for sites that offer it: two questions in one command, the token on its stdin alone.

Jobs are submitted and cancelled by sbatch and scancel all the same.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vrecompute.access import Access
from vrecompute.errors import SiteError, Unavailable

__all__ = ["RestStatus"]

_CURL = ("curl", "--silent", "--show-error", "--fail", "--max-time", "60", "--config", "-")


class RestStatus:
    """The jobs of a user as slurmrestd tells them. curl runs where the batch system is spoken to."""

    def __init__(self, access: Access, url: str, token_file: str | None) -> None:
        self.access = access
        self.url = url.rstrip("/")
        self.token_file = token_file
        self._version: str | None = None

    def jobs(self, ids: Sequence[str]) -> tuple[str, str]:
        """(what slurmctld knows, what slurmdbd knows of `ids`) as JSON texts; Unavailable where there is no answer."""
        if self._version is None:
            self._version = self._newest()
        asked = "&".join(sorted({f"step={i.partition('_')[0]}" for i in ids}))
        paths = [f"/slurm/{self._version}/jobs/", f"/slurmdb/{self._version}/jobs/?{asked}"]
        controller, accounting = self._get(paths)
        return json.dumps(controller), json.dumps(accounting)

    def _newest(self) -> str:
        """The newest version of the interface that serves both; versions are numbered v0.0.N."""
        (specification,) = self._get(["/openapi/v3"])
        found = [
            set(re.findall(rf'"/{part}/(v0\.0\.[0-9]+)/jobs/', json.dumps(specification)))
            for part in ("slurm", "slurmdb")
        ]
        both = sorted(found[0] & found[1], key=lambda version: int(version.rpartition(".")[2]))
        if not both:
            raise Unavailable(f"{self.url} serves no jobs of both slurmctld and slurmdbd; use options.prefer: commands")
        return str(both[-1])

    def _get(self, paths: Sequence[str]) -> list[Any]:
        settings = [f'header = "X-SLURM-USER-TOKEN: {self._token()}"', *(f'url = "{self.url}{path}"' for path in paths)]
        done = self.access.run(_CURL, stdin="\n".join(settings).encode(), timeout_s=180)
        try:
            answers = _documents(done.text)
        except ValueError:
            answers = []
        if done.code != 0 or len(answers) != len(paths):
            raise Unavailable(f"{self.access}: slurmrestd at {self.url}: {done.complaint or 'no answer'}")
        return answers

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


def _documents(text: str) -> list[Any]:
    """JSON documents one after another."""
    decoder, documents, text = json.JSONDecoder(), [], text.strip()
    while text:
        document, end = decoder.raw_decode(text)
        documents.append(document)
        text = text[end:].strip()
    return documents
