"""In a store that is shared by a group, no member has code run as another, whatever they edit, swap, link or rename."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from tests.events import SUM_ANALYSIS, write_events
from tests.test_trust import TELLTALE, invoke
from vrecompute.digest import sha256_of
from vrecompute.errors import DamagedObject, UntrustedRun
from vrecompute.execution.manifest import find_manifest, read_manifest
from vrecompute.execution.trust import require_trust, sha256_kept
from vrecompute.sites.access import LocalAccess
from vrecompute.stores.directory import DirStore
from vrecompute.stores.objects import sealed
from vrecompute.stores.ownership import Owner
from vrecompute.stores.remote import AccessStore

IS_ROOT = hasattr(os, "getuid") and os.getuid() == 0
MEMBER = 65534 if IS_ROOT else -1  # -1: this user stands for the member, where the tests cannot be another
# What comes first in a script of the member: its imports, as Python may lie where only this user can enter.
AS_MEMBER = """
import os, sys
from vrecompute.stores import directory
if {member} > 0:
    os.setgroups([]); os.setgid({member}); os.setuid({member})
"""
# What a member of the group tries with a store, a run and a document that takes the place of the manifest.
EDIT = """
path, text = sys.argv[1:]
with open(path, "r+") as file:
    file.truncate(0)
    file.write(text)
"""
PLACE = """
path, text = sys.argv[1:]
os.rename(path, path + ".kept")
with open(path, "w") as file:
    file.write(text)
