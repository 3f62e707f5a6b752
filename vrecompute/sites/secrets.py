"""Finds secrets in the text of a site file. Nothing here ever shows one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vrecompute.config.marked_yaml import Entry, MappingNode, Node, Problem, ScalarNode, SequenceNode
from vrecompute.config.spelling import VARIABLES

__all__ = ["find_secrets", "holds_secret", "without_secrets"]

#: Keys that hold a secret, unless they end as `_REFERENCE` says.
_SECRET_KEY = re.compile(
    r"passw(or)?d|passphrase|secret|token|bearer|api_?key|access_?key|private_?key|account_?key|^pwd$|^credentials?$",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"(_|-)?(file|path|env|profile|name|dir|folder|variable|lifetime|type|url)$", re.IGNORECASE)
_SHAPES = re.compile(
    r"-----BEGIN "
    r"|\b(AKIA|ASIA)[A-Z0-9]{16}\b"  # AWS access key ids
    r"|\beyJ[A-Za-z0-9_-]{10,}\."  # JSON web tokens
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_|\bglpat-"
    r"|://[^/@\s]*:[^/@\s]+@"  # user:password@host
    r"|X-(Amz|Goog)-Signature=|[?&](sig|Signature|authz|access_token)="  # presigned URLs, tokens of XRootD and WebDAV
    r"|\b[Bb]earer +[A-Za-z0-9]"
)
#: The key of shell commands, and the names that such a command gives a value other than one of the shell's own.
_COMMANDS = "setup"
_ASSIGNED = re.compile(r"""\b([A-Za-z_]\w*)=["']?[^\s"'$`]""")
_ADVICE = (
    "a secret does not belong in a site file; revoke it if the file was shared, "
    "and name where it is instead: credentials: {profile: NAME}, {file: PATH} or {env: NAME}"
)


def find_secrets(node: Node, key: str = "") -> Iterator[Problem]:
    """One problem for each scalar that is a secret by its key or by its shape."""
    if isinstance(node, MappingNode):
        for name, entry in node.entries.items():
            # a secret may also be written where a key belongs
            if _SHAPES.search(name):
                yield Problem(entry.key, _ADVICE)
            yield from find_secrets(entry.node, name)
    elif isinstance(node, SequenceNode):
        for item in node.items:
            yield from find_secrets(item, key)
    elif _is_secret(node, key):
        yield Problem(node.mark, _ADVICE)


def holds_secret(text: str) -> bool:
    """Whether some of it has the shape of a secret."""
    return _SHAPES.search(text) is not None


def without_secrets(tree: MappingNode) -> MappingNode:
    """The same tree without what `find_secrets` finds, so that no other message can show it."""
    kept = {name: entry for name, entry in tree.entries.items() if not _SHAPES.search(name)}
    cleaned = {name: (entry.key, _cleaned(entry.node, name)) for name, entry in kept.items()}
    return MappingNode({name: Entry(key, node) for name, (key, node) in cleaned.items() if node}, tree.mark)


def _cleaned(node: Node, key: str) -> Node | None:
    if isinstance(node, MappingNode):
        return without_secrets(node)
    if isinstance(node, SequenceNode):
        items = (_cleaned(item, key) for item in node.items)
        return SequenceNode(tuple(item for item in items if item), node.mark)
    return None if _is_secret(node, key) else node


def _is_secret(node: ScalarNode, key: str) -> bool:
    text = str(node.value)
    if _SHAPES.search(text):
        return True
    if key == _COMMANDS:
        given = _ASSIGNED.findall(text)
        return any(_SECRET_KEY.search(name) and not _REFERENCE.search(name) for name in given)
    # a secret taken from the environment of the job is a reference
    named = _SECRET_KEY.search(key) is not None and _REFERENCE.search(key) is None
    return named and node.value is not None and not isinstance(node.value, bool) and not VARIABLES.fullmatch(text)
