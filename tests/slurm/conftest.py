"""The fixture `lab`: the running Slurm lab, with the project installed as it is here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.patience import comes_true
from tests.slurm.lab import Lab, lab_number
from tests.slurm.leftovers import litter, temporary_files
from tests.slurm.runs import ANALYSIS, FILES, run
from tests.slurm.scenarios import longest_s

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def running_lab(absent: Callable[[str, str], None]) -> Lab:
    """The lab of this process, or a skip that says how to bring it up."""
    lab = Lab(lab_number())
    if not (lab.keys / "ssh_config").is_file() or not lab.on("login", "sinfo", "-h", check=False):
        absent("slurm", "the Slurm lab is not running: containers/slurm/up (podman or docker)")
    for machine in ("c1", "c2"):
        lab.power("start", machine)
    _settle(lab)
    return lab


@pytest.fixture(scope="session")
def outage_s() -> float:
    """How long a daemon is away: two minutes in `make acceptance`."""
    return 120.0 if os.environ.get("VRECOMPUTE_ACCEPTANCE") else 25.0


@pytest.fixture
def lab(running_lab: Lab) -> Iterator[Lab]:
    """The lab with both nodes up and nothing in its queue; so it is left to the next test."""
    yield running_lab
    _settle(running_lab)


#: End all jobs, and wait until both nodes are ready for others.
_IDLE = """
scancel -u alice
for look in $(seq 1000); do
  nodes=$(sinfo -h -N -p batch -t idle -o '%n %t' | sort -u | tr '\n' ' ')
  [ "$nodes" = 'c1 idle c2 idle ' ] && exit
  sleep 0.3
done
sinfo -N -l; exit 1
"""


def _settle(lab: Lab) -> None:
    for machine in list(lab.unplugged):
        lab.power("start", machine)
    lab.on("login", "sh", "-c", _IDLE)


@pytest.fixture(scope="module", autouse=True)
def _no_file_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each module the temporary folders of all machines hold nothing, once another job has begun on each node."""
    if not any(item.path == request.path and item.get_closest_marker("slurm") for item in request.session.items):
        yield  # of the module only what needs no lab is run
        return
    running_lab: Lab = request.getfixturevalue("running_lab")
    yield
    _settle(running_lab)
    assert temporary_files(running_lab) == set()


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each scenario there is nothing more on the lab than before it; nothing is ended to have it so."""
    if not (patience_s := longest_s(request.path.stem, request.node.name)):
        yield
        return
    running_lab: Lab = request.getfixturevalue("lab")
    before = litter(running_lab)
    yield
    for machine in list(running_lab.unplugged):  # what is looked at has to run
        running_lab.power("start", machine)
    assert comes_true(lambda: litter(running_lab) <= before, patience_s, 2), litter(running_lab) - before


@pytest.fixture
def rest(lab: Lab, tmp_path: Path) -> dict[str, str]:
    """Options of a backend that asks slurmrestd, with a token in a file."""
    token = tmp_path / "token"
    token.write_text(lab.on("login", "scontrol", "token", "lifespan=600"))
    return {"prefer": "rest", "rest_url": "http://head:6820", "rest_token_file": str(token)}


@pytest.fixture
def control_groups(lab: Lab, absent: Callable[[str, str], None]) -> Lab:
    """The lab, with a c2 that enforces memory by control groups; c1 polls."""
    if not lab.on("c2", "printenv", "CONTROL_GROUPS", check=False).strip():
        absent(
            "control-groups",
            "c2 of the lab only polls memory: its host has no control groups of version 1 that a container may write "
            "to, or CONTROL_GROUPS=off was set at containers/slurm/up",
        )
    return lab


@pytest.fixture(scope="session")
def data(running_lab: Lab) -> str:
    """24 files on the site's shared file system, named alike on the login node and on the client outside."""
    running_lab.on("login", "sh", "-c", "rm -rf /home/alice/lab /home/alice/store-*")
    generate = ["generate", "/home/alice/lab", "--events", "24000", "--files", str(FILES), "--seed", "7"]
    running_lab.on("login", "python", "-m", "vrecompute", *generate)
    read = "import sys, yaml; d = yaml.safe_load(open('/home/alice/lab/dataset.yaml'))\n"
    read += "for s in d['samples']:\n    for f in s['files']: f['path'] = '/home/alice/lab/' + f['path']\n"
    text = running_lab.on("login", "python", "-c", read + "print(yaml.safe_dump(d))")
    for machine in ("login", "client"):
        texts = {"dataset.yaml": text, **{name: (HERE / name).read_text() for name in ("slow.py", "program.py")}}
        for name, content in texts.items():
            write = 'mkdir -p /home/alice/lab && cat > "/home/alice/lab/$1"'
            running_lab.on(machine, "sh", "-c", write, "sh", name, stdin=content)
    return text


@pytest.fixture(scope="session")
def reference(running_lab: Lab, data: str) -> str:
    """The result's sha256 of an undisturbed run on one machine, in the same image."""
    facts = run(running_lab, "login", "run", "here", ANALYSIS, "/home/alice/store-here", sleep_s=0)
    assert (facts["status"], facts["computed"]) == ("complete", FILES)
    return facts["sha"]
