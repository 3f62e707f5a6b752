"""`FileColumns`: what can be read of a file, by name, type and size; for a person who writes an analysis."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

from vrecompute import reader
from vrecompute.datasets.catalogue import resolve
from vrecompute.errors import UsageError
from vrecompute.wording import bytes_text, count_text, printable

__all__ = ["ColumnFacts", "FileColumns", "file_columns"]


class ColumnFacts(NamedTuple):
    """One column: its type as text, bytes in memory and bytes on disk, of all events of the file."""

    name: str
    type: str
    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True)
class FileColumns:
    """The columns of one tree of a file. `others` are other trees of the file, as text; `of` counts all files.

    It is shown as a table, in a notebook and as text; `columns` are the facts.
    """

    path: str
    tree: str
    entries: int
    columns: tuple[ColumnFacts, ...]
    others: str = ""
    of: int = 1

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [column.name for column in self.columns]

    @property
    def heading(self) -> str:
        """Which tree of which file it is."""
        others = f"; other trees: {self.others}" if self.others else ""
        first = f", the first of {count_text(self.of)} files" if self.of > 1 else ""
        return f"{self.path}{first}: tree {self.tree}, {count_text(self.entries)} events{others}"

    @property
    def rows(self) -> list[tuple[str, str, str, str]]:
        """(name, type, memory, disk) of each column, as text."""
        return [(c.name, c.type, bytes_text(c.memory_bytes), bytes_text(c.disk_bytes)) for c in self.columns]

    def __str__(self) -> str:
        width = max((len(name) for name in self.names), default=0)
        kinds = max((len(c.type) for c in self.columns), default=0)
        lines = [f"{n:{width}}  {kind:{kinds}}  {memory:>9}  {disk:>9}" for n, kind, memory, disk in self.rows]
        return "\n".join(printable(line) for line in [self.heading, *lines])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{word}</th>" for word in ("column", "type", "in memory", "on disk"))
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self.rows)
        return f"<p>{escape(self.heading)}</p><table><tr>{head}</tr>{body}</table>"

    def to_data(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {
            "file": self.path,
            "tree": self.tree,
            "entries": self.entries,
            "other_trees": self.others,
            "files": self.of,
            "columns": [column._asdict() for column in self.columns],
        }


def file_columns(dataset: Any, tree: str | None = None, match: str = "*") -> FileColumns:
    """The columns, whose names match a pattern, of the first file that `dataset` names; it is opened on this machine.

    Raises DatasetError where it names no file, BadInput where the file cannot be read or has no such tree, UsageError
    where no column matches.
    """
    named = resolve(dataset, tree=tree, allow_duplicates=True)
    source = named.sources[0]
    own = source.tree or next(sample.tree for sample in named.samples if sample.name == source.sample)
    facts = reader.inspect(source.path, own)
    found = tuple(
        ColumnFacts(name, kind, facts.stored[name].uncompressed_bytes, facts.stored[name].compressed_bytes)
        for name, kind in facts.available.items()
        if fnmatch.fnmatchcase(name, match)
    )
    if not found and facts.available:
        raise UsageError(f"{source.path}: no column of {facts.tree!r} matches {match!r}")
    return FileColumns(source.path, facts.tree, facts.entries, found, facts.others, len(named.sources))
