"""What may be spent: a pure function of limits and of what was spent since the tick and the month began."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from vrecompute.campaign.model import Budget

__all__ = ["Allowance", "Cost", "allowance", "estimate", "month_start", "that_fit", "total"]

#: Core-seconds a byte costs as long as nothing was measured: no analysis that we know is slower.
UNKNOWN_CORE_S_PER_BYTE = 1e-6


class Cost(NamedTuple):
    """Core-seconds, and bytes of files."""

    core_s: float = 0.0
    bytes: int = 0

    def plus(self, other: Cost) -> Cost:
        """Both together."""
        return Cost(self.core_s + other.core_s, self.bytes + other.bytes)


@dataclass(frozen=True)
class Allowance:
    """What is left; None where nothing limits it. `of` says by the key of the file what limits it.

    `is_untouched`: nothing of what limits was spent yet.
    """

    core_s: float | None = None
    bytes: int | None = None
    of: str = ""
    is_untouched: bool = True

    @property
    def is_used_up(self) -> bool:
        """Whether nothing more may be submitted."""
        return (self.core_s is not None and self.core_s <= 0) or (self.bytes is not None and self.bytes <= 0)

    def pays(self, cost: Cost) -> bool:
        """Whether that is within it."""
        return (self.core_s is None or cost.core_s <= self.core_s) and (self.bytes is None or cost.bytes <= self.bytes)


def month_start(now: datetime, zone: str) -> datetime:
    """The moment at which the calendar month of `now` began in a zone, in UTC."""
    local = now.astimezone(ZoneInfo(zone))
    return datetime(local.year, local.month, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def allowance(budget: Budget, in_tick: Cost, in_month: Cost) -> Allowance:
    """What is left after what this tick and this month have cost."""
    core, by_core = _least(
        ("budget.core_hours_per_tick", _hours(budget.core_hours_per_tick), in_tick.core_s),
        ("budget.core_hours_per_month", _hours(budget.core_hours_per_month), in_month.core_s),
    )
    size, by_size = _least(
        ("budget.bytes_per_tick", budget.bytes_per_tick, in_tick.bytes),
        ("budget.bytes_per_month", budget.bytes_per_month, in_month.bytes),
    )
    of = by_size if size is not None and size <= 0 else by_core or by_size
    by_tick = budget.core_hours_per_tick is not None or budget.bytes_per_tick is not None
    by_month = budget.core_hours_per_month is not None or budget.bytes_per_month is not None
    is_untouched = not (by_tick and any(in_tick)) and not (by_month and any(in_month))
    return Allowance(core, None if size is None else int(size), of, is_untouched)


def estimate(size: int, core_s_per_byte: float | None) -> Cost:
    """What so many bytes of new files will cost, by what earlier attempts did."""
    return Cost(size * (UNKNOWN_CORE_S_PER_BYTE if core_s_per_byte is None else core_s_per_byte), size)


def that_fit(sizes: Mapping[str, int], left: Allowance, core_s_per_byte: float | None) -> list[str]:
    """The files, in their order, that the allowance pays for: as many from the first on as it holds.

    The first is taken from a budget that is untouched, however large it is: else a file that is larger than the budget
    of a tick would be waited for without end.
    """
    if left.is_used_up:
        return []
    taken: list[str] = []
    spent = Cost()
    for name, size in sizes.items():
        spent = spent.plus(estimate(size, core_s_per_byte))
        if (taken or not left.is_untouched) and not left.pays(spent):
            break
        taken.append(name)
    return taken


def _hours(hours: float | None) -> float | None:
    return None if hours is None else hours * 3600


def _least(*limits: tuple[str, float | None, float]) -> tuple[float | None, str]:
    """What is left of the tightest limit, and its key."""
    left = [(limit - spent, key) for key, limit, spent in limits if limit is not None]
    return min(left) if left else (None, "")


def total(costs: Iterable[Cost]) -> Cost:
    """All together."""
    found = Cost()
    for cost in costs:
        found = found.plus(cost)
    return found
