"""`tick`: closes the difference between what a campaign wants and what its ledger says is done, and leaves.

    lease -> look at datasets -> collect what ended, publish -> submit what is missing -> retention, page, metrics

Each step is written down before or after what it does in such an order that the next tick goes on from wherever this
one was killed: an attempt is planned in the ledger before its run exists, a product is whole before it is the current
one, and both can be done twice.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from vrecompute.campaign.attempts import open_attempts
from vrecompute.campaign.collect import Collector
from vrecompute.campaign.inputs import record
from vrecompute.campaign.ledger import Busy, LeaseLost, Ledger
from vrecompute.campaign.load import CampaignFile
from vrecompute.campaign.productplace import open_products
from vrecompute.campaign.retain import remove_strays, retain
from vrecompute.campaign.sites import Sites
from vrecompute.campaign.storeledger import store_ledger
from vrecompute.campaign.submit import Submitter
from vrecompute.campaign.tally import NOTHING_TO_DO, Tally
from vrecompute.campaign.tell import tell
from vrecompute.campaign.wanted import Found, Wanted, look_for, units_of, wanted
from vrecompute.errors import Unavailable, VrecomputeError
from vrecompute.stores.apart import check_apart

__all__ = ["TickResult", "open_ledger", "tick"]

# Between two looks of a tick that waits.
_LOOK_S = 1.0
# What went wrong in the latest tick: said once.
_TROUBLE = "trouble"
_LATEST = "SELECT exit_code FROM ticks WHERE ended IS NOT NULL ORDER BY number DESC"


class TickResult(NamedTuple):
    """The exit code and a line; `is_news`: it is another than that of the tick before, or something was done."""

    exit_code: int
    summary: str
    is_news: bool


def tick(file: CampaignFile, *, wait_s: float = 0.0, say: Callable[[str], None] = lambda line: None) -> TickResult:
    """One tick; with `wait_s` it stays until nothing is under way, or for so long.

    Raises UsageError for a ledger that cannot be used, Unavailable where the ledger or store does not answer.
    """
    sites = Sites(file)
    try:
        with open_ledger(file, sites, write=True) as ledger:
            ledger.acquire(time.time())
            try:
                return _Tick(file, ledger, sites).carry_out(wait_s, say)
            finally:
                ledger.release()
    except Busy as busy:
        say(str(busy))
        return TickResult(NOTHING_TO_DO, str(busy), False)
    except LeaseLost as lost:
        return TickResult(lost.exit_code, str(lost), True)
    finally:
        sites.close()


@contextlib.contextmanager
def open_ledger(file: CampaignFile, sites: Sites, *, write: bool = False) -> Iterator[Ledger]:
    """The ledger of a campaign: the file, or a copy of the latest snapshot, which is stored again after a tick."""
    name = file.campaign.name
    if file.ledger is not None:
        with Ledger(file.ledger, name, write=write) as ledger:
            yield ledger
        return
    with store_ledger(sites[0].store, name, write=write) as ledger:
        yield ledger


class _Tick:
    def __init__(self, file: CampaignFile, ledger: Ledger, sites: Sites) -> None:
        self._file = file
        self._ledger = ledger
        self._sites = sites
        self._products = open_products(file)
        self._tally = Tally()
        self._collector = Collector(file, ledger, sites, self._products, self._tally)
        self._submitter = Submitter(file, ledger, sites, self._tally)

    def carry_out(self, wait_s: float, say: Callable[[str], None]) -> TickResult:
        before = self._ledger.row(_LATEST)
        deadline, told = time.monotonic() + wait_s, 0
        try:
            self._check_places()
            now = self._once()
            while (under_way := len(open_attempts(self._ledger))) and time.monotonic() < deadline:
                if under_way != told:
                    say(f"{under_way} run{'s' * (under_way > 1)} under way")
                    told = under_way
                time.sleep(_LOOK_S)
                stuck = self._collector.collect(now)
                if len(open_attempts(self._ledger)) < under_way:
                    now = self._once()
                elif stuck == under_way:
                    break  # none of them can be looked at or published: the next tick goes on
            retain(self._file, self._ledger, self._sites, self._products)
            remove_strays(self._file, self._ledger, self._sites, self._tally)
        except LeaseLost:
            raise
        except VrecomputeError as error:
            self._tally.error(error)
        code, summary = self._tally.exit_code, self._tally.summary
        trouble = self._tally.trouble_text
        is_news = bool(self._tally.done) or (bool(trouble) and trouble != self._ledger.fact(_TROUBLE))
        with self._ledger.writing():
            self._ledger.do(
                "UPDATE ticks SET ended = ?, exit_code = ?, summary = ? WHERE number = ?",
                (time.time(), code, summary, self._ledger.tick),
            )
            self._ledger.keep_fact(_TROUBLE, trouble)
        tell(self._file, self._ledger, code, summary, None if before is None else int(before["exit_code"]), say)
        return TickResult(code, summary or self._tally.waiting or "nothing to do", is_news)

    def _check_places(self) -> None:
        """UsageError where something that the file names would be written into the store of its runs."""
        campaign = self._file.campaign
        named = [campaign.products, campaign.page, campaign.metrics]
        here = [self._file.beside(str(place)) for place in named if place is not None and "://" not in str(place)]
        store = None
        with contextlib.suppress(VrecomputeError):  # a store that cannot be opened is told of where it is needed
            store = self._sites[0].store
        for place in here:
            check_apart(place, store)

    def _once(self) -> dict[str, Wanted]:
        """Look at everything, and give what is wanted."""
        now = self._wanted()
        self._collector.collect(now)
        self._collector.restore(now)
        self._submitter.submit(now)
        return now

    def _wanted(self) -> dict[str, Wanted]:
        """Units as they are wanted now; what cannot be looked at is as it was, and a trouble."""
        campaign, found = self._file.campaign, dict[str, Found]()
        units = units_of(self._file)
        for dataset in campaign.datasets:
            if not any(unit.dataset.name == dataset.name for unit in units):
                continue
            try:
                seen = look_for(self._file, dataset, self._sites[0])
            except Unavailable as error:
                if not self._opens_directories(dataset.name):
                    self._tally.error(error)
                continue
            found[dataset.name] = seen
            changed = record(self._ledger, dataset.name, seen.stamps, seen.sizes)
            for word, addresses in zip(("new", "changed", "vanished"), changed, strict=True):
                if addresses:
                    self._tally.done[f"inputs {word}"] += len(addresses)
        self._register()
        now: dict[str, Wanted] = {}
        for unit in units:
            try:
                now[unit.name] = wanted(self._file, unit, found.get(unit.dataset.name), self._sites[0])
            except Unavailable as error:
                if unit.dataset.name in found:
                    self._tally.error(error, unit.name)
            except VrecomputeError as error:
                self._tally.error(error, unit.name)
        return now

    def _opens_directories(self, dataset: str) -> bool:
        """Whether a dataset is for analyses that open a directory themselves, so that it need not hold any source."""
        from vrecompute.analysis.loading import load_analysis

        names = [u.analysis for u in units_of(self._file) if u.dataset.name == dataset]
        with contextlib.suppress(VrecomputeError):
            return all(load_analysis(self._file.analysis(a.name), a.parameters)[0].opens_directory for a in names)
        return False

    def _register(self) -> None:
        known = {row["unit"] for row in self._ledger.rows("SELECT unit FROM units")}
        if new := [unit for unit in units_of(self._file) if unit.name not in known]:
            with self._ledger.writing():
                for unit in new:
                    values = (unit.name, unit.analysis.key or unit.analysis.name, unit.dataset.name)
                    self._ledger.do("INSERT OR IGNORE INTO units (unit, analysis, dataset) VALUES (?, ?, ?)", values)