os.chmod(path, 0o640 if {other} else 0o660)
"""


@pytest.fixture
def reachable() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vrecompute-shared-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def run(client, reachable, tmp_path, monkeypatch):
    """A run of this user in a store that a group shares; it has no outcome, so that attaching resumes it."""
    store = reachable / "store"
    store.mkdir()
    os.chown(store, -1, MEMBER)
    store.chmod(0o2770)
    monkeypatch.setattr(client, "_store_given", store)
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    ended = client.run(str(tmp_path / "sums.py"), str(write_events(tmp_path / "good.root", 100, clusters=2))).wait(60)
    assert ended.status == "complete", ended.report().failures
    for name in list(ended.store.names(f"runs/{ended.id}/outcomes")):
        ended.store.delete(name)
    monkeypatch.setenv("TELLTALE", str(tmp_path / "telltale"))
    return ended


def manifest_of(run) -> Path:
    return run.store.root / run.manifest.object_name


def evil(run) -> str:
    """The manifest with other code, which says where it was imported; as any member of the group could make it."""
    data = (SUM_ANALYSIS + TELLTALE).encode()
    code = run.store.root / "blobs" / f"{sha256_of(data)}.py"
    code.write_bytes(data)
    body = json.loads(manifest_of(run).read_bytes())
    (old,) = body["source_files"].values()
    text = json.dumps(body).replace(old, f"blobs/{code.name}").replace(body["origin"]["sha256"], sha256_of(data))
    raw = {key: value for key, value in json.loads(text).items() if key not in {"format", "version", "of", "sha256"}}
    document = sealed(run.manifest.object_name, "manifest", raw)
    assert read_manifest_of(document, run).source_files != run.manifest.source_files
    return document.decode()


def read_manifest_of(document: bytes, run):
    with tempfile.TemporaryDirectory() as folder:
        store = DirStore(folder)
        store.create(run.manifest.object_name, document)
        return read_manifest(store, run.id)


def as_member(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    told = [sys.executable, "-c", AS_MEMBER.format(member=MEMBER) + script, *map(str, arguments)]
    return subprocess.run(told, capture_output=True, text=True, check=False)


def attach(run) -> int:
    return invoke("runs", "attach", run.id, "--store", run.store.url, "--workers", "1")


def test_the_manifest_of_a_run_of_mine_is_edited_by_nobody(run, tmp_path):
    done = as_member(EDIT, manifest_of(run), evil(run))
    if IS_ROOT:
        assert "PermissionError" in done.stderr
        assert attach(run) == 0
    assert oct(manifest_of(run).stat().st_mode & 0o777) == "0o640"
    assert not (tmp_path / "telltale").exists()


def test_a_manifest_that_the_group_could_edit_is_not_mine(run, tmp_path, capsys):
    """As those of stores are that were shared before."""
    manifest_of(run).chmod(0o660)
    done = as_member(EDIT, manifest_of(run), evil(run))
    assert done.returncode == 0, done.stderr
    assert manifest_of(run).stat().st_uid == os.getuid()
    assert attach(run) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "is yours, and its permissions let others write it" in said
    assert "--trust" in said
    assert not (tmp_path / "telltale").exists()


def test_a_manifest_that_is_swapped_once_it_was_read_is_the_one_that_was_read(run, client, tmp_path):
    done = as_member(PLACE.format(other=IS_ROOT), manifest_of(run), evil(run))
    assert done.returncode == 0, done.stderr
    attached = client.attach(run.id)
    back = as_member("os.rename(sys.argv[1] + '.kept', sys.argv[1])", manifest_of(run))
    assert back.returncode == 0, back.stderr
    with pytest.raises(UntrustedRun):
        attached.analysis()
    assert not (tmp_path / "telltale").exists()
    assert client.attach(run.id).analysis().name == run.manifest.analysis, "what is there now is this user's"


def test_a_job_is_told_the_manifest_that_was_trusted(run, client, tmp_path):
    """And it runs what it was told, by one look; without that, nothing of another user."""
    attached = client.attach(run.id)
    good = sha256_of(manifest_of(run).read_bytes())
    assert sha256_kept(run.store, attached.manifest) == good
    assert as_member(PLACE.format(other=IS_ROOT), manifest_of(run), evil(run)).returncode == 0
    with pytest.raises(DamagedObject, match="replaced meanwhile; nothing was submitted"):
        sha256_kept(run.store, attached.manifest)
    assert invoke("work", run.id, "--store", run.store.url, "--workers", "1") == 2
    assert invoke("work", run.id, "--store", run.store.url, "--workers", "1", "--manifest-sha256", good) != 0
    assert not (tmp_path / "telltale").exists()


def test_whoever_knows_the_sha256_trusts_that_manifest_alone(run, client, tmp_path):
    good = sha256_of(manifest_of(run).read_bytes())
    manifest_of(run).chmod(0o660)
    assert client.attach(run.id, manifest_sha256=good).analysis().name == run.manifest.analysis
    assert as_member(PLACE.format(other=IS_ROOT), manifest_of(run), evil(run)).returncode == 0
    with pytest.raises(UntrustedRun):
        client.attach(run.id, manifest_sha256=good).analysis()
    assert not (tmp_path / "telltale").exists()


@pytest.mark.parametrize("kind", ["here", "elsewhere"])
@pytest.mark.parametrize("what", ["file", "linked file", "linked folder", "linked folders", "renamed object"])
def test_what_lies_elsewhere_or_is_another_object_of_mine_is_not_a_manifest_of_mine(run, tmp_path, what, kind):
    """A file of this user may hold what another wrote: what was downloaded or cloned, or is a resource of a run."""
    path, data = manifest_of(run), evil(run).encode()
    mine = tmp_path / "downloaded" / run.id / "manifest.json"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(data)
    mine.chmod(0o644)
    kept = path.with_name("kept")
    if what == "linked file":
        path.rename(kept)
        path.symlink_to(mine)
    elif what == "linked folder":
        path.parent.rename(path.parent.with_name("kept"))
        path.parent.symlink_to(mine.parent)
    elif what == "linked folders":
        path.parent.parent.rename(run.store.root / "kept")
        path.parent.parent.symlink_to(mine.parent.parent)
    elif what == "renamed object":
        run.store.create("blobs/resource", data)
        path.rename(kept)
        done = as_member("os.rename(*sys.argv[1:])", run.store.root / "blobs/resource", path)
        assert done.returncode == 0, done.stderr
        assert path.stat().st_uid == os.getuid()
    store = run.store if kind == "here" else AccessStore(LocalAccess(), str(run.store.root))
    found = find_manifest(store, run.id)
    if what == "file":
        require_trust(store, found, ())
        assert found.manifest == run.manifest
        return
    assert found.manifest.source_files != run.manifest.source_files
    with pytest.raises(UntrustedRun):
        require_trust(store, found, [found.owner.name])


@pytest.mark.parametrize("kind", ["here", "elsewhere"])
def test_mine_is_what_is_mine_and_nobody_else_can_write(tmp_path, kind):
    """Over all modes and owners."""
    here = DirStore(tmp_path / "a store")
    here.create("a/b", b"bytes")
    store = here if kind == "here" else AccessStore(LocalAccess(), str(here.root))
    path = here.root / "a" / "b"
    users = {os.getuid(): True} | ({65534: False, 12345: False} if IS_ROOT else {})
    modes = range(0o1000) if kind == "here" else [0o600, *(0o600 | bits for bits in range(0o100))]
    for (uid, is_me), mode in product(users.items(), modes):
        if not (IS_ROOT or mode & 0o400):
            continue
        os.chown(path, uid, -1)
        path.chmod(mode)
        data, owner = store.get_owned("a/b")
        assert data == b"bytes"
        others = bool(mode & 0o022)
        assert (owner.is_me, owner.others_write) == (is_me, others), (uid, oct(mode))
        assert owner.vouches() is (is_me and not others), (uid, oct(mode))
        assert owner.vouches([owner.name]) is (not others)
        assert owner.vouches(["somebody else"]) is owner.vouches()
    assert not Owner().vouches([""]), "who is not known is nobody's friend"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755, 0o2750, 0o770, 0o2770, 0o2775, 0o777, 0o1777, 0o2730, 0o722])
def test_only_manifests_are_vouched_for_where_others_can_rename(tmp_path, mode, umask):
    """What others can rename to the place of a manifest is no manifest of mine, if it was not one."""
    root = tmp_path / "store"
    root.mkdir()
    root.chmod(mode)
    store, manifest = DirStore(root), "runs/r/manifest.json"
    names = ("blobs/1.py", "runs/r/plan.json", "runs/r/head.json", "runs/r/deeper/manifest.json", "manifest.json")
    (tmp_path / "file").write_bytes(b"2")
    before = os.umask(umask)
    try:
        for name in (manifest, *names):
            store.create(name, b"1")
        store.replace("runs/r/head.json", b"2")
        store.put_file("work/w/table", tmp_path / "file")
    finally:
        os.umask(before)
    assert store.get_owned(manifest)[1].vouches()
    for name in (*names, "work/w/table"):
        assert store.get_owned(name)[1].vouches() is not bool(mode & 0o022), name
        assert (root / name).stat().st_mode & 0o777 == mode & 0o666, "all else has the permissions of the store"


@pytest.mark.skipif(not IS_ROOT, reason="only root can be another user for a moment")
def test_a_member_still_does_what_members_do(run):
    """Uses again, so that it is not collected; sets aside; adds."""
    name = next(iter(run.store.names("work")))
    os.utime(run.store.root / name, (0, 0))
    member = """
store = directory.DirStore(sys.argv[1])
name, manifest = sys.argv[2:]
store.refresh(name)
assert store.create("blobs/mine", b"1") and store.get(manifest)
store.set_aside("blobs/mine")
store.set_aside(manifest)
"""
    done = as_member(member, run.store.root, name, run.manifest.object_name)
    assert done.returncode == 0, done.stderr
    assert not run.store.retire(name, 1e9)
    assert not run.store.exists(run.manifest.object_name)
