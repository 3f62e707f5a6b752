"""Progress as lines for a log: what is new is said, and said once."""

from __future__ import annotations

from dataclasses import replace

from vrecompute.execution.progress import Progress
from vrecompute.watching import watching


def test_one_wait_is_one_line_whatever_its_words(capsys):
    work = Progress("work", chunks_done=1, chunks_total=9, events_expected=9)
    with watching() as watch:
        for number in (3, 2, 3):
            words = f"{number} tasks are in progress, the oldest for {number} min; none has ended"
            watch(replace(work, waiting=words, waiting_s=61.0, waiting_for="tasks"))
        watch(replace(work, waiting="no worker is connected", waiting_s=5.0, waiting_for="workers"))
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2] for line in lines] == [
        "3 tasks are in progress, the oldest for 3 min; none has ended",
        "no worker is connected",
    ]
