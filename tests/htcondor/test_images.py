"""Jobs that HTCondor puts into a container image: the same bytes, and what becomes of an image that cannot be used."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.patience import comes_true
from tests.slurm.runs import ANALYSIS, FILES, run, started
from vrecompute.batch.contract import Job, State
from vrecompute.sites.model import Environment
from vrecompute.testing import BackendContract

pytestmark = [pytest.mark.htcondor, pytest.mark.timeout(900)]

SITE = """schema: 1
name: imaged
backend: htcondor
extends: lab-htcondor
environment:
  venv: null
  image: %s
  variables: {PATH: "/opt/vrecompute/bin:/opt/venv/bin:$PATH"}
options: {image_attribute: %s}
"""
SPOOL = "~/.local/state/vrecompute/htcondor"


@pytest.fixture
def imaged(pool, absent):
    """A function that gives the path of a site whose jobs are in an image."""
    if not pool.on("e1", "sh", "-c", "command -v apptainer", check=False):
        absent("apptainer", "the HTCondor lab has no apptainer: Debian gave none when its image was built")

    def site(image: str = "/images/worker", attribute: str = "container_image") -> str:
        pool.on("submit", "sh", "-c", "cat > imaged.yaml; rm -rf store-imaged", stdin=SITE % (image, attribute))
        return "/home/alice/imaged.yaml"

    return site


@pytest.mark.parametrize(
    ("how", "attribute", "workers"), [("run", "container_image", 2), ("submit", "SingularityImage", 0)]
)
def test_a_run_in_an_image_gives_the_same_bytes(pool, imaged, reference, how, attribute, workers):
    site = imaged(attribute=attribute)
    facts = run(pool, "submit", how, site, ANALYSIS, "/home/alice/store-imaged", sleep_s=0, workers=workers)
    assert (facts["status"], facts["sha"], facts["computed"]) == ("complete", reference, FILES)
    for machine in ("e1", "e2"):
        assert pool.on(machine, "sh", "-c", "ls -A /var/lib/condor/execute; ls -d /tmp/vre-* 2> /dev/null; true") == ""


@pytest.mark.parametrize(("how", "attribute"), [("run", "SingularityImage"), ("submit", "container_image")])
def test_a_run_whose_image_cannot_be_used_ends_with_the_reason(pool, imaged, data, how, attribute):
    site = imaged("/images/absent", attribute)
    process, _ = started(pool, "submit", how, site, ANALYSIS, "/home/alice/store-imaged", sleep_s=0, workers=1)
    told = process.communicate(timeout=300)[0]
    assert "its container image could not be used; mend `environment.image`" in told, told
    assert "could not open image /images/absent" in told
    assert comes_true(lambda: pool.queue() == [], 30), "what was put back removes itself"


#: A SIF file with a shell, a few commands, and a word by which it is known.
BUILD = r"""
rm -rf tiny && mkdir -p tiny/usr/bin tiny/usr/lib64 tiny/etc tiny/tmp tiny/opt/vrecompute tiny/srv
cd tiny && ln -s usr/bin bin && ln -s usr/lib lib && ln -s usr/lib64 lib64
for name in bash sh sed date mkdir mktemp rm mv cat ls uname env ln cp chmod id test find stat grep sleep; do
  cp -L /usr/bin/$name usr/bin/
done
for file in usr/bin/*; do ldd "$file"; done 2> /dev/null | grep -o '/[^ ]*' | sort -u | while read -r library; do
  folder=.$(readlink -f "${library%/*}") && mkdir -p "$folder" && cp -L "$library" "$folder/"
done
echo 'inside of it' > etc/which-image
cd .. && apptainer -q build --mksquashfs-args "-noI -noD -noF" --force tiny.sif tiny && base64 tiny.sif
"""


@pytest.fixture(scope="module")
def sif(running_pool):
    """A SIF file in the user's home on the access point, and below /srv of each machine that runs jobs."""
    packed = running_pool.on("submit", "sh", "-c", BUILD)
    for machine in ("e1", "e2"):
        keep = "mkdir -p /srv/images && base64 -d > /srv/images/tiny.sif && chmod -R a+rX /srv/images"
        running_pool.on(machine, "sh", "-c", keep, stdin=packed)


@pytest.mark.parametrize(
    ("image", "options"),
    [
        ("/home/alice/tiny.sif", {}),
        ("$HOME/tiny.sif", {}),
        ("/srv/images/tiny.sif", {"transfer_image": False}),
        ("/home/alice/tiny.sif", {"image_attribute": "SingularityImage", "transfer_image": True}),
        ("/srv/images/tiny.sif", {"image_attribute": "SingularityImage"}),
    ],
)
def test_a_sif_file_is_brought_or_found_where_it_is(pool, imaged, sif, image, options):
    site = replace(pool.site, environment=Environment(image=image))
    backend = replace(pool, site=site).backend(**options)
    job_id = backend.submit(Job("inside", ("cat", "/etc/which-image"), memory_bytes=100 << 20, image=image))
    until = BackendContract().until
    status = until(backend, [job_id], lambda s: s.state.terminal, 150)[job_id]
    assert (status.state, backend.logs(job_id).strip()) == (State.COMPLETED, "inside of it"), status


def test_a_probe_says_what_is_wrong_with_an_image(pool, imaged):
    def wrong(site: str) -> dict[str, str]:
        command = ["python", "-m", "vrecompute", "site", "check", "--probe", "--json", site]
        (checkup,) = json.loads(pool.on("submit", *command, check=False))
        return {f["check"]: f"{f['detail']} | {f['advice']}" for f in checkup["probe"] if not f["ok"]}

    assert wrong(imaged()) == {}
    (said,) = wrong(imaged("/images/absent")).values()
    assert "/images/absent" in said
    assert "mend `environment.image`" in said
