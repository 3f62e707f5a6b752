"""What keeps a job below a limit is a sentence with what to lower, and says whether waiting helps."""

from __future__ import annotations

import pytest

from vrecompute.batch.limit_reached import LimitReached


def reached(what="cores", **parts):
    return LimitReached(what, "its project", "options.project", **parts)


@pytest.mark.parametrize(
    ("limit", "never", "said"),
    [
        (
            reached(least=True),
            True,
            "it asks for fewer cores than its project demands; raise `workers`, or choose another `options.project`",
        ),
        (
            reached("time", of_one="job"),
            True,
            "it asks for more time per job than its project allows; lower `workers.walltime`",
        ),
        (
            reached(of_one="node", minutes=True),
            True,
            "it asks for more core minutes per node than its project allows; lower `workers.walltime`",
        ),
        (
            reached(minutes=True),
            False,
            "its project has used up its core minutes; ask for more, or choose another one",
        ),
        (
            reached(minutes=True, running=True),
            False,
            (
                "it and running jobs of its project would take more core minutes than its project allows at once; it "
                "starts when they end, and never if it alone asks for more: lower `workers.walltime`"
            ),
        ),
        (
            reached("jobs", others="your running jobs"),
            False,
            (
                "it and your running jobs would take more jobs than its project allows; it starts when they end, and "
                "never where that is none: lower `limits.max_jobs`"
            ),
        ),
        (
            reached("memory"),
            False,
            (
                "it and running jobs of its project would take more memory than its project allows; it starts when "
                "they end, and never if it alone asks for more: lower `workers`"
            ),
        ),
    ],
)
def test_a_limit_says_whose_it_is_what_to_do_and_whether_waiting_helps(limit, never, said):
    assert (str(limit), limit.never) == (said, never)
