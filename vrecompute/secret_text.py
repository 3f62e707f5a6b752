"""What is a secret in an address, a command line or any other text: one rule for all that vrecompute takes and keeps.

An address may be of any scheme, also of a store or source of another package. Nothing here ever shows a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

__all__ = ["REMOVED", "has_secret_shape", "holds_secret", "is_secret_name", "redacted"]

#: What stands in the place of a secret.
REMOVED = "(removed)"
#: Names of what holds a secret, unless they end as `_REFERENCE` says.
_NAME = re.compile(
    r"passw(or)?d|passphrase|passwd|secret|token|bearer|cookie|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|account[_-]?key|(^|[._-])(pass|pwd|pw|jwt|sig|signature|authz|authorization|credentials?)$"
    r"|googleaccessid|^x-(amz|goog|ms)-",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"(_|-)?(file|path|env|profile|name|dir|folder|variable|lifetime|type|url)$", re.IGNORECASE)
#: Numbers of tokens, as of a model of language.
_COUNT = re.compile(
    r"(max|min|num|number_of|total|most)[_-]?([a-z]+[_-])?tokens|tokens?[_-]?(count|limit)", re.IGNORECASE
)
#: user:password@host; what follows a colon is no port.
_USER = re.compile(r"://(?:[^/@\s]*:[^/@\s]+|[^/@\s:\[]*:(?!\d{1,5}(?:[/?#]|$))[^@\s]+)@")
_TOKENS = re.compile(
    r"-----BEGIN .*"
    r"|\b(AKIA|ASIA)[A-Z0-9]{16}\b"  # AWS access key ids
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_.-]*"  # JSON web tokens
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w*|\bglpat-[\w-]*"
    r"|\b[Bb]earer(?: |%20|\+)+[A-Za-z0-9][^\s&]*",
    re.DOTALL,
)
#: One of a query: its name and its value, which goes on to the next one.
_OF_A_QUERY = re.compile(r"[?&;#]([^=&?;#\s/]+)=(.*?)(?=&[^=&\s]+=|$)", re.DOTALL)
#: Values that tell where a secret is, or whether there is one.
_TELLS_WHERE = re.compile(
    r"\$[A-Za-z_]\w*|\$\{[A-Za-z_]\w*\}|(env|file|profile):.*|true|false|yes|no|on|off|none|" + re.escape(REMOVED),
    re.IGNORECASE,
)
_ASSIGNED = re.compile(r"(-*)([A-Za-z_][\w.-]*)=(.+)", re.DOTALL)
# So often an address may be written in the query of another.
_MOST_QUOTED = 3


def is_secret_name(name: str) -> bool:
    """Whether what has this name is a secret: `token`, and neither `token_file` nor `max_tokens`."""
    is_told = _REFERENCE.search(name) or _COUNT.fullmatch(name)
    return _NAME.search(name) is not None and not is_told


def holds_secret(text: str) -> bool:
    """Whether some of it is a secret: by its shape, as a password before a host, or by its name in a query.

    >>> holds_secret("https://host/a.root?x=1&X-Amz-Signature=f00"), holds_secret("s3://b/p?credentials=env:KEYS")
    (True, False)
    """
    return any(has_secret_shape(form) for form in _forms(text))


def has_secret_shape(text: str) -> bool:
    """As `holds_secret`, of the text as it stands."""
    return bool(_USER.search(text) or _TOKENS.search(text)) or any(map(_is_given, _OF_A_QUERY.finditer(text)))


def redacted(text: str) -> str:
    """The text with `REMOVED` in the place of each secret: of an address, or of `name=value` as commands have it.

    >>> redacted("mem://x?password=hunter2&size=3")
    'mem://x?password=(removed)&size=3'
    """
    assigned = _ASSIGNED.fullmatch(text)
    if assigned and is_secret_name(assigned[2]) and not _TELLS_WHERE.fullmatch(assigned[3]):
        return f"{assigned[1]}{assigned[2]}={REMOVED}"
    if not holds_secret(text):
        return text
    for form in _forms(text):
        made = _OF_A_QUERY.sub(_without_value, _TOKENS.sub(REMOVED, _USER.sub(f"://{REMOVED}@", form)))
        if not holds_secret(made):
            return made
    return REMOVED


def _forms(text: str) -> Iterator[str]:
    """The text, and what it is once its quotations of characters are resolved."""
    for _ in range(_MOST_QUOTED):
        yield text
        if (plain := unquote(text)) == text:
            return
        text = plain
    yield text


def _is_given(found: re.Match[str]) -> bool:
    value = found[2].strip().strip("\"'")
    return bool(value) and is_secret_name(unquote(found[1])) and not _TELLS_WHERE.fullmatch(value)


def _without_value(found: re.Match[str]) -> str:
    start = found.start(2) - found.start()
    return found[0][:start] + REMOVED if _is_given(found) else found[0]
