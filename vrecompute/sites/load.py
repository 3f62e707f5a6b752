"""From a site file to a `Site` with the origin of every value, or to all problems of the file at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vrecompute.config import marked_yaml
from vrecompute.config.check import Location, as_problem, check, mark_of, without_null
from vrecompute.config.marked_yaml import Mark, Node, Problem, ScalarNode, plain
from vrecompute.errors import SiteError, UntrustedSite
from vrecompute.nearest import nearest
from vrecompute.sites import leaves, rules
from vrecompute.sites.decisions import decides
from vrecompute.sites.drivers import OptionsModel, installed_drivers, options_model
from vrecompute.sites.layers import Layers, read_layers
from vrecompute.sites.model import Site, local_site
from vrecompute.sites.search import display, find_site_file, is_path, site_folders, users_folder
from vrecompute.sites.secrets import find_secrets, without_secrets

__all__ = ["Examined", "ReadSite", "examine_site", "load_site", "read_site", "require_trust"]

#: Keys that a refusal names.
_MOST_NAMED = 4

FindModel = Callable[[str], OptionsModel]


@dataclass(frozen=True)
class ReadSite:
    """A site and where each of its values came from; what has no origin is a default."""

    site: Site
    files: tuple[Path, ...]
    origins: Mapping[leaves.KeyPath, Mark]
    advice: tuple[Problem, ...] = ()
    #: Why the driver's options could not be checked; empty where they were.
    options_unchecked: str = ""
    #: Keys that decide what runs as the user, of files that the user has not named.
    untrusted: Mapping[leaves.KeyPath, Mark] = field(default_factory=dict)
    #: Whether its driver is not here, for the reason that `options_unchecked` gives: the file is for another machine.
    without_driver: bool = False


@dataclass(frozen=True)
class Examined:
    """The outcome of reading one file: a site, or problems; never both."""

    read: ReadSite | None
    problems: tuple[Problem, ...]
    files: tuple[Path, ...]


def load_site(name_or_path: str | Path, *, trust: bool = False) -> Site:
    """The site of a YAML file, by path or by name on the search path; raises `SiteError` with every problem.

    `local` is this machine (`local_site()`) unless a file of that name is found. Without `trust`, UntrustedSite where
    a file that was found in the working directory decides what runs as the user.
    """
    read = read_site(name_or_path)
    if not trust:
        require_trust(read)
    return read.site


def read_site(name_or_path: str | Path, find_model: FindModel = options_model) -> ReadSite:
    """The site of that name or file; raises one `SiteError` with every problem."""
    try:
        path = find_site_file(name_or_path)
    except SiteError:
        if name_or_path == "local" and not is_path(name_or_path):
            return ReadSite(local_site(), (), {})
        raise
    return _or_raise(examine_site(path, find_model, named=is_path(name_or_path)), f"site file {display(path)}")


def examine_site(path: Path, find_model: FindModel = options_model, *, named: bool = False) -> Examined:
    """Everything that can be said about a file; raises `SiteError` only where it cannot be opened.

    `named`: the user gave its path.
    """
    return _examine(read_layers(path, site_folders(), named=named), find_model)


def require_trust(read: ReadSite) -> None:
    """Raise UntrustedSite where a file that was found in the working directory decides what runs as the user."""
    if not read.untrusted:
        return
    keys = [f"{'.'.join(path)} ({mark.file}:{mark.line})" for path, mark in read.untrusted.items()]
    more = f" and {len(keys) - _MOST_NAMED} more" * (len(keys) > _MOST_NAMED)
    name, path = read.site.name, display(read.files[0])
    raise UntrustedSite(
        f"the file of site {name!r} was found in the working directory, and it decides what runs as you: "
        f"{', '.join(keys[:_MOST_NAMED])}{more}. If you trust it, name it by its path (--site ./{path}), pass --trust "
        f"(in Python: Client({name!r}, trust=True)), or move it to {display(users_folder())}"
    )


def _or_raise(examined: Examined, what: str) -> ReadSite:
    if examined.read is None:
        n_problems = len(examined.problems)
        lines = "\n".join(f"  {problem}" for problem in examined.problems)
        raise SiteError(f"{what} has {n_problems} problem{'s' * (n_problems > 1)}:\n{lines}")
    return examined.read


def _examine(layers: Layers, find_model: FindModel) -> Examined:
    problems = list(layers.problems)
    read = None
    if layers.tree is not None:
        problems += find_secrets(layers.tree)
        read, more = _check_tree(without_secrets(layers.tree), layers, find_model)
        # what is wrong in form already needs no second message about its value
        said = {problem.mark for problem in problems}
        problems += (problem for problem in more if problem.mark not in said)
    unique = tuple(sorted(set(problems)))
    return Examined(None if unique else read, unique, tuple(layers.files))


def _check_tree(
    tree: marked_yaml.MappingNode, layers: Layers, find_model: FindModel
) -> tuple[ReadSite | None, list[Problem]]:
    data = without_null(plain(tree))
    # what is left out by now was a secret, and has its own problem
    checked = check(Site, data, fill={"name": "unnamed", "backend": "unnamed"}, also=("extends",))
    problems = [as_problem(tree, fault) for fault in checked.faults]
    site: Site | None = checked.value
    if site is None:
        return None, problems
    unchecked, missing = "", False
    harmless: Collection[str] = ()
    found, wrong = list(rules.findings(site)), set(checked.left_out)
    if ("backend",) not in checked.left_out:
        driver = find_model(site.backend)
        harmless, missing = driver.harmless, driver.missing
        more, options, right, unchecked = _check_driver(tree, site, driver)
        problems += more
        wrong |= options
        # options that are wrong in form are not asked what they mean
        found += driver.rules(replace(site, options=right))
    advice: list[Problem] = []
    for finding in found:
        if any(_touches(out, path) and not _is_item(out, path) for out in wrong for path in finding.about):
            continue
        # what is wrong may be a default: point at the other key then
        at = next((path for path in finding.about if _there(tree, path)), finding.about[0])
        problem = Problem(mark_of(tree, at), f"{'.'.join(finding.about[0])}: {finding.message}")
        (advice if finding.advice else problems).append(problem)
    origins = {
        path: mark_of(tree, path) for path, value in leaves.leaves(site) if value is not None and _there(tree, path)
    }
    read = ReadSite(
        replace(site, options=data.get("options") or {}),
        tuple(layers.files),
        origins,
        tuple(advice),
        unchecked,
        {p: mark for p, mark in origins.items() if mark.file in layers.strange and decides(p, harmless)},
        missing,
    )
    return read, problems


def _check_driver(
    tree: marked_yaml.MappingNode, site: Site, found: OptionsModel
) -> tuple[list[Problem], set[Location], dict[str, Any], str]:
    """(problems of the options, which of them are wrong, the others, why they were not checked)."""
    if found.model is None:
        meant = nearest(site.backend, installed_drivers())
        if meant and meant != site.backend:
            mark = mark_of(tree, ("backend",))
            said = f"no driver '{site.backend}' is installed; did you mean '{meant}'?"
            return [Problem(mark, said)], set(), dict(site.options), found.reason
        return [], set(), dict(site.options), found.reason
    checked = check(found.model, site.options)
    problems = [as_problem(tree, replace(fault, at=("options", *fault.at))) for fault in checked.faults]
    # behind a key that is not known may be any other: then no option is asked what it means
    unknown: set[Location] = {("options",)} if any(fault.of_key for fault in checked.faults) else set()
    items = {fault.at for fault in checked.faults if fault.at and isinstance(fault.at[-1], int)}
    right = _without_items(dict(site.options), items)
    # the lists that these are in were left out with them, and their other items are right
    others = {at for at in checked.left_out if at not in {item[:-1] for item in items}} - items
    wrong = unknown | {("options", *at) for at in (*others, *items)}
    gone = {at[0] for at in others if at}
    return problems, wrong, {key: value for key, value in right.items() if key not in gone}, ""


def _without_items(data: Any, items: Collection[Location]) -> Any:
    """The data without these items of lists in it."""
    below = {step: {at[1:] for at in items if at[:1] == (step,)} for step in {at[0] for at in items if at}}
    if isinstance(data, Mapping):
        return {key: _without_items(value, below.get(key, set())) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_without_items(one, below.get(n, set())) for n, one in enumerate(data) if () not in below.get(n, set())]
    return data


def _touches(one: Location, other: Location) -> bool:
    return one[: len(other)] == other[: len(one)]


def _is_item(out: Location, path: Location) -> bool:
    """Whether it is an item of a list there, the others of which can be judged."""
    return len(out) > len(path) and isinstance(out[len(path)], int)


def _there(tree: Node, path: leaves.KeyPath) -> bool:
    node = tree
    for step in path:
        if not isinstance(node, marked_yaml.MappingNode) or step not in node.entries:
            return False
        node = node.entries[step].node
    return not (isinstance(node, ScalarNode) and node.value is None)
