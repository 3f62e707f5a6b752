"""Every state of a run, reached on the real Slurm, and told alike by `list`, `show`, `attach`, Client and exit code."""

from __future__ import annotations

import json

import pytest

from tests.patience import comes_true
from tests.slurm.runs import said
from tests.slurm.test_left import KILL, PLACE, SMALL, made  # noqa: F401 -- the last is a fixture

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

BROKEN = """
from vrecompute import Analysis

class Broken(Analysis):
    name = "broken"
    def columns(self, source):
        return ["Muon_pt"]
    def process(self, events):
        return 1 / 0
"""
PROGRAM = """
import json, shutil, subprocess, warnings
from vrecompute import Client
from vrecompute.errors import VrecomputeError

warnings.simplefilter("ignore")
shutil.rmtree("store-states", ignore_errors=True)
runs = {}
ended = {
    "complete": ("dilepton", "left/dataset.yaml", {"channel": "mumu"}, {}),
    "failed": ("left/broken.py", "left/dataset.yaml", {}, {}),
    "partial": ("dilepton", "left/holed", {"channel": "mumu"}, {"on_bad": "skip", "max_bad": 0.9}),
}
with Client("left/small.yaml", store="store-states") as client:
    for state, (what, data, params, options) in ended.items():
        runs[state] = client.run(what, data, params=params, labels={"wanted": state}, **options)
        try:
            runs[state].wait(300)
        except VrecomputeError:
            pass
def queue():
    return set(subprocess.run(["squeue", "-h", "-o", "%i"], capture_output=True, text=True).stdout.split())

for state, site in {"refused": "left/never.yaml", "over budget": "left/poor.yaml"}.items():
    with Client(site, store="store-states") as client:
        others = queue()
        runs[state] = client.run("left/sleepy.py", "left/dataset.yaml", labels={"wanted": state})
        if state == "over budget":  # its site pays for one job
            client.dask.wait_for_workers(1, timeout=120)
            subprocess.run(["scancel", *queue() - others])
        try:
            runs[state].wait(300)
        except VrecomputeError:
            pass

# the last, for what runs has to run on until it has been told everywhere
detached = {s: "left/small.yaml" for s in ("running", "interrupted", "cancelled")} | {"queued": "pending"}
for state, site in detached.items():
    with Client(site, store="store-states") as client:
        runs[state] = client.submit("left/sleepy.py", "left/dataset.yaml", params={}, labels={"wanted": state})
print(json.dumps({state: run.id for state, run in runs.items()}))
"""
ASK = """
import json, sys
from vrecompute import Client
with Client("left/small.yaml", store="store-states") as client:
    runs = [client.attach(run) for run in sys.argv[1:]]  # so that the site is asked about all of them at once
    for run in runs:
        told = {run.status, run.where().state}
        shown = repr(run).split(", ")[1].partition(" at ")[0]  # what it was at the latest look
        print(json.dumps({run.id: " or ".join(told | {shown})}))
"""
#: One job of ten minutes, and less than a second more.
POOR = "limits: {core_hours: 0.1667}\n"
#: By what a command exits of a run that has ended.
CODES = {
    "attach": {"complete": 0, "partial": 3, "failed": 4},
    "report": {"complete": 0, "partial": 3, "failed": 4, "interrupted": 130, "cancelled": 130},
}


def test_each_state_is_told_alike_by_every_door(made):  # noqa: F811 -- the fixture
    extends = "schema: 1\nname: {}\nextends: lab-slurm\n{}\n"
    never = "options: {partition: closed}"
    files = {"small.yaml": SMALL, "broken.py": BROKEN}
    files |= {"never.yaml": extends.format("never", never), "poor.yaml": SMALL.replace("small", "poor") + POOR}
    for name, text in files.items():
        made.on("login", "sh", "-c", f"cat > left/{name}", stdin=text)
    holes = (
        "rm -rf left/holed && mkdir left/holed && cp $(ls left/*.root | head -2) left/holed && : > left/holed/no.root"
    )
    sites = "mkdir -p .config/vrecompute/sites; mv left/pending.yaml .config/vrecompute/sites/"
    made.on("login", "sh", "-c", f"{holes}; {sites}")
    runs = said(made.on("login", "python", "-", stdin=PROGRAM, timeout_s=600))
    place = [*PLACE[:2], "--store", "/home/alice/store-states"]

    def told(command: str, *words: str):
        return json.loads(made.on("login", "python", "-m", "vrecompute", "runs", command, *words, *place, "--json"))

    def state(of: str) -> str:
        return told("show", runs[of])["state"]

    def listed(*words: str) -> dict[str, str]:
        return {each["run"]: each["state"] for each in told("list", *words)}

    assert comes_true(lambda: {state(s) for s in ("running", "interrupted", "cancelled")} == {"running"}, 120, 1)
    killed = told("show", runs["interrupted"])["job"]
    node = made.on("login", "squeue", "-h", "-j", killed, "-o", "%N").strip()
    made.on(node, "sh", "-c", KILL, killed)
    made.on("login", "python", "-m", "vrecompute", "runs", "cancel", runs["cancelled"], *place)
    assert comes_true(lambda: all(state(s) == s for s in ("interrupted", "cancelled")), 60, 1)

    wanted = {run: state for state, run in runs.items()}
    assert listed() == wanted
    shown = {run: told("show", run) for run in wanted}
    assert {run: each["state"] for run, each in shown.items()} == wanted
    assert said(made.on("login", "python", "-", *wanted, stdin=ASK)) == wanted
    for of in ("queued", "interrupted", "cancelled", "refused", "over budget"):
        assert shown[runs[of]]["reason"], of
    assert listed("--no-ask")[runs["queued"]] == "submitted"
    for command, codes in CODES.items():
        for of, code in codes.items():
            line = f'python -m vrecompute runs {command} "$@" > told 2>&1; echo $?'
            ended = int(made.on("login", "sh", "-c", line, "sh", runs[of], *place))
            assert ended == code, made.on("login", "cat", "told")
    for of in ("running", "queued"):
        made.on("login", "python", "-m", "vrecompute", "runs", "cancel", runs[of], *place)
    made.on("login", "rm", ".config/vrecompute/sites/pending.yaml")
    assert comes_true(lambda: made.on("login", "squeue", "-h", "-u", "alice") == "", 60)


WAITS = """
from vrecompute import Client
with Client("left/pending.yaml", store="store-states") as client:
    print(client.submit("left/sleepy.py", "left/dataset.yaml").id)
"""


@pytest.mark.acceptance
def test_a_run_of_which_its_site_says_nothing_is_unknown(made):  # noqa: F811 -- the fixture
    """Each question waits for half a minute for each daemon."""
    run = made.on("login", "python", "-", stdin=WAITS).split()[-1]
    place = ["--site", "left/pending.yaml", "--store", "/home/alice/store-states"]
    runs = ["python", "-m", "vrecompute", "runs"]
    with made.away("slurmctld"), made.away("slurmdbd"):
        assert json.loads(made.on("login", *runs, "show", run, *place, "--json"))["state"] == "unknown"
        told = json.loads(made.on("login", *runs, "list", *place, "--json"))
    assert {each["run"]: each["state"] for each in told}[run] == "unknown"
    made.on("login", *runs, "cancel", run, *place)
    assert comes_true(lambda: made.on("login", "squeue", "-h", "-u", "alice") == "", 60)
