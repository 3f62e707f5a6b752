"""Compiled kernels are kept where they are looked for, served to whoever comes later, and never stale."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import vrecompute
from vrecompute.cli import main
from vrecompute.errors import UsageError
from vrecompute.warm import warm

# Says where its machine code came from: the folder, and how many of its kernels were compiled here.
READ = """
import json, sys
from vrecompute import reader
from vrecompute.kernels import cache
from vrecompute.reader import kernels, lists
columns = reader.read(sys.argv[1], None, ["nMuon", "Muon_pt", "weight"], 0, 1000)
stats = [k.stats for k in (kernels.decode_baskets, kernels.survey, lists.accumulate)]
missed = sum(sum(s.cache_misses.values()) for s in stats)
print(json.dumps([str(cache.cache_folder()), missed, float(columns["Muon_pt"].values.sum())]))
"""
# The same with one kernel alone: any other is kept in the same way.
ONE = """
import json
import numpy as np
from vrecompute.kernels import cache
from vrecompute.reader import lists
lists.accumulate(np.ones(3, dtype="i4"), np.zeros(4, dtype=np.int64))
print(json.dumps([str(cache.cache_folder()), sum(lists.accumulate.stats.cache_misses.values())]))
"""


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> Path:
    from tests.events import write_events

    folder = tmp_path_factory.mktemp("events")
    folder.chmod(0o755)
    return write_events(folder / "a.root")


@pytest.fixture(scope="module")
def warmed(tmp_path_factory) -> Path:
    """A folder that `vrecompute warm-cache` filled with the reader's kernels."""
    folder = tmp_path_factory.mktemp("image") / "cache"
    run = [sys.executable, "-m", "vrecompute", "warm-cache", "--directory", str(folder), "--json", "dwarfs"]
    done = subprocess.run(run, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert [w["what"] for w in facts["warmed"]] == ["reader", "dwarfs"]
    assert [w["trouble"] for w in facts["warmed"]] == ["", ""]
    assert Path(facts["folder"]).parent == folder
    return folder


def environment(**changes) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **changes}


