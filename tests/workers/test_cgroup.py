"""Memory groups of the kernel, of both versions, as their files tell."""

from __future__ import annotations

import sys

import pytest

from vrecompute.workers.cgroup import group_of, own_group

MIXED = "4:memory:/box/slurm/job_7/step_0\n3:cpuset:/\n0::/other\n"
UNLIMITED = "9223372036854771712"


def write(folder, **texts):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def mounts(tmp_path, root):
    return (
        f"30 25 0:26 / {tmp_path}/unified rw - cgroup2 cgroup2 rw\n"
        f"31 25 0:27 {root} {tmp_path}/memory rw,relatime - cgroup cgroup rw,memory\n"
        f"32 25 0:28 / {tmp_path}/cpu rw - cgroup cgroup rw,cpu\n"
    )


@pytest.mark.parametrize("root", ["/", "/box"])
def test_version_1_with_the_limit_of_the_tightest_group_around(tmp_path, root):
    """In a container names are told from above the part of the tree that it sees."""
    top = tmp_path / "memory" / ("box" if root == "/" else "")
    control = "oom_kill_disable 0\nunder_oom 0\noom_kill 2"
    write(top / "slurm/job_7/step_0", memory__limit_in_bytes=UNLIMITED, memory__oom_control=control)
    write(top / "slurm/job_7", memory__limit_in_bytes=1000, memory__max_usage_in_bytes=990)
    write(top / "slurm", memory__limit_in_bytes=5000, memory__max_usage_in_bytes=3000)
    (tmp_path / "unified/other").mkdir(parents=True)
    group = group_of(MIXED, mounts(tmp_path, root))
    assert group is not None
    assert (group.version, group.kills()) == (1, 2)
    assert group.peak_and_limit() == (990, 1000)


def test_version_2(tmp_path):
    top = tmp_path / "unified"
    write(top / "a/b", memory__max="max", memory__events="low 0\noom 3\noom_kill 1\noom_group_kill 0")
    write(top / "a", memory__max=4096, memory__peak=4000)
    group = group_of("0::/a/b\n", mounts(tmp_path, "/"))
    assert group is not None
    assert (group.version, group.kills(), group.peak_and_limit()) == (2, 1, (4000, 4096))


def test_without_a_limit_or_a_group_nothing_is_made_up(tmp_path):
    write(tmp_path / "unified/a", memory__max="max")
    group = group_of("0::/a\n", mounts(tmp_path, "/"))
    assert group is not None
    assert (group.kills(), group.peak_and_limit()) == (0, (0, 0))
    assert group_of("0::/gone\n", mounts(tmp_path, "/")) is None
    assert group_of("", "") is None


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
def test_this_process_has_a_group_or_none_and_both_can_be_asked_for():
    group = own_group()
    assert group is None or group.kills() >= 0
