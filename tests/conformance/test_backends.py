"""Every driver through the suite that ships in the wheel."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.htcondor.conftest import pool, running_pool  # noqa: F401 -- fixtures
from tests.htcondor.lab import Pool
from tests.slurm.conftest import lab, running_lab  # noqa: F401 -- fixtures
from tests.slurm.lab import Lab, lab_number
from vrecompute.sites.model import Environment, local_site
from vrecompute.testing import BackendContract
from vrecompute_backends.htcondor import HTCondorBackend
from vrecompute_backends.local import LocalBackend
from vrecompute_backends.slurm import SlurmBackend

CONTRACT = """
import pytest
from dataclasses import replace
from vrecompute.sites.load import load_site
from vrecompute.testing import BackendContract
from vrecompute_backends.%s import %s as Driver

class TestThere(BackendContract):
    @pytest.fixture
    def make_backend(self):
        return lambda **changes: Driver(replace(load_site("%s"), scheduler_runs="%s", **changes))
"""


def clusters(lab, machine, driver, site, scheduler_runs):  # noqa: F811 -- no fixture
    """The suite's tests of clusters, on a machine of the lab, with the Python that its jobs have."""
    text = CONTRACT % (*driver, site, scheduler_runs)
    lab.on(machine, "sh", "-c", "mkdir -p ~/contract && cat > ~/contract/test_contract.py", stdin=text)
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-k", "cluster"]
    said = lab.on(machine, "python", "-m", "pytest", *options, "contract", check=False)
    assert "3 passed" in said, said


class TestLocal(BackendContract):
    walltime_s = 20  # this machine counts seconds

    @pytest.fixture
    def make_backend(self, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
        site = replace(local_site(), environment=Environment())
        return lambda **changes: LocalBackend(replace(site, **changes))


def test_what_fails_shows_values():
    """In a file of a stranger's, too: pytest itself rewrites test files alone."""
    answers_nothing = SimpleNamespace(poll=lambda ids: {})
    with pytest.raises(AssertionError, match=r"'999999999': <State\.UNKNOWN"):
        BackendContract().test_an_unseen_id_is_unknown(answers_nothing)


@pytest.mark.slurm
@pytest.mark.timeout(600)
class TestSlurm(BackendContract):
    """By ssh from this machine; live clusters need the lab's own Python, so that part runs on its machines."""

    accounting = True
    merges_marks = True

    @pytest.fixture
    def make_backend(self, lab):  # noqa: F811 -- the fixture
        return lambda **changes: SlurmBackend(replace(lab.site, **changes), lab.backend().access)

    def hold(self, backend, job_id):
        """As an operator does: a running job is put back and kept."""
        backend.access.run(["scontrol", "requeuehold", job_id])

    def never_starts(self):
        return {"options": {"partition": "closed", "account": "physics"}}

    def waits_long(self):
        return {"options": {"partition": "batch", "account": "physics", "directives": {"add": ["--begin=now+1hour"]}}}

    def over_memory(self):
        """c1 polls memory on any host, and Slurm then kills the whole job."""
        return {"options": {"partition": "batch", "account": "physics", "directives": {"add": ["--nodelist=c1"]}}}

    def limited(self, backend, jobs):
        """As an operator does, in accounting."""
        return Lab(lab_number()).limited(jobs)

    test_a_cluster_tells_how_the_jobs_of_lost_workers_ended = None  # beside the others, on the lab's machines

    @pytest.mark.acceptance  # a whole minute, as Slurm counts; tests/slurm/test_left.py has a walltime of seconds
    def test_walltime_is_a_state_of_its_own(self, backend):
        """Of a job that Slurm was asked for so."""
        super().test_walltime_is_a_state_of_its_own(backend)

    @pytest.mark.parametrize(
        ("machine", "site", "scheduler_runs"),
        [
            ("login", "lab-slurm", "login"),
            ("client", "lab-slurm-ssh", "allocation"),
            pytest.param("login", "lab-slurm", "allocation", marks=pytest.mark.acceptance),
            pytest.param("client", "lab-slurm-ssh", "login", marks=pytest.mark.acceptance),
        ],
    )
    def test_a_cluster_computes_scales_and_closes(self, lab, machine, site, scheduler_runs):  # noqa: F811
        clusters(lab, machine, ("slurm", "SlurmBackend"), site, scheduler_runs)


@pytest.fixture(scope="module")
def holding(running_pool):  # noqa: F811 -- the fixture
    """The HTCondor lab with a policy, as an operator has it: what asks for more disk than machines have is held."""
    with running_pool.configured(SYSTEM_PERIODIC_HOLD="JobStatus == 1 && RequestDisk > 1024 * 1024 * 1024"):
        yield


@pytest.mark.htcondor
@pytest.mark.timeout(600)
class TestHTCondor(BackendContract):
    """By ssh from this machine; live clusters need the lab's own Python, so that part runs on its machines."""

    goes_on = True  # by its description (`on_exit_remove`)
    accounting = True

    @pytest.fixture
    def make_backend(self, holding, pool):  # noqa: F811 -- the fixture
        return lambda **changes: HTCondorBackend(replace(pool.site, **changes), pool.backend().access)

    def never_starts(self):
        """By a policy: HTCondor says of no job that matches no machine that none will come, as pilots do."""
        return {"options": {"disk": "2TiB"}}

    def waits_long(self):
        return {"options": {"requirements": "time() > MY.QDate + 3600"}}

    def over_memory(self):
        """Any job, by a policy of machines."""
        return {}

    def limited(self, backend, jobs):
        """As an operator does, of the access point."""
        return Pool(lab_number()).configured(MAX_JOBS_PER_OWNER=jobs)

    def lose_node(self, backend, job_id):
        """It begins anew; the live runs of tests/htcondor have one whose plug stays out."""
        machine = backend.poll([job_id])[job_id].node.partition(".")[0]
        for action in ("kill", "start"):
            Pool(lab_number()).power(action, machine)

    def test_a_job_whose_node_went_is_charged_to_no_code(self, make_backend):
        """The access point waits for a machine until the job's lease ends: here as short as may be."""
        short = make_backend(options={"commands": {"job_lease_duration": "20"}})
        super().test_a_job_whose_node_went_is_charged_to_no_code(short)

    def hold(self, backend, job_id):
        """As an operator does."""
        backend.access.run(["condor_hold", job_id])

    def imaged(self, environment):
        """The folder that execution points have as of CVMFS."""
        path = "/opt/vrecompute/bin:/opt/venv/bin:$PATH"
        return replace(environment, venv=None, image="/images/worker", variables={"PATH": path}), "APPTAINER_CONTAINER"

    test_a_cluster_tells_how_the_jobs_of_lost_workers_ended = None  # beside the others, on the access point

    @pytest.mark.parametrize("scheduler_runs", ["client", "allocation"])
    def test_a_cluster_computes_scales_and_closes(self, pool, scheduler_runs):  # noqa: F811
        clusters(pool, "submit", ("htcondor", "HTCondorBackend"), "lab-htcondor", scheduler_runs)
