"""A folder and a pattern name the same files on this machine and over an Access, links followed."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.datasets.find_files import Afar, Entry, Here, There, find_files
from vrecompute.errors import DatasetError
from vrecompute.sites.access import LocalAccess

DISKS = [Here(), There(LocalAccess())]


def found(disk, folder: Path, address: str) -> list[str] | str:
    """Files relative to `folder`, or the message of the error."""
    try:
        [(files, description)] = find_files(disk, [f"{folder}/{address}" if address else str(folder)])
    except DatasetError as error:
        return str(error)
    return [os.path.relpath(path, folder) if ".." not in path else path for path in files] or [description]


@pytest.fixture
def tree(tmp_path):
    """The folder `ds` with files, folders and links, to files, to a folder beside it, to itself and to nothing."""
    for name in ("pool/a.root", "pool/b.root", "ds/c.root", "ds/sub/e.root", "ds/sub/deep/f.root", "ds/.hid/g.root"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("ds/.h.root", "ds/notes.txt", "ds/a b [1].root", "ds/é.root", "ds/-x.root", "ds/line\nbreak.root"):
        (tmp_path / name).touch()
    (tmp_path / "ds/a.root").symlink_to(tmp_path / "pool/a.root")
    (tmp_path / "ds/linked").symlink_to(tmp_path / "pool")
    (tmp_path / "ds/sub/loop").symlink_to("..")
    (tmp_path / "ds/gone.root").symlink_to("nowhere")
    (tmp_path / "ds/self.root").symlink_to("self.root")
    return tmp_path / "ds"


TOP = ["-x.root", "a b [1].root", "a.root", "c.root", "gone.root", "line\nbreak.root", "self.root"]
LINKED, SUB = ["linked/a.root", "linked/b.root"], ["sub/deep/f.root", "sub/e.root"]
EVERYTHING = sorted([*TOP, *LINKED, *SUB, "é.root"])


@pytest.mark.parametrize("disk", DISKS, ids=["here", "there"])
@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", EVERYTHING),
        ("**/*.root", EVERYTHING),
        ("**", sorted([*EVERYTHING, "notes.txt"])),
        ("*.root", [*TOP, "é.root"]),
        ("s*", ["self.root", "sub"]),
        ("*/*.root", [*LINKED, "sub/e.root"]),
        ("sub", ["sub/deep/f.root", "sub/e.root", *(f"sub/loop/{name}" for name in [*TOP, *LINKED, "é.root"])]),
        ("s*/deep/f.root", ["sub/deep/f.root"]),
        ("**/deep/*", ["sub/deep/f.root"]),
        (".hid/*.root", [".hid/g.root"]),
        (".*.root", [".h.root"]),
        ("[!a-b-]*.root", ["c.root", "gone.root", "line\nbreak.root", "self.root", "é.root"]),
        ("a b [1].root", ["a b [1].root"]),
        ("none.root", ["none.root"]),
    ],
)
def test_what_folders_and_patterns_name(tree, disk, address, expected):
    if address == "sub":  # the way back up leads into `sub` again, which has been entered
        expected = sorted(expected)
    assert found(disk, tree, address) == expected


@pytest.mark.parametrize("disk", DISKS, ids=["here", "there"])
@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("none*.root", "no file matches"),
        ("none/*.root", "no file matches"),
        ("notes.txt/*.root", "no file matches"),
        ("**/none/*", "no file matches"),
        ("empty", r"holds no \.root file"),
        (
            "above",
            "above/described/dataset.yaml describes the files beside it; name that file, or the pattern '.*root'",
        ),
    ],
)
def test_what_names_no_file_says_so(tree, disk, address, message):
    (tree.parent / "empty").mkdir()
    described = tree.parent / "above/described"
    described.mkdir(parents=True)
    (described / "x.root").touch()
    (described / "dataset.yaml").touch()
    with pytest.raises(DatasetError, match=message):
        list(find_files(disk, [str((tree if "*" in address else tree.parent) / address)]))
    assert found(disk, tree.parent, "above/**/*.root") == ["above/described/x.root"]
    assert found(disk, tree.parent, "above/described") == [str(described / "dataset.yaml")]


@pytest.mark.parametrize("disk", DISKS, ids=["here", "there"])
def test_many_addresses_are_one_question(tree, disk, monkeypatch):
    asked = []
    run = LocalAccess.run
    monkeypatch.setattr(LocalAccess, "run", lambda self, command, **more: asked.append(1) or run(self, command, **more))
    names = [f"{tree}/{number}.root" for number in range(5000)]
    assert [files for files, _ in find_files(disk, names)] == [[name] for name in names]
    assert len(asked) <= 1


@pytest.mark.parametrize("disk", DISKS, ids=["here", "there"])
def test_a_folder_that_cannot_be_listed_is_an_error(tree, disk):
    """As it is for lack of permission, which root does not know; here it has gone since it was seen."""
    with pytest.raises(DatasetError, match=r"gone.* cannot be listed|cannot be listed: .*gone"):
        disk.entries([Entry(str(tree / "gone"), "1:1")])


NAMES = st.sampled_from(["a", "b", "a.root", "b.root", ".c.root"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
STEPS = st.sampled_from(["*", "**", "*.root", "a", "b", "?", "[ab]*", "a*", "..", "."])


@given(files=st.lists(PATHS, max_size=6), links=st.lists(st.tuples(PATHS, PATHS), max_size=2), data=st.data())
def test_patterns_are_those_of_glob_and_the_same_there(tmp_path_factory, files, links, data):
    """Against Python's glob, which follows links too, on trees without loops; there and here always agree."""
    folder = tmp_path_factory.mktemp("t") / "a/a/a"  # no pattern climbs to what other tests write meanwhile
    folder.mkdir(parents=True)
    for name in files:
        if not any(part.is_file() for part in [folder / name, *(folder / name).parents]):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if not (folder / name).exists():
                (folder / name).touch()
    for name, target in links:
        if (folder / name).parent.is_dir() and not os.path.lexists(folder / name):
            (folder / name).symlink_to(folder / target)
    spots = [path for name, _ in links if (path := folder / name).is_symlink()]
    # glob takes minutes for what two loops hold, so that it is not asked where there may be one
    looped = any(spot.is_dir() and any(s.is_relative_to(spot.resolve()) for s in spots) for spot in spots)
    for _ in range(3):
        pattern = "/".join(data.draw(st.lists(STEPS, min_size=1, max_size=3)))
        if not set(pattern) & set("*?["):
            continue
        here, there = (found(disk, folder, pattern) for disk in DISKS)
        assert (here if isinstance(here, list) else "error") == (there if isinstance(there, list) else "error")
        if isinstance(here, list) and not looped and ".." not in pattern and not pattern.endswith("."):
            wanted = glob.glob(f"{folder}/{pattern}", recursive=True)
            if pattern.endswith("**"):
                wanted = [path for path in wanted if not os.path.isdir(path)]
            assert here == sorted({os.path.relpath(path, folder) for path in wanted})


