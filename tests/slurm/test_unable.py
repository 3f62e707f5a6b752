"""A run whose workers cannot start: it ends, soon, says why in the job's own words, and leaves nothing."""

from __future__ import annotations

import json

import pytest

from tests.patience import comes_true

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

PROGRAM = """
import json, logging, sys, time, warnings
from dataclasses import replace
from vrecompute import Client
from vrecompute.errors import VrecomputeError
from vrecompute.sites.load import load_site
from vrecompute.sites.model import Environment, Limits

warnings.simplefilter("ignore")
logging.getLogger("distributed").setLevel(logging.CRITICAL)
site = load_site(sys.argv[1])
site = replace(site, limits=replace(site.limits, min_poll=Limits().min_poll))
wrong = replace(site, environment=Environment(venv="/opt/nothing"))
began = time.monotonic()
with Client(wrong if site.access.kind == "local" else site, store="/home/alice/store-unable") as client:
    if site.access.kind != "local":  # the scheduler on the login node starts, its workers do not
        submit = client.backend.submit_many
        client.backend.submit_many = lambda job, count: submit(replace(job, command=("nothing-of-that-name",)), count)
    run = client.run("dilepton", "/home/alice/unable", channel="mumu")
    try:
        run.wait(600)
        error = None
    except VrecomputeError as raised:
        error = raised
    facts = {"took_s": time.monotonic() - began, "error": str(error), "code": getattr(error, "exit_code", 0)}
    facts["status"] = run.status
    found = Client(site, store="/home/alice/store-unable").attach(run.id)
    facts["elsewhere"] = [found.status, found.where().reason]
    facts["alive"] = client.backend.access.run(["squeue", "-h", "-u", "alice"]).text
print(json.dumps(facts))
"""


@pytest.mark.parametrize(
    ("machine", "site"), [pytest.param("login", "lab-slurm", marks=pytest.mark.acceptance), ("client", "lab-slurm-ssh")]
)
def test_workers_that_die_at_once_end_the_run_with_the_end_of_their_log(lab, machine, site):
    generate = ["generate", "/home/alice/unable", "--events", "2000", "--files", "2", "--seed", "1"]
    for where in {"login", machine}:
        lab.on(where, "python", "-m", "vrecompute", *generate)
    said = lab.on(machine, "sh", "-c", 'exec python - "$@" 2>&1', "sh", site, stdin=PROGRAM, timeout_s=700, check=False)
    facts = json.loads(next((line for line in said.splitlines() if line.startswith('{"took_s')), "{}"))
    assert facts, said[-3000:]
    assert "no worker starts: 3 worker jobs in a row ended without one" in facts["error"], said[-3000:]
    assert "ended with exit code" in facts["error"]
    words = ("not found", "No such file", "environment.venv: /opt/nothing/bin/python is no program")
    assert any(word in facts["error"] for word in words), "the job's own words"
    assert facts["code"] == 5
    assert facts["took_s"] < 120
    assert facts["status"] == "interrupted"
    assert facts["elsewhere"] == ["interrupted", facts["error"]]
    assert facts["alive"] == ""


FEW = "schema: 1\nname: few\nextends: lab-slurm\nworkers: {processes: 1, memory: 700MiB, nodes: {min: 1, max: 1}}\n"
FEW += "environment: {venv: /opt/venv, setup: ['ulimit -n 20']}\noptions: {launcher: %s}\n"


@pytest.mark.parametrize("launcher", ["direct", "srun"])
def test_a_detached_run_whose_workers_die_at_once_ends_with_what_they_say(lab, launcher):
    """With one file descriptor for each connection the Runner works; a worker does not."""
    lab.on("login", "python", "-m", "vrecompute", "generate", "/home/alice/unable", "--events", "2000", "--files", "2")
    lab.on("login", "sh", "-c", "cat > few.yaml", stdin=FEW % launcher)
    place = ["--site", "few.yaml", "--store", "store-few"]
    command = ["run", "dilepton", "unable", *place, "-p", "channel=mumu", "--no-reuse", "--detach"]
    run = lab.on("login", "python", "-m", "vrecompute", *command).split()[-1]
    assert comes_true(lambda: lab.on("login", "squeue", "-h", "-u", "alice") == "", 180, 1), "it holds no cores"
    shown = lab.on("login", "python", "-m", "vrecompute", "runs", "show", run, *place)
    assert "state: interrupted" in shown
    assert "no worker starts: the workers of this job ended 3 times before one connected" in shown
    assert "Too many open files" in shown
    listed = lab.on("login", "python", "-m", "vrecompute", "runs", "list", *place)
    assert "no worker starts" in next(line for line in listed.splitlines() if line.startswith(run)), listed
