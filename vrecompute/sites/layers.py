"""One site file with everything it `extends`, merged into one tree whose values remember their own file.

Mappings merge key by key; lists and values replace. A file wins over what it extends, and of several the later
wins. `null` puts a key back to its default. `name` belongs to a file alone and is never inherited.
"""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from pathlib import Path

from vrecompute.config.marked_yaml import (
    Entry,
    MappingNode,
    Mark,
    Node,
    Problem,
    ScalarNode,
    SequenceNode,
    parse_yaml,
    read_text,
)
from vrecompute.errors import SiteError
from vrecompute.sites.search import display, find_site_file, is_own, is_path

__all__ = ["Layers", "merge", "read_layers"]

_OWN = ("extends", "name")


@dataclass
class Layers:
    """The merged tree (None where a file cannot be read at all), the files it came from, and what is wrong.

    `strange` are files, as marks call them, that neither the user nor a file of theirs has named: they were found in
    the working directory, or named by one that was.
    """

    tree: MappingNode | None
    files: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    strange: set[str] = field(default_factory=set)


def read_layers(path: Path, folders: Items[Path], *, named: bool = False) -> Layers:
    """Read a file and all it extends; raises `SiteError` where the file itself cannot be opened.

    `named`: the user gave its path, and did not have it found.
    """
    layers = Layers(None)
    if not (named or is_own(path)):
        layers.strange.add(display(path))
    try:
        text, problems = read_text(path, display(path))
    except OSError as error:
        raise SiteError(f"{display(path)}: cannot be read: {error.strerror or error}; check the path") from error
    layers.files.append(path)
    layers.problems += problems
    if not problems:
        layers.tree = _layered(text, path, [path.resolve()], folders, layers)
    return layers


def merge(base: MappingNode, over: MappingNode) -> MappingNode:
    """`over` on top of `base`, deep; every node keeps its mark."""
    entries = dict(base.entries)
    for key, entry in over.entries.items():
        below = entries.get(key)
        if below is not None and isinstance(below.node, MappingNode) and isinstance(entry.node, MappingNode):
            entry = Entry(entry.key, merge(below.node, entry.node))
        entries[key] = entry
    return MappingNode(entries, over.mark)


def _layered(text: str, path: Path, chain: list[Path], folders: Items[Path], layers: Layers) -> MappingNode | None:
    tree, problems = parse_yaml(text, display(path))
    layers.problems += problems
    if tree is None:
        return None
    merged = MappingNode({}, tree.mark)
    complete = True
    for name, mark in _extended(tree, layers):
        base = _base(name, mark, path, chain, folders, layers)
        if base is None:
            complete = False
        else:
            inherited = {key: entry for key, entry in base.entries.items() if key not in _OWN}
            merged = merge(merged, MappingNode(inherited, base.mark))
    own = MappingNode({key: entry for key, entry in tree.entries.items() if key != "extends"}, tree.mark)
    # without a base its keys would be reported as missing, which they may not be
    return merge(merged, own) if complete else None


def _extended(tree: MappingNode, layers: Layers) -> list[tuple[str, Mark]]:
    if "extends" not in tree.entries:
        return []
    node = tree.entries["extends"].node
    names: list[tuple[str, Mark]] = []
    for item in _items(node):
        if isinstance(item, ScalarNode) and isinstance(item.value, str):
            names.append((item.value, item.mark))
        else:
            layers.problems.append(Problem(item.mark, "expected the name or path of a site file, or a list of them"))
    return names


def _items(node: Node) -> tuple[Node, ...]:
    return node.items if isinstance(node, SequenceNode) else (node,)


def _base(
    name: str, mark: Mark, path: Path, chain: list[Path], folders: Items[Path], layers: Layers
) -> MappingNode | None:
    if is_path(name):
        found = path.parent / name
    else:
        try:
            found = find_site_file(name, [path.parent, *folders])
        except SiteError as error:
            layers.problems.append(Problem(mark, str(error)))
            return None
    if found.resolve() in chain:
        circle = " -> ".join(display(step) for step in [*chain[chain.index(found.resolve()) :], found])
        layers.problems.append(Problem(mark, f"extends itself: {circle}; remove one of these"))
        return None
    by_author = display(path) not in layers.strange and (is_path(name) or found.parent == path.parent)
    if not (by_author or is_own(found)):
        layers.strange.add(display(found))
    try:
        text, problems = read_text(found, display(found))
    except OSError as error:
        message = f"{display(found)} cannot be read: {error.strerror or error}; check the name"
        layers.problems.append(Problem(mark, message))
        return None
    layers.problems += problems
    if found not in layers.files:
        layers.files.append(found)
    return None if problems else _layered(text, found, [*chain, found.resolve()], folders, layers)
