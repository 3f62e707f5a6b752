"""What is blamed on memory, and what is not."""

from __future__ import annotations

import pytest

from vrecompute.batch.contract import State
from vrecompute_backends.slurm.record import Record
from vrecompute_backends.slurm.states import status_of

GIB = 1 << 30


@pytest.mark.parametrize(
    ("record", "state"),
    [
        # a Slurm that polls memory kills with a bare SIGKILL: it was for memory where nearly all of it was used
        (Record("1", "FAILED", signal=9, memory_peak_bytes=int(0.96 * GIB), memory_limit_bytes=GIB), State.OOM),
        (Record("1", "FAILED", signal=9, memory_peak_bytes=int(0.94 * GIB), memory_limit_bytes=GIB), State.FAILED),
        (Record("1", "CANCELLED", exit_code=137, memory_peak_bytes=GIB, memory_limit_bytes=GIB), State.OOM),
        # whoever used all of it and ended by itself, or by another signal, was not killed for it
        (Record("1", "FAILED", exit_code=1, memory_peak_bytes=GIB, memory_limit_bytes=GIB), State.FAILED),
        (Record("1", "FAILED", signal=11, memory_peak_bytes=GIB, memory_limit_bytes=GIB), State.FAILED),
        (Record("1", "FAILED", signal=9, memory_peak_bytes=GIB), State.FAILED),
        # control groups say so, of the job or of one of its steps, whatever was sampled
        (Record("1", "OUT_OF_MEMORY", memory_peak_bytes=1 << 20, memory_limit_bytes=GIB), State.OOM),
        (Record("1", "FAILED", exit_code=1, steps=("COMPLETED", "OUT_OF_MEMORY")), State.OOM),
        # a walltime is a walltime, however much memory was used
        (Record("1", "TIMEOUT", signal=9, memory_peak_bytes=GIB, memory_limit_bytes=GIB), State.TIMEOUT),
    ],
)
def test_memory_is_blamed_where_it_was_the_reason(record, state):
    assert status_of(record).state is state


@pytest.mark.parametrize("state", ["SUSPENDED", "RUNNING SUSPENDED", "RUNNING,STOPPED"])
def test_a_suspended_job_runs_and_says_why_nothing_goes_on(state):
    status = status_of(Record("148", state, nodes="c1"))
    assert status.state is State.RUNNING
    assert status.stopped == status.reason
    assert status.reason.startswith("job 148 is suspended: its processes are stopped until its batch system")
    assert status_of(Record("148", "RUNNING", nodes="c1")).stopped == ""


@pytest.mark.parametrize("folder", ["/tmp/x/jobs", ""])
def test_a_job_whose_log_its_node_cannot_write_names_node_and_folder(folder):
    status = status_of(Record("242", "FAILED", exit_code=0, signal=53, nodes="c1"), folder)
    assert status.state is State.FAILED
    assert status.reason.startswith("FAILED: job 242 could not begin: c1 cannot write its log in the folder ")
    assert folder in status.reason
    assert "`stage.scratch`" in status.reason