@pytest.mark.parametrize("disk", DISKS, ids=["here", "there"])
def test_steps_up_are_taken_unless_they_lead_behind_a_link(tmp_path, disk):
    for folder in ("cli", "sample", "far/sample", "far/deep"):
        (tmp_path / folder).mkdir(parents=True)
    for folder in ("sample", "far/sample"):
        (tmp_path / folder / "a.root").touch()
    (tmp_path / "link").symlink_to(tmp_path / "far/deep")
    (tmp_path / "data").symlink_to(tmp_path / "sample")
    addresses = {
        "cli/../sample": ["sample/a.root"],
        "cli/../sample/*.root": ["sample/a.root"],
        "cli/../sample/a.root": ["sample/a.root"],
        "cli/../data": ["data/a.root"],
        "link/../sample": ["link/../sample/a.root"],
    }
    for address, names in addresses.items():
        [(files, _)] = find_files(disk, [f"{tmp_path}/{address}"])
        assert files == [f"{tmp_path}/{name}" for name in names], address


def test_a_path_whose_address_would_say_another_is_said():
    """An address of S3 quotes nothing, so that its options would begin in the middle of the path."""
    with pytest.raises(DatasetError, match=r"^s3://bucket/a\?b/e\.root cannot be addressed, .*rename it there"):
        Afar("s3://bucket/a/?endpoint=http://localhost").address("/a?b/e.root")
    assert Afar("https://localhost/a/").address("/a?b/e.root") == "https://localhost/a%3Fb/e.root"
