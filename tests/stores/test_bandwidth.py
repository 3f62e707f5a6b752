"""Bytes a second, with a clock of the test's own."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from vrecompute.stores import bandwidth as module
from vrecompute.stores.bandwidth import Bandwidth, bandwidth


@given(st.floats(0.1, 1000), st.lists(st.tuples(st.integers(0, 1 << 24), st.floats(0, 5)), max_size=20))
def test_what_was_let_through_never_exceeds_the_rate_by_more_than_one_piece(rate, pieces):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    clock.sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)
    module_time, module.time = module.time, clock
    try:
        limited, moved = Bandwidth(rate), 0
        for count, pause_s in pieces:
            before = clock.now
            limited.take(count)
            assert moved <= 1e6 * rate * clock.now * (1 + 1e-9) + 1e-3, "all before it have had their time"
            assert clock.now - before <= moved / (1e6 * rate) + 1e-9, "and none waits for longer than that"
            moved += count
            clock.now += pause_s
    finally:
        module.time = module_time


def test_without_a_number_nothing_waits_and_a_service_has_one(monkeypatch):
    monkeypatch.setattr(module.time, "sleep", None)
    Bandwidth().take(1 << 60)
    assert bandwidth("https://a", 5.0) is bandwidth("https://a", 5.0)
    assert bandwidth("https://a", 5.0) is not bandwidth("https://b", 5.0)
