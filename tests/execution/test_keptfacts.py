"""What a store knows of files is a memory: where it is wrong though whole, the file is asked and it is made anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.edits import write_analysis
from tests.events import write_events
from vrecompute import Client
from vrecompute.stores.directory import DirStore
from vrecompute.stores.objects import write_document


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Client(workers=1, threads=1, store=tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.fixture
def site(client, tmp_path, monkeypatch):
    """(store, `run(**options)`) of an analysis that has read its file once."""
    store = tmp_path / "store"
    monkeypatch.setattr(client, "_store_given", store)
    file = str(write_events(tmp_path / "e.root", 300, clusters=3))
    analysis = str(write_analysis(tmp_path / "mine"))

    def run():
        return client.run(analysis, file, reuse=False).wait(120)

    assert run().status == "complete"
    return store, run


def documents(store: Path) -> dict[str, tuple[str, dict]]:
    """By kind, name and content of what is known of the file."""
    found = {}
    for path in (store / "sources").glob("*.json"):
        raw = json.loads(path.read_bytes())
        kind = raw["format"].removeprefix("vrecompute-")
        found[kind] = f"sources/{path.name}", {k: v for k, v in raw.items() if k not in ("format", "of", "sha256")}
    return found


def rewrite(store: Path, kind: str, /, **changes: object) -> None:
    """The same document with other values, which proves itself."""
    name, body = documents(store)[kind]
    (store / name).unlink()
    body = {k: v for k, v in {**body, **changes}.items() if k != "version"}
    write_document(DirStore(store), name, kind, body)


def stored(store: Path, place: int, value: object) -> dict[str, list]:
    """Columns as they lie in the file, the first of them with another value."""
    columns = documents(store)["layout"][1]["stored"]
    first = next(iter(columns))
    columns[first][place] = value
    return columns


WRONG = {
    "size": lambda store: rewrite(store, "file", size=5),
    "size of columns": lambda store: rewrite(store, "layout", size=5),
    "size as text": lambda store: rewrite(store, "file", size="5"),
    "events": lambda store: rewrite(store, "file", entries=7),
    "events below 0": lambda store: rewrite(store, "file", entries=-1),
    "uuid": lambda store: rewrite(store, "file", uuid="x"),
    "bytes": lambda store: rewrite(store, "layout", stored=stored(store, 1, {})),
    "bytes below 0": lambda store: rewrite(store, "layout", stored=stored(store, 1, -1)),
    "counts": lambda store: rewrite(store, "layout", stored=stored(store, 3, -1)),
    "counts of none": lambda store: rewrite(store, "layout", stored=stored(store, 3, "none")),
    "boundaries": lambda store: rewrite(store, "layout", stored=stored(store, 0, 99)),
    "no boundaries": lambda store: rewrite(store, "layout", boundaries=[[]]),
    "tree": lambda store: rewrite(store, "file", tree=[[], [], []]),
    "tree of columns": lambda store: rewrite(store, "layout", tree=[[], [], []]),
    "kind": lambda store: rewrite(store, "file", kind="tree"),
    "others": lambda store: rewrite(store, "file", others=None),
    "columns": lambda store: rewrite(store, "file", columns={}),
    "table": lambda store: rewrite(store, "layout", table="../x"),
    "a key more": lambda store: rewrite(store, "file", more=1),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_memory_that_is_wrong_is_made_again_from_the_file(site, wrong):
    store, run = site
    before = documents(store)
    WRONG[wrong](store)
    assert documents(store) != before
    again = run()
    assert again.status == "complete", again.report().failures
    assert documents(store) == before
    assert len(list((store / "aside").rglob("*.json.*"))) >= 1


@pytest.mark.parametrize("version", [{}, 99, None])
def test_a_version_that_is_none_of_this_format_is_made_again(site, version, monkeypatch):
    store, run = site
    before = documents(store)
    with monkeypatch.context() as patch:
        patch.setattr("vrecompute.stores.objects.FORMAT", version)
        rewrite(store, "file")
    assert documents(store)["file"][1]["version"] == version
    assert run().status == "complete"
    assert documents(store) == before


def test_what_only_reading_disproves_is_forgotten_for_the_next_run(site):
    store, run = site
    before = documents(store)
    for kind in ("file", "layout"):
        rewrite(store, kind, uuid="00000000-0000-0000-0000-000000000000")
    failed = run()
    assert failed.status == "failed"
    assert "UUID was 00000000" in str(failed.report().failures)
    assert run().status == "complete"
    assert documents(store) == before
