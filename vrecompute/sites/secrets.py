"""Finds secrets in the text of a site file. Nothing here ever shows one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vrecompute.config.marked_yaml import Entry, MappingNode, Node, Problem, ScalarNode, SequenceNode
from vrecompute.config.spelling import VARIABLES
from vrecompute.secret_text import holds_secret, is_secret_name

__all__ = ["find_secrets", "without_secrets"]

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
            if holds_secret(name):
                yield Problem(entry.key, _ADVICE)
            yield from find_secrets(entry.node, name)
    elif isinstance(node, SequenceNode):
        for item in node.items:
            yield from find_secrets(item, key)
    elif _is_secret(node, key):
        yield Problem(node.mark, _ADVICE)


def without_secrets(tree: MappingNode) -> MappingNode:
    """The same tree without what `find_secrets` finds, so that no other message can show it."""
    kept = {name: entry for name, entry in tree.entries.items() if not holds_secret(name)}
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
    if holds_secret(text):
        return True
    if key == _COMMANDS:
        given = _ASSIGNED.findall(text)
        return any(map(is_secret_name, given))
    # a secret taken from the environment of the job is a reference
    return (
        is_secret_name(key)
        and node.value is not None
        and not isinstance(node.value, bool)
        and not VARIABLES.fullmatch(text)
    )