def read(events, *, program=READ, under=(), **changes):
    command = [*under, sys.executable, "-c", program, str(events)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(**changes), check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_process_after_warm_cache_compiles_nothing(warmed, events):
    folder, missed, _ = read(events, VRECOMPUTE_CACHE=str(warmed))
    assert Path(folder).parent == warmed
    assert missed == 0


def test_a_cache_that_cannot_be_written_is_copied_once_and_serves(warmed, events, tmp_path):
    """As in an image: neither the folder nor anything in it may change."""
    under: list[str] = []
    if os.getuid() == 0:  # who may otherwise write anywhere
        if shutil.which("setpriv") is None:
            pytest.skip("running as root, this needs setpriv (util-linux)")
        under = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    image, node = tmp_path / "image", tmp_path / "node"
    shutil.copytree(warmed, image)
    for path in [image, *image.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    node.mkdir()
    changes = {"VRECOMPUTE_CACHE": str(image), "TMPDIR": str(node)}
    found = [read(events, under=under, **changes) for _ in range(2)]
    folders = {Path(folder) for folder, _, _ in found}
    assert len(folders) == 1
    assert folders.pop().is_relative_to(node)
    assert [missed for _, missed, _ in found] == [0, 0]
    for path in [image, *image.rglob("*")]:
        path.chmod(0o755)


@pytest.mark.acceptance
def test_machine_code_for_another_processor_is_not_served(warmed, events):
    """Another name is another folder; the same name with other features, as virtual machines have it, is a miss."""
    folder, _, total = read(events, VRECOMPUTE_CACHE=str(warmed))
    changes = {"VRECOMPUTE_CACHE": str(warmed), "NUMBA_CPU_FEATURES": ""}
    masked, missed, same = read(events, **changes)
    assert (masked, missed, same) == (folder, 3, total)
    other, missed, same = read(events, NUMBA_CPU_NAME="x86-64", **changes)
    assert other != folder
    assert (missed, same) == (3, total)


def test_a_temporary_folder_that_somebody_else_may_write_is_not_used(tmp_path):
    """What is kept are pickles: whoever writes them runs code."""
    (tmp_path / "file").write_text("")
    node = tmp_path / "node"
    shared = node / f"vrecompute-{os.getuid()}"
    shared.mkdir(parents=True)
    shared.chmod(0o777)
    folder, missed = read("", program=ONE, VRECOMPUTE_CACHE=str(tmp_path / "file"), TMPDIR=str(node))
    assert missed == 1, "something is kept"
    assert Path(folder).is_relative_to(node)
    assert not Path(folder).is_relative_to(shared)
    assert list(shared.iterdir()) == []


def test_a_damaged_cache_costs_time_and_no_result(warmed, events, tmp_path):
    shutil.copytree(warmed, tmp_path / "cache")
    for path in (tmp_path / "cache").rglob("*.nb?"):
        path.write_bytes(path.read_bytes()[:50])
    _, missed, total = read(events, VRECOMPUTE_CACHE=str(tmp_path / "cache"))
    assert missed == 3
    assert total == read(events, VRECOMPUTE_CACHE=str(warmed))[2]


def test_an_edited_helper_is_compiled_anew(warmed, tmp_path):
    """In a copy of the package: a kernel's own file is unchanged, another one that it may call is not."""
    shutil.copytree(Path(vrecompute.__file__).parent, tmp_path / "vrecompute")
    helper = tmp_path / "vrecompute" / "kernels" / "loop" / "normal.py"
    helper.write_text(helper.read_text() + "\n# edited\n")
    path = os.pathsep.join([str(tmp_path), *(p for p in sys.path if p)])
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + ONE
    folder, missed = read("", program=program, VRECOMPUTE_CACHE=str(warmed), PYTHONPATH=path)
    assert Path(folder).parent == warmed
    assert missed == 1
    assert read("", program=ONE, VRECOMPUTE_CACHE=str(warmed))[1] == 0, "of the package itself it is there"


def test_an_analysis_that_cannot_be_loaded_is_said_before_anything_is_compiled(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VRECOMPUTE_CACHE", str(tmp_path))
    (tmp_path / "mine.py").write_text("raise ValueError('x')\n")
    for name, says in (("nosuch", "there is no analysis 'nosuch'"), (str(tmp_path / "mine.py"), "ValueError: x")):
        with pytest.raises(SystemExit) as ended:
            main(["warm-cache", "dwarfs", name])
        told = capsys.readouterr()
        assert (ended.value.code != 0, says in told.err, told.out) == (True, True, "")


def test_warming_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VRECOMPUTE_CACHE", "")  # put back afterwards
    with pytest.raises(UsageError, match="cannot be written; name another folder"):
        next(warm(tmp_path / "file", []))


FOLDER = "from vrecompute.kernels import cache; import json; print(json.dumps(str(cache.cache_folder())))"


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o027])
def test_a_cache_is_its_users_alone_whatever_the_umask(tmp_path, umask):
    changes = {"VRECOMPUTE_CACHE": "", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    before = os.umask(umask)
    try:
        folder = Path(read("", program=FOLDER, **changes))
    finally:
        os.umask(before)
    assert folder.is_relative_to(tmp_path / "cache")
    assert [stat.S_IMODE(p.stat().st_mode) for p in (folder, folder.parent)] == [0o700, 0o700]


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("which", ["itself", "above"])
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_cache_that_others_may_write_is_not_loaded(reachable, given, which, mode):
    """What numba keeps are pickles: whoever can put one there, or another folder in its place, runs code."""
    tmp_path = reachable
    changes = {"TMPDIR": str(tmp_path / "node"), "VRECOMPUTE_CACHE": str(tmp_path / "a" / "cache") if given else ""}
    changes["XDG_CACHE_HOME"] = str(tmp_path / "a")
    (tmp_path / "node").mkdir(mode=0o700)
    (tmp_path / "a").mkdir(mode=0o755)
    folder = Path(read("", program=FOLDER, **changes))
    assert folder.is_relative_to(tmp_path / "a")
    (folder / "planted.nbi").write_bytes(b"pickle")
    (folder if which == "itself" else tmp_path / "a").chmod(mode)
    other = Path(read("", program=FOLDER, **changes))
    assert other.is_relative_to(tmp_path / "node")
    assert list(other.iterdir()) == []
    assert stat.S_IMODE(other.stat().st_mode) == 0o700


@pytest.mark.parametrize("umask", [0o000, 0o002])
@pytest.mark.parametrize("what", ["*.nbi", "*.nbc"])
def test_a_file_of_a_cache_that_others_may_write_is_not_loaded(reachable, umask, what):
    """As members of the user's group may where the umask lets them; none of ours is made so."""
    place, node = reachable / "cache", reachable / "node"
    node.mkdir(mode=0o700)
    changes = {"VRECOMPUTE_CACHE": str(place), "TMPDIR": str(node)}
    before = os.umask(umask)
    try:
        folder, missed = read("", program=ONE, **changes)
    finally:
        os.umask(before)
    assert (Path(folder).parent, missed) == (place, 1)
    assert read("", program=ONE, **changes) == [folder, 0]
    assert not [path for path in place.rglob("*") if path.stat().st_mode & 0o022]
    files = list(Path(folder).rglob(what))
    for path in files:
        path.chmod(0o664)
    assert files
    assert read("", program=ONE, **changes) == [folder, 1]
    assert read("", program=ONE, **changes) == [folder, 0], "it was compiled anew, and is kept"


def test_an_event_loop_is_the_text_that_was_generated(tmp_path, monkeypatch):
    """Whatever lies in the cache under its name, or beside it as what Python compiled."""
    from vrecompute.kernels.loop import sourcefile
    from vrecompute.kernels.loop.generate import Source

    text = "def loop():\n    return 'generated'\n"
    name = "vrecompute_loop_" + hashlib.sha256(text.encode()).hexdigest()[:24]
    monkeypatch.setattr(sourcefile, "cache_folder", lambda: tmp_path)
    (tmp_path / f"{name}.py").write_text(text.replace("generated", "planted"))
    source = object.__new__(Source)
    object.__setattr__(source, "text", text)
    assert sourcefile.load_source(source)() == "generated"
    del sys.modules[name]
