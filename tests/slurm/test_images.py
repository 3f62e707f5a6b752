"""Runs whose Python is in a container image: the same bytes as without one, and a probe that says what is missing.

The lab has no apptainer, which no release of Debian has. `in-image` stands for it: another root folder, in user and
mount namespaces as an unprivileged apptainer makes them, with the paths that a command needs bound into it.
"""

from __future__ import annotations

import json

import pytest

from tests.slurm.runs import ANALYSIS, FILES, run

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

IN_IMAGE = r"""#!/bin/sh
# in-image ROOT COMMAND...: COMMAND with the folder ROOT as its root, and what it needs of this machine bound there
[ -d "$1" ] || { echo "in-image: there is no image $1" >&2; exit 255; }
exec unshare --user --map-root-user --mount sh -c '
  root=$1; shift
  mount -t tmpfs image "$root" || exit 255
  echo "$root" > "$root/image-name"
  for part in bin dev etc home lib lib64 opt proc sbin sys tmp usr var; do
    if [ -L "/$part" ]; then cp -P "/$part" "$root/$part"
    elif [ -d "/$part" ]; then mkdir "$root/$part" && mount --rbind "/$part" "$root/$part" || exit 255; fi
  done
  echo "$root $(hostname)" >> /home/alice/in-image.log
  exec /usr/sbin/chroot "$root" sh -c '\''cd "$0" && exec "$@"'\'' "$PWD" "$@"' in-image "$@"
"""
SITE = """schema: 1
name: imaged
backend: slurm
extends: lab-slurm
options: {launcher: direct}
workers: {nodes: {min: 1}}
environment:
  venv: null
  image: /home/alice/images/IMAGE
  image_command: [/home/alice/in-image]
  variables: {PATH: "/opt/vrecompute/bin:/opt/venv/bin:$PATH"}
"""


@pytest.fixture
def imaged(lab, data):
    """A function that gives the path of a site whose Python is in the image of a name."""
    lab.on("login", "sh", "-c", "cat > in-image && chmod 755 in-image && mkdir -p images/right", stdin=IN_IMAGE)

    def site(image: str) -> str:
        lab.on("login", "sh", "-c", "cat > imaged.yaml; rm -f in-image.log", stdin=SITE.replace("IMAGE", image))
        return "/home/alice/imaged.yaml"

    return site


@pytest.mark.parametrize("how", ["run", "submit"])
def test_a_run_in_an_image_gives_the_same_bytes(lab, imaged, reference, how):
    site, store = imaged("right"), f"/home/alice/store-imaged-{how}"
    lab.on("login", "rm", "-rf", store)
    facts = run(lab, "login", how, site, ANALYSIS, store, sleep_s=0, workers=2)
    assert (facts["status"], facts["sha"], facts["computed"]) == ("complete", reference, FILES)
    assert "/home/alice/images/right c" in lab.on("login", "cat", "in-image.log"), "its jobs were in the image"


def test_a_probe_looks_into_the_image(lab, imaged):
    def wrong(image: str) -> dict[str, str]:
        command = ["python", "-m", "vrecompute", "site", "check", "--probe", "--json", imaged(image)]
        (checkup,) = json.loads(lab.on("login", *command, check=False))
        return {f["check"]: f"{f['detail']} | {f['advice']}" for f in checkup["probe"] if not f["ok"]}

    assert wrong("right") == {}
    assert "/home/alice/images/right c" in lab.on("login", "cat", "in-image.log")
    found = wrong("absent")
    assert set(found) == {"python", "queue"}, found
    for said in found.values():
        assert "there is no image /home/alice/images/absent" in said
        assert "environment: {image: ..." in said
