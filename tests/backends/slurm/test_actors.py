"""What Slurm complains of is of who asked for it: a directive, an option or the workers of the site's file."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vrecompute.batch.contract import Job, SubmitError
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Completed, LocalAccess
from vrecompute.sites.model import Site, SiteAccess, Ssh, Workers
from vrecompute_backends.slurm import SlurmBackend
from vrecompute_backends.slurm.record import Record
from vrecompute_backends.slurm.states import status_of

SITE = Site(name="there", backend="slurm")
JOB = Job("job", ("true",))
FAILED = "sbatch: error: Batch job submission failed: "
NODES = FAILED + "Requested node configuration is not available"
GRES = FAILED + "Invalid generic resource (gres) specification"
POLICY = FAILED + "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"


def site(*directives, **options):
    return replace(SITE, options={"directives": {"add": list(directives)}, **options})


class Refuses(LocalAccess):
    """A machine whose sbatch says this and takes nothing; without words it has no connection for that reason."""

    def __init__(self, said, *, away=False):
        self.said, self.away = said, away

    def run(self, command, *, stdin=b"", timeout_s=60.0):
        if self.away:
            raise Unavailable(self.said)
        refuses = "sbatch" in command
        return Completed(int(refuses), b"" if refuses else b"/spool\n", self.said.encode() if refuses else b"")


def refused(where, said, count=1):
    with pytest.raises(SubmitError) as error:
        SlurmBackend(where, Refuses(said)).dry_run(JOB, "#!/bin/sh", count)
    return error.value.mend


@pytest.mark.parametrize(
    ("where", "said", "key"),
    [
        (site("--exclude=c[1-9]"), NODES, "options.directives"),
        (site("-w c9"), FAILED + "Invalid node name specified", "options.directives"),
        (site("--hint=nomultithread"), NODES, "workers"),
        (site("--gres=gpu:9"), GRES, "options.directives"),
        (site(gres="gpu:9"), GRES, "options.gres"),
        (replace(SITE, workers=Workers(gpus=2)), GRES, "workers.gpus"),
        (site("--dependency=afterok:1"), FAILED + "Job dependency problem", "options.directives"),
        (site(), "sbatch: error: AssocMaxSubmitJobLimit\n" + POLICY, "options.account"),
        (site(), "sbatch: error: QOSMaxSubmitJobPerUserLimit\n" + POLICY, "options.qos"),
        (site(), FAILED + "Required partition not available (inactive or drain)", "options.partition"),
        (site(), FAILED + "Invalid license specification", "options.licenses"),
        (site("--licenses=none:1"), FAILED + "Invalid license specification", "options.directives"),
        (site(), FAILED + "Unable to contact slurm controller (connect failure)", ""),
    ],
)
def test_a_refusal_names_the_key_that_asked_for_what_is_refused(where, said, key):
    assert refused(where, said) == key


def test_of_many_jobs_fewer_may_be_taken():
    assert refused(SITE, "sbatch: error: AssocMaxSubmitJobLimit\n" + POLICY, 3) == "workers.nodes.min"


@pytest.mark.parametrize(
    ("where", "reason", "key"),
    [
        (site("--begin=now+1hour"), "BeginTime", "options.directives"),
        (site(), "BeginTime", ""),
        (site("--nodelist=c9"), "ReqNodeNotAvail, UnavailableNodes:c9", "options.directives"),
        (site(), "PartitionTimeLimit", "workers.walltime"),
        (site("--time-min=90"), "PartitionTimeLimit", "options.directives"),
        (site(), "AssocMaxMemPerJob", "workers"),
        (site(), "InvalidQOS", "options.qos"),
        (site(), "Resources", ""),
    ],
)
def test_a_job_that_waits_names_the_key_that_lets_it_start(where, reason, key):
    assert SlurmBackend(where, Refuses("")).key_of(status_of(Record("7", "PENDING", reason=reason))) == key


@pytest.mark.parametrize(
    ("ssh", "said", "advice"),
    [
        (Ssh(host="login", port=2222), "ssh: connect to host login port 2222: Connection refused", "port"),
        (Ssh(host="login", user="bob"), "bob@login: Permission denied (publickey).", "user"),
        (Ssh(host="login", jump="gate"), "channel 0: open failed; stdio forwarding failed", "jump"),
        (Ssh(host="login"), "ssh: connect to host login port 22: Connection refused", "host"),
        (Ssh(host="login", port=2222), "ssh: Could not resolve hostname login", "host"),
    ],
)
def test_a_way_in_that_fails_names_what_the_site_says_of_it(ssh, said, advice):
    (found,) = SlurmBackend(replace(SITE, access=SiteAccess(ssh=ssh)), Refuses(said, away=True)).probe()
    assert found.advice.startswith(f"access: {{ssh: {{{advice}: ...}}}}")
