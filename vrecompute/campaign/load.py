"""From a campaign file to a `Campaign`, or to all of its mistakes at once, each with line and column."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vrecompute.campaign.model import STORE_LEDGER, Campaign
from vrecompute.config.check import Location, as_problem, check, mark_of, without_null
from vrecompute.config.marked_yaml import CONFIGURATION, Problem, decoded, parse_yaml, plain
from vrecompute.errors import UsageError
from vrecompute.nearest import did_you_mean
from vrecompute.regular_file import read_regular
from vrecompute.secret_text import holds_secret

__all__ = ["CampaignFile", "parse_campaign", "read_campaign"]

_Said = tuple[Location, str]
# Stands in for what is missing, so that rules across keys can speak all the same.
_FILL = {"schema": 1, "name": "unnamed", "ledger": "unnamed", "products": "unnamed"}


@dataclass(frozen=True)
class CampaignFile:
    """A campaign and the file that says it; relative paths begin in its folder."""

    path: Path
    campaign: Campaign

    def beside(self, path: str) -> Path:
        """The absolute path of what the file names."""
        return Path(os.path.normpath(self.path.parent / Path(path).expanduser()))

    @property
    def ledger(self) -> Path | None:
        """The SQLite file; None where the ledger is in the store."""
        return None if self.campaign.ledger == STORE_LEDGER else self.beside(self.campaign.ledger)

    def site(self, number: int) -> str:
        """A site as `Client` takes it: names as they are, paths absolute."""
        site = self.campaign.sites[number]
        return str(self.beside(site)) if "/" in site or site.endswith((".yaml", ".yml")) else site

    @property
    def store(self) -> str | None:
        """The store as `Client` takes it; None for the site's."""
        store = self.campaign.store
        return store if store is None or "://" in store or "$" in store else str(self.beside(store))

    def analysis(self, name: str) -> str:
        """An analysis as `Client` takes it: FILE.py absolute, others by name."""
        file, colon, rest = name.partition(":")
        return f"{self.beside(file)}{colon}{rest}" if file.endswith(".py") else name


def read_campaign(path: str | Path) -> CampaignFile:
    """What the file says; raises one UsageError with every problem, each at its line and column."""
    try:
        raw = read_regular(Path(path), CONFIGURATION.max_bytes)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return CampaignFile(Path(path).absolute(), parse_campaign(raw, str(path)))


def parse_campaign(raw: bytes, file: str) -> Campaign:
    """The same from the bytes of `file`."""
    text, problems = decoded(raw, file, CONFIGURATION)
    tree = None
    if not problems:
        tree, problems = parse_yaml(text, file, CONFIGURATION)
    found: Campaign | None = None
    if tree is not None:
        checked = check(Campaign, without_null(plain(tree)), fill=_FILL)
        found = checked.value
        said = {problem.mark for problem in problems}
        more = [as_problem(tree, fault) for fault in checked.faults]
        if found is not None:
            more += [
                Problem(mark_of(tree, at), message)
                for at, message in _rules(found)
                if not any(out[: len(at)] == at for out in checked.left_out)
            ]
        problems += (problem for problem in more if problem.mark not in said)
    if problems or found is None:
        unique = sorted(set(problems))
        lines = "\n".join(f"  {problem}" for problem in unique)
        raise UsageError(f"campaign file {file} has {len(unique)} problem{'s' * (len(unique) > 1)}:\n{lines}")
    return found


def _rules(campaign: Campaign) -> Iterator[_Said]:
    """What is wrong across keys."""
    names = [dataset.name for dataset in campaign.datasets]
    yield from _twice("datasets", names, "two datasets are called")
    keys = [analysis.key or analysis.name for analysis in campaign.analyses]
    yield from _twice("analyses", keys, "two analyses have the key")
    for number, dataset in enumerate(campaign.datasets):
        at: Location = ("datasets", number)
        if dataset.dids:
            yield (*at, "dids"), f"datasets[{number}].dids: Rucio DIDs are not resolved by this version; list `files`"
        elif not dataset.files:
            yield at, f"datasets[{number}]: dataset '{dataset.name}' names no files; add `files: [...]`"
        for k, address in enumerate(dataset.files):
            if "://" in address and holds_secret(address):
                yield (*at, "files", k), f"datasets[{number}].files: an address carries a secret; remove it"
    for number, analysis in enumerate(campaign.analyses):
        if analysis.key is None and not _is_key(analysis.name):
            said = "needs a `key`: products are filed under it, and its name is a file"
            yield ("analyses", number), f"analyses[{number}]: analysis '{analysis.name}' {said}"
        for k, name in enumerate(analysis.datasets):
            if name not in names:
                said = f"analyses[{number}].datasets: there is no dataset '{name}'; {did_you_mean(name, names)}"
                yield ("analyses", number, "datasets", k), said
    if campaign.window is not None and campaign.window.start == campaign.window.end:
        yield ("window",), "window: it begins and ends at one time, and is never open; leave it out for at any time"
    if campaign.notify.webhook and campaign.notify.webhook_from:
        yield ("notify", "webhook"), "notify.webhook: webhook_from is given too; keep one of them"
    if campaign.notify.webhook and holds_secret(campaign.notify.webhook):
        yield (
            ("notify", "webhook"),
            "notify.webhook: the address carries a secret; put it into a variable: webhook_from",
        )
    if "://" in campaign.products and holds_secret(campaign.products):
        yield ("products",), "products: the address carries a secret; name where it is (docs/stores.md)"
    if campaign.store is not None and "://" in campaign.store and holds_secret(campaign.store):
        yield ("store",), "store: the address carries a secret; name where it is (docs/stores.md)"


def _is_key(name: str) -> bool:
    return not name.endswith(".py") and "/" not in name and ":" not in name


def _twice(section: str, names: list[str], said: str) -> Iterator[_Said]:
    for number, name in enumerate(names):
        if name in names[:number]:
            yield (section, number), f"{section}[{number}]: {said} '{name}'; give each its own"
