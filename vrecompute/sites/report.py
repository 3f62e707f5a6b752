"""What `vrecompute site` says, as data: the command line prints it, a notebook or a service may use it.

Nothing here starts anything or talks to a site; a probe of a real site is the driver's (`Backend.probe`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vrecompute.config.marked_yaml import Problem
from vrecompute.errors import SiteError
from vrecompute.sites.leaves import leaves
from vrecompute.sites.load import ReadSite, examine_site
from vrecompute.sites.search import display, list_site_files

__all__ = ["Checkup", "Listed", "Shown", "check_file", "check_files", "list_sites", "show", "show_text", "table"]


@dataclass(frozen=True)
class Shown:
    """One key of a site: its value in the words of YAML (None: unset), and where that came from."""

    key: str
    value: Any
    origin: str


def show(read: ReadSite) -> list[Shown]:
    """Every key of a site with its origin: file:line, or `default`."""
    rows = []
    for path, value in leaves(read.site):
        mark = read.origins.get(path)
        rows.append(Shown(".".join(path), value, f"{mark.file}:{mark.line}" if mark else "default"))
    return rows


def show_text(read: ReadSite) -> str:
    """The same for a terminal, with what was read and what could not be checked."""
    rows = [(row.key, _said(row.value), row.origin) for row in show(read)]
    sources = ", ".join(display(path) for path in read.files) or "built in"
    lines = [f"{read.site.name}: {sources}", *table(rows)]
    lines += _unchecked(read)
    return "\n".join([*lines, *(f"advice: {advice}" for advice in read.advice)])


def _unchecked(read: ReadSite) -> list[str]:
    """What no driver has looked at, if so: a line."""
    if read.site.options and read.options_unchecked:
        return [f"options were not checked: {read.options_unchecked}"]
    return [f"no run of this site starts here: {read.options_unchecked}"] if read.without_driver else []


@dataclass(frozen=True)
class Listed:
    """One site file of the search path; `name` as `Client(name)` finds it, '' for a file that an earlier one hides."""

    name: str
    file: str
    backend: str
    description: str
    n_problems: int


def list_sites(files: Iterable[Path] | None = None) -> list[Listed]:
    """Every site of the search path, the wrong and the hidden ones too, and what is built in."""
    seen: set[str] = set()
    rows = []
    for path in list_site_files() if files is None else files:
        name = "" if path.stem in seen else path.stem
        seen.add(path.stem)
        checkup = check_file(path)
        site = checkup.read.site if checkup.read else None
        rows.append(
            Listed(
                name,
                display(path),
                site.backend if site else "",
                (site.description or "") if site else "",
                len(checkup.problems),
            )
        )
    if "local" not in seen:
        rows.append(Listed("local", "built in", "local", "this machine", 0))
    return rows


@dataclass(frozen=True)
class Checkup:
    """What a static check of one file found.

    `options_unchecked` says why options were not looked at, if so; of a site without any, why it has no driver here.
    """

    file: str
    problems: tuple[str, ...]
    advice: tuple[str, ...] = ()
    options_unchecked: str = ""
    read: ReadSite | None = None

    @property
    def ok(self) -> bool:
        """Whether the file describes a site; advice does not count against it."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """The facts, with JSON's types."""
        facts = asdict(self, dict_factory=lambda items: {key: value for key, value in items if key != "read"})
        return facts | {"ok": self.ok, "problems": list(self.problems), "advice": list(self.advice)}

    def as_text(self) -> str:
        """One line for a file that is right, all of its problems for one that is not."""
        n_problems = len(self.problems)
        lines = [f"{self.file}: " + ("ok" if self.ok else f"{n_problems} problem{'s' * (n_problems > 1)}")]
        lines += [f"  {problem}" for problem in self.problems]
        lines += [f"  advice: {advice}" for advice in self.advice]
        if self.read is not None:
            lines += [f"  {line}" for line in _unchecked(self.read)]
        return "\n".join(lines)


def check_files(files: Iterable[Path]) -> list[Checkup]:
    """A static check of each file."""
    return [check_file(path) for path in files]


def check_file(path: Path) -> Checkup:
    """A static check of one file; a file that cannot be opened has one problem."""
    try:
        examined = examine_site(path)
    except SiteError as error:
        return Checkup(display(path), (str(error),))
    problems = tuple(str(problem) for problem in examined.problems)
    if (read := examined.read) is None:
        return Checkup(display(path), problems)
    advice = [*read.advice, *_name_advice(read)]
    unchecked = read.options_unchecked if read.site.options or read.without_driver else ""
    return Checkup(display(path), problems, tuple(str(each) for each in advice), unchecked, read)


def _name_advice(read: ReadSite) -> Iterable[Problem]:
    stem = read.files[0].stem
    if read.site.name != stem:
        said = f"name: Client() and --site find this file as '{stem}'; write name: {stem}, or rename the file"
        yield Problem(read.origins[("name",)], said)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _said(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return str(value)
