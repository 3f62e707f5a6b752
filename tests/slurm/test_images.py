"""Runs whose Python is in a container image: the same bytes as without one, and a probe that says what is missing.

Two images for apptainer: a folder, as CVMFS has them, and a SIF file, which nodes without squashfuse unpack for each
job. Temporary files are in a folder that apptainer shows no image unless it is told to.
"""

from __future__ import annotations

import json

import pytest

from tests.patience import comes_true
from tests.slurm.runs import ANALYSIS, FILES, run, started, wait_for_parts
from vrecompute.batch.temporary import OWN_FOLDER

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

#: What each image lacks is bound into it. The file has a vrecompute, and of all else only where it goes.
IMAGES = {
    "folder": ("/images/worker", "[apptainer, exec, --bind, /opt/vrecompute]"),
    "file": ("/home/alice/images/vre.sif", "[apptainer, exec, --bind, '/usr,/opt/venv']"),
    "absent": ("/home/alice/images/absent.sif", "[apptainer, exec]"),
    "no python": ("/home/alice/images/vre.sif", "[apptainer, exec, --bind, /usr]"),
    "no vrecompute": ("/images/worker", "[apptainer, exec]"),
    "another vrecompute": ("/home/alice/images/other", "[apptainer, exec, --bind, '/usr,/opt/venv']"),
    "no runtime": ("/images/worker", "[apptainer-of-no-site, exec]"),
}
MAKE = r"""
rm -rf images && mkdir -p images/other && cd images/other || exit 1
mkdir -p dev etc home opt/venv proc scratch sys tmp usr var/tmp && touch etc/passwd etc/group etc/hosts etc/localtime
mkdir -p .singularity.d/env
echo 'export PATH=/opt/venv/bin:/usr/bin:/bin' > .singularity.d/env/10-docker2singularity.sh
for link in bin lib lib64 sbin; do ln -s "usr/$link" "$link"; done
cp -r /opt/vrecompute opt/ && apptainer -s build ../vre.sif . || exit 1
sed -i 's/^Version: .*/Version: 0.0.0/' opt/vrecompute/vrecompute-*.dist-info/METADATA
"""
SITE = """schema: 1
name: imaged
backend: slurm
extends: lab-slurm
options: {launcher: direct}
workers: {nodes: {min: 1}}
environment:
  venv: null
  image: %s
  image_command: %s
  variables: {PATH: null, TMPDIR: /scratch}
"""


@pytest.fixture
def imaged(lab, data, absent):
    """A function that gives the path of a site whose Python is in the image of a name."""
    if not lab.on("c1", "sh", "-c", "command -v apptainer", check=False):
        absent("apptainer", "the Slurm lab has no apptainer: Debian gave none when its image was built")
    lab.on("login", "sh", "-c", MAKE)
    for machine in ("root@login", "c1", "c2"):
        lab.on(machine, "install", "-d", "-m", "1777", "/scratch")

    def site(name: str) -> str:
        lab.on("login", "sh", "-c", "cat > imaged.yaml", stdin=SITE % IMAGES[name])
        return "/home/alice/imaged.yaml"

    yield site
    for machine in ("root@login", "c1", "c2"):
        assert comes_true(lambda at=machine: left(lab, at) == [], 60), f"{machine}: {left(lab, machine)}"


def left(lab, machine):
    """What is in the temporary folder of a machine besides compiled kernels, once the next job there has begun."""
    sweep = "\n".join(OWN_FOLDER) + '\nrm -rf -- "$own"\n'  # what a job begins with
    look = ["runuser", "-u", "alice", "--", "env", "TMPDIR=/scratch", "bash", "-c", sweep + "ls -A /scratch"]
    return [name for name in lab.on(machine, *look).splitlines() if name != "vrecompute-2000"]


@pytest.mark.parametrize(("how", "image"), [("run", "folder"), ("submit", "file")])
def test_a_run_in_an_image_gives_the_same_bytes(lab, imaged, reference, how, image):
    site, store = imaged(image), f"/home/alice/store-imaged-{how}"
    lab.on("login", "rm", "-rf", store)
    facts = run(lab, "login", how, site, ANALYSIS, store, sleep_s=0, workers=2)
    assert (facts["status"], facts["sha"], facts["computed"]) == ("complete", reference, FILES)


def test_a_cancelled_run_leaves_nothing_of_its_image(lab, imaged):
    store = "/home/alice/store-imaged-cancelled"
    process, said = started(lab, "login", "submit", imaged("file"), ANALYSIS, store, sleep_s=3, workers=2)
    wait_for_parts(lab, "store-imaged-cancelled", 1)
    look = "ps -o args= -u alice; true"
    assert any("Apptainer" in lab.on(machine, "sh", "-c", look) for machine in ("c1", "c2")), "it is in the image"
    cancel = ["runs", "cancel", said["run"], "--site", "/home/alice/imaged.yaml", "--store", store]
    lab.on("login", "python", "-m", "vrecompute", *cancel)
    assert "CANCELLED" in process.communicate(timeout=300)[0]
    assert comes_true(lambda: not any(lab.on(machine, "sh", "-c", look) for machine in ("c1", "c2")), 60)


def wrong(lab, site: str) -> dict[str, str]:
    """What a probe finds wrong."""
    command = ["python", "-m", "vrecompute", "site", "check", "--probe", "--json", site]
    (checkup,) = json.loads(lab.on("login", *command, check=False))
    return {f["check"]: f"{f['detail']} | {f['advice']}" for f in checkup["probe"] if not f["ok"]}


WHY = {
    "absent": "/home/alice/images/absent.sif",
    "no python": '"python": executable file not found',
    "no vrecompute": "No module named 'vrecompute'",
    "no runtime": "apptainer-of-no-site: command not found",
}


def test_a_probe_says_why_an_image_starts_no_python(lab, imaged):
    for image, why in WHY.items():
        found = wrong(lab, imaged(image))
        assert set(found) == {"python", "queue"}, (image, found)
        for said in found.values():
            assert why in said, image
            assert "environment: {image: ..." in said, image


def test_a_probe_finds_another_version_in_an_image_and_nothing_else(lab, imaged):
    found = wrong(lab, imaged("another vrecompute"))
    assert set(found) == {"versions on this machine", "versions in jobs"}
    assert "0.0.0" in found["versions in jobs"]
