"""A job that starts after days, by clocks and reservations of any system."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from vrecompute.batch.late_start import Reserved, late_start

NOW = datetime(2026, 5, 4, 12)
DAY = timedelta(days=1)


@pytest.mark.parametrize("after", [-DAY, timedelta(0), DAY])
def test_a_start_within_a_day_is_none_to_be_told_of(after):
    assert late_start("taken", NOW + after, NOW, [Reserved("all", NOW - DAY, NOW + 9 * DAY)]) is None


@pytest.mark.parametrize(
    ("begins", "said", "mend"),
    [
        (
            NOW + timedelta(hours=2, seconds=59),
            "has its nodes from 2026-05-04T14:00:59; a walltime of 2h would end before",
            "workers.walltime",
        ),
        (NOW - DAY, "has its nodes from 2026-05-03T12:00:00", ""),
        (NOW + 4 * DAY, "3 days from now", "options.directives"),  # after it has started
    ],
)
def test_what_fits_before_a_reservation_is_told_in_whole_minutes(begins, said, mend):
    reserved = [Reserved("past", NOW - 2 * DAY, NOW - DAY), Reserved("maintenance", begins, NOW + 5 * DAY)]
    late = late_start("it would be taken", NOW + 3 * DAY, NOW, reserved, "options.directives")
    assert late is not None
    assert str(late).startswith("it would be taken, 3 days from now")
    assert str(late).endswith(said)
    assert (late.after_s, late.mend) == (3 * 86400, mend)
