"""Questions to a batch system's web interface: curl asks, where the system is spoken to; the token is on stdin alone.

So no argument list, which others may read, has the token, and no port of the interface has to be reached from here.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from vrecompute.batch.parts import PATIENCE_S
from vrecompute.errors import SiteError, Unavailable

__all__ = ["CURL", "GET", "NO_ENTRY", "Token"]

#: A question whose address and header are its configuration, which is its standard input.
CURL = ("curl", "--silent", "--show-error", "--fail", "--max-time", str(PATIENCE_S), "--config", "-")
#: Shell, after `ASK_AND_TELL`: the first line of stdin is a `Token.header`; `get ADDRESS` asks.
GET = rf"""
IFS= read -r token
get() {{
  printf '%s\nurl = "%s"\n' "$token" "$1" | ask {" ".join(CURL)}
}}
"""
#: What curl says where a token is not accepted, by HTTP's Unauthorized, Forbidden and Network Authentication Required.
NO_ENTRY = re.compile(r"returned error: (401|403|511)")


@dataclass(frozen=True)
class Token:
    """The token for `whom`, as the header `name` of a question.

    It is in a file of this machine (`$NAME` and `~` are resolved) if there is a `file`, else in the environment
    `variable`, whose name may stand before it in the file. `advice` says how a user gets one.
    """

    whom: str
    name: str
    variable: str
    advice: str
    file: str | None = None

    def header(self) -> str:
        """The line of curl's configuration; read anew each time, since tokens expire.

        Unavailable where the file cannot be read, SiteError where there is no token in it.
        """
        token = os.environ.get(self.variable, "")
        try:
            if self.file is not None:
                token = Path(os.path.expandvars(self.file)).expanduser().read_text().strip()
        except OSError as error:
            raise Unavailable(f"no token for {self.whom}: {self.file}: {error.strerror or error}") from error
        token = token.removeprefix(f"{self.variable}=")
        if not re.fullmatch(r"[A-Za-z0-9_.=-]+", token):
            raise SiteError(f"no token for {self.whom}: {self.advice}")
        return f'header = "{self.name}: {token}"'
