"""What ends runs and jobs on the lab, and which test plays it: after each there is a look at what is left.

`conftest` looks after each of these tests: at the queue, at the spool, and at the temporary folders and the memory
disk of all machines. What `tests/batch/test_left_behind.py` and the suite of drivers play too, on other systems, is
in `vrecompute/testing/leftovers.py`.
"""

from __future__ import annotations

import os

__all__ = ["SCENARIOS", "longest_s"]

#: Scenario -> module:test that plays it.
SCENARIOS = {
    "a detached run that another process cancels": "test_left:three_detached_runs",
    "a detached run whose job is killed outright": "test_left:three_detached_runs",
    "a detached run that is requeued and cancelled at once": "test_left:three_detached_runs",
    "a detached run of an array that is cancelled": "test_shares:an_array_of_shares",
    "a job that is held after a requeue, and cancelled": "test_left:jobs_that_end_in_six_ways",
    "a job whose script is told to end": "test_left:jobs_that_end_in_six_ways",
    "a job at its walltime": "test_left:jobs_that_end_in_six_ways",
    "a job that is killed for its memory": "test_left:jobs_that_end_in_six_ways",
    "a job that is cancelled": "test_left:jobs_that_end_in_six_ways",
    "a job that is killed outright": "test_left:jobs_that_end_in_six_ways",
    "a live client that gets SIGTERM while its jobs wait": "test_left:a_live_client",
    "a live client that gets SIGHUP while its jobs wait": "test_left:a_live_client",
    "a live client that gets Ctrl-C while its jobs work": "test_ssh:interrupted_in_a_terminal",
    "a detached run whose client is killed outright": "test_runs:a_client_killed_after_a_detached_submit",
    "a live run in which a worker, a job and a node die": "test_disturbed:a_live_run_survives_the_death_of_a_worker",
    "a live run whose scheduler's job is cancelled": "test_disturbed:the_death_of_the_job_that_holds_its_scheduler",
    "a live run whose scheduler on the login node is killed": "test_disturbed:a_scheduler_on_the_login_node",
    "a live run whose client is killed outright": "test_runs:a_live_run_whose_client_is_killed",
    "a detached run that is requeued": "test_disturbed:a_detached_run_survives_a_requeue",
    "a job that is preempted": "test_disturbed:a_preempted_job",
    "a run while slurmdbd is away": "test_runs:a_whole_run_while_slurmdbd_is_away",
    "a connection that is lost": "test_ssh:the_loss_of_its_connection",
    "jobs that can never start": "test_left:a_job_that_can_never_start",
    "fewer jobs than a run starts with": "test_left:as_many_jobs_as_the_account",
    "workers that cannot start": "test_unable:workers_that_die_at_once",
    "workers of a detached run that cannot start": "test_unable:a_detached_run_whose_workers_die",
    "a detached run of a step on each node": "test_left:a_detached_run_of_steps",
    "a spool without room": "test_left:a_spool_without_room",
    "an error of the user's code": "test_runs:an_error_of_the_user_s_code",
    "a run that completes, live and detached": "test_runs:live_and_detached_here_and_by_ssh",
    "a live run that is closed": "test_live:a_live_cluster",
}
#: Whose workers wait for two minutes for their scheduler before their jobs end: in `make acceptance`.
_SLOW = {"a live run whose client is killed outright"}


def longest_s(module: str, test: str) -> float:
    """For how long a look after that test may find something; 0 where it plays no scenario, or not now."""
    played = {name for name, where in SCENARIOS.items() if _is(where, module, test)}
    if played & _SLOW:
        return 300.0 if os.environ.get("VRECOMPUTE_ACCEPTANCE") else 0.0
    return 60.0 if played else 0.0


def _is(where: str, module: str, test: str) -> bool:
    of, _, words = where.partition(":")
    return of == module and words in test
