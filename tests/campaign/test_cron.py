"""A campaign that a real cron daemon drives, with the line that `campaign crontab` prints."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from tests.campaign.campaigns import CampaignFolder
from vrecompute.cli.campaign import campaign
from vrecompute.errors import VrecomputeError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

_PATIENCE_S = 1500.0
# The daemon sees this table alone: what the machine has of its own is hidden in a namespace of mounts.
_HIDDEN = """
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/spool/cron
mount -t tmpfs tmpfs /etc/cron.d
mount --bind /dev/null /etc/crontab
mkdir -m 1730 /var/spool/cron/crontabs
cp "$1" /var/spool/cron/crontabs/root
chmod 600 /var/spool/cron/crontabs/root
exec cron -f
"""


@pytest.fixture
def cron(absent, tmp_path):
    """The function `cron(table)`: a daemon that has this crontab of root, and no other."""
    how = "install Debian's package cron, and run as root with the right to mount"
    if shutil.which("cron") is None:
        absent("cron", f"there is no cron daemon: {how}")
    may_mount = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/run"]
    if os.geteuid() or subprocess.run(may_mount, capture_output=True, check=False).returncode:
        absent("cron", f"a cron daemon of the test's own cannot be started: {how}")
    started = []

    def start(table: str) -> subprocess.Popen[bytes]:
        (tmp_path / "crontab").write_text(table)
        command = ["unshare", "--mount", "sh", "-ec", _HIDDEN, "sh", str(tmp_path / "crontab")]
        started.append(subprocess.Popen(command, start_new_session=True))
        return started[-1]

    yield start
    for daemon in started:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)


def await_that(happened: Callable[[], bool], daemon: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not happened():
        assert daemon.poll() is None, "the daemon ended"
        assert time.monotonic() < deadline
        time.sleep(1.0)


def chunks(folder: CampaignFolder) -> int:
    return int(folder.report()["chunks"]["total"]) if folder.product().exists() else 0


def codes(folder: CampaignFolder) -> list[int]:
    """Exit codes of ticks, latest first."""
    try:
        return [tick["exit_code"] for tick in folder.status()["ticks"]]
    except VrecomputeError:
        return []  # none has begun


def test_cron_drives_a_campaign(cron, tmp_path):
    folder = CampaignFolder(tmp_path / "a campaign at 100%", page="status.html")
    folder.add("a", "b")
    printed = CliRunner().invoke(campaign, ["crontab", str(folder.file), "--every", "1"])
    assert printed.exit_code == 0
    ended = folder.folder / "ended"
    # the line as it is; only the exit status that cron sees is written down too
    (line,) = printed.stdout.splitlines()
    said = f"{line}; echo $? >> '{str(ended).replace('%', chr(92) + '%')}'"
    daemon = cron(f"XDG_STATE_HOME={tmp_path}/state\nVRECOMPUTE_CACHE={os.environ['VRECOMPUTE_CACHE']}\n{said}\n")
    await_that(lambda: chunks(folder) == 2, daemon)
    await_that(lambda: codes(folder)[:1] == [6], daemon)
    folder.add("c")
    await_that(lambda: chunks(folder) == 3, daemon)
    await_that(lambda: codes(folder)[:1] == [6], daemon)
    assert folder.report()["chunks"] == {"total": 3, "computed": 1, "reused": 2, "failed": 0}
    assert set(codes(folder)) <= {0, 6}
    await_that(lambda: len(ended.read_text().split()) >= 3, daemon)
    assert set(ended.read_text().split()) == {"0"}  # a tick that has nothing to do is a success
    assert "nothing to do" in (folder.folder / "status.html").read_text()
