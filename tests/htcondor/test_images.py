"""Jobs that HTCondor puts into a container image: the same bytes, and what becomes of an image that cannot be used."""

from __future__ import annotations

import json

import pytest

from tests.patience import comes_true
from tests.slurm.runs import ANALYSIS, FILES, run, started

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


def test_a_probe_says_what_is_wrong_with_an_image(pool, imaged):
    def wrong(site: str) -> dict[str, str]:
        command = ["python", "-m", "vrecompute", "site", "check", "--probe", "--json", site]
        (checkup,) = json.loads(pool.on("submit", *command, check=False))
        return {f["check"]: f"{f['detail']} | {f['advice']}" for f in checkup["probe"] if not f["ok"]}

    assert wrong(imaged()) == {}
    (said,) = wrong(imaged("/images/absent")).values()
    assert "/images/absent" in said
    assert "mend `environment.image`" in said
