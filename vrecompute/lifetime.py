"""`Lifetime`: until when a credential is accepted, compared with the planned end of what needs it."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from vrecompute.records import json_of
from vrecompute.wording import duration_text

__all__ = ["Lifetime", "moment_text", "token_claims"]

_LAST = 253402300800.0  # the year 10000: no date is later


@dataclass(frozen=True)
class Lifetime:
    """`credential` says which it is and where it was found, and nothing of it; `ends` in seconds since 1970."""

    credential: str
    ends: float

    def short_of(self, end: float, of: str) -> str:
        """The sentence that says that it ends before `of` does, as planned; empty where it does not."""
        now = time.time()
        if self.ends <= now:
            return f"{self.credential} expired at {moment_text(self.ends)}; renew it"
        if self.ends >= end:
            return ""
        return (
            f"{self.credential} ends {duration_text(end - self.ends)} before the planned end of {of}; renew it in the "
            f"next {duration_text(self.ends - now)}, or the run ends with it, and what is finished is kept"
        )


def moment_text(moment: float) -> str:
    """A time in seconds since 1970, to the minute."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"


def token_claims(token: str) -> tuple[float | None, tuple[str, ...]]:
    """When a JSON web token expires and whom it is for, unverified; nothing of any other token."""
    try:
        body = token.split(".")[1]
        said = json_of(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        audience = said.get("aud", ())
        several = (audience,) if isinstance(audience, str) else tuple(map(str, audience))
        ends = float(said["exp"]) if "exp" in said else None
        return ends if ends is not None and 0 <= ends < _LAST else None, several
    except (LookupError, ValueError, TypeError, AttributeError):
        return None, ()
