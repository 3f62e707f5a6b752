"""Windows and budgets over every kind of day: summer time, leap days, ends of months, zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.campaign.budget import Allowance, Cost, allowance, estimate, month_start, that_fit
from vrecompute.campaign.model import Budget, Window
from vrecompute.campaign.spelling import DAYS
from vrecompute.campaign.window import is_open, next_change

ZONES = [
    *("Europe/Berlin", "UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"),
    "Australia/Lord_Howe",  # sets its clocks by half an hour
    "Antarctica/Troll",  # by two hours
    "Africa/Cairo",  # at midnight
    "America/St_Johns",  # did so a minute after midnight, once on the first of a month
]
MOMENTS = st.datetimes(datetime(2005, 1, 1), datetime(2036, 12, 31)).map(lambda t: t.replace(tzinfo=UTC))
# also the days on which clocks are set, a leap day, and the turn of a year
HARD = st.sampled_from(
    [
        *(datetime(2026, 3, 29, 0, 30), datetime(2026, 10, 25, 0, 30)),  # Berlin and Troll
        *(datetime(2026, 4, 4, 14), datetime(2026, 10, 3, 14)),  # Lord Howe
        datetime(2011, 12, 30, 5),  # Apia goes from the 29th to the 31st
        datetime(2009, 11, 1, 0),  # St. John's has the first minute of November twice
        datetime(2026, 4, 23, 20),  # Cairo
        *(datetime(2028, 2, 29, 12), datetime(2026, 12, 31, 23)),
    ]
).flatmap(lambda t: st.integers(0, 600).map(lambda m: (t + timedelta(minutes=m)).replace(tzinfo=UTC)))
MINUTES = st.integers(0, 24 * 60 - 1)
WINDOWS = st.builds(
    lambda a, b, zone, days: Window(start=a, end=b if b != a else (a + 1) % 1440, timezone=zone, days=tuple(days)),
    MINUTES,
    MINUTES,
    st.sampled_from(ZONES),
    st.lists(st.sampled_from(DAYS), unique=True),
)


@given(WINDOWS, MOMENTS | HARD)
def test_it_is_open_as_the_clock_on_the_wall_says(window, now):
    local = now.astimezone(ZoneInfo(window.timezone))
    minute = local.hour * 60 + local.minute
    days = window.days or DAYS
    # walk back, on the wall, to the latest opening
    since = (minute - window.start) % 1440
    length = (window.end - window.start) % 1440
    opened = local.replace(tzinfo=None) - timedelta(minutes=since)
    assert is_open(window, now) == (since < length and DAYS[opened.weekday()] in days)


@given(WINDOWS, MOMENTS | HARD, st.floats(0, 0.99))
def test_nothing_changes_before_the_next_change(window, now, fraction):
    change = next_change(window, now)
    assert change is not None
    assert now < change <= now + timedelta(days=16)
    assert is_open(window, change) != is_open(window, now)
    assert is_open(window, change - timedelta(minutes=1)) == is_open(window, now)
    assert is_open(window, now + fraction * (change - now)) == is_open(window, now)


@pytest.mark.parametrize(
    ("zone", "day", "start", "now", "opens"),
    [
        # the last Sunday of March has no 02:15
        ("Europe/Berlin", "sun", 135, "2026-03-22T01:30:00+00:00", "2026-04-05T00:15:00+00:00"),
        # nor had Apia a 30th of December, a Friday
        ("Pacific/Apia", "fri", 1320, "2011-12-24T09:30:00+00:00", "2012-01-06T08:00:00+00:00"),
    ],
)
def test_a_window_that_was_skipped_once_opens_a_week_later(zone, day, start, now, opens):
    window = Window(start=start, end=start + 15, timezone=zone, days=(day,))
    assert next_change(window, datetime.fromisoformat(now)) == datetime.fromisoformat(opens)


def test_no_window_is_always_open():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert is_open(None, now)
    assert next_change(None, now) is None


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-03-29T00:59:00+00:00", True),  # 01:59 winter time
        ("2026-03-29T01:00:00+00:00", False),  # 03:00 summer time: 02:30 never came
        ("2026-10-25T00:29:00+00:00", True),  # 02:29 summer time
        ("2026-10-25T00:30:00+00:00", False),
        ("2026-10-25T01:29:00+00:00", True),  # 02:29 again, in winter time
        ("2026-10-25T01:30:00+00:00", False),
    ],
)
def test_clocks_that_are_set_in_a_window(moment, expected):
    window = Window(start=22 * 60, end=2 * 60 + 30, timezone="Europe/Berlin")
    assert is_open(window, datetime.fromisoformat(moment)) == expected


@given(MOMENTS | HARD, st.sampled_from(ZONES))
def test_a_month_begins_at_its_first_midnight(now, zone):
    began = month_start(now, zone)
    assert began <= now < began + timedelta(days=31, hours=2)
    local, of = began.astimezone(ZoneInfo(zone)), now.astimezone(ZoneInfo(zone))
    assert (local.year, local.month, local.day) == (of.year, of.month, 1)
    assert month_start(began, zone) == began
    before = (began - timedelta(seconds=1)).astimezone(ZoneInfo(zone))
    assert (before.year, before.month) != (of.year, of.month)


COSTS = st.builds(Cost, st.floats(0, 1e7), st.integers(0, 10**13))
BUDGETS = st.builds(
    Budget,
    core_hours_per_tick=st.none() | st.floats(0.1, 1e3),
    core_hours_per_month=st.none() | st.floats(0.1, 1e4),
    bytes_per_tick=st.none() | st.integers(1, 10**12),
    bytes_per_month=st.none() | st.integers(1, 10**13),
)


@given(BUDGETS, COSTS, COSTS)
def test_what_is_left_is_what_the_tightest_limit_leaves(budget, tick, month):
    left = allowance(budget, tick, month)
    limits = [(budget.core_hours_per_tick, tick), (budget.core_hours_per_month, month)]
    of_core = [limit * 3600 - spent.core_s for limit, spent in limits if limit is not None]
    assert left.core_s == (min(of_core) if of_core else None)
    limits = [(budget.bytes_per_tick, tick), (budget.bytes_per_month, month)]
    of_bytes = [limit - spent.bytes for limit, spent in limits if limit is not None]
    assert left.bytes == (min(of_bytes) if of_bytes else None)
    assert left.is_used_up == any(x <= 0 for x in [*of_core, *of_bytes])
    assert not left.is_used_up or left.of.startswith("budget.")


@given(
    st.lists(st.integers(0, 10**9), max_size=30),
    st.integers(-5, 10**10),
    st.none() | st.floats(1e-9, 1e-5),
    st.booleans(),
)
def test_files_are_taken_in_their_order_as_long_as_the_budget_pays(sizes, most, rate, untouched):
    given_files = {f"f{n:02}": size for n, size in enumerate(sizes)}
    taken = that_fit(given_files, Allowance(bytes=most, is_untouched=untouched), rate)
    assert taken == list(given_files)[: len(taken)]
    spent = sum(given_files[name] for name in taken)
    assert (untouched and len(taken) == 1) or spent <= max(most, 0)
    if sizes and most > 0 and untouched:
        assert taken
    if most > 0 and len(taken) < len(sizes):
        assert spent + sizes[len(taken)] > most
    assert most > 0 or not taken


def test_an_unknown_rate_is_taken_for_a_slow_one():
    assert estimate(10**9, None) == Cost(1000.0, 10**9)
    assert estimate(10**9, 1e-8).core_s == pytest.approx(10.0)
