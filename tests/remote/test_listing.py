"""Folders and patterns of servers name the files that they name on a disk."""

from __future__ import annotations

import shutil
import socket
import threading
from pathlib import Path

import pytest

from tests.webserver import serving
from vrecompute import plugins
from vrecompute.datasets.catalogue import resolve
from vrecompute.errors import DatasetError, UnreadableFile
from vrecompute.remote import weblisting

FILES = ["a.root", "b.root", "notes.txt", ".hidden.root", "x/1.root", "x/deep/2 3.root", "y/1.root", "y/[4].root"]
PATTERNS = ["", "*.root", "*/1.root", "**/*.root", "x/**", ".*", "[ab].root", "y/", "x/deep/*", "*/deep/2*"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("served")
    for name in FILES:
        (made / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (made / "d" / name).touch()
    return made


@pytest.fixture(scope="module")
def server(folder):
    with serving(folder) as made:
        yield made


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_same_rule_as_on_a_disk(server, folder, pattern):
    local = [Path(s.path).relative_to(folder) for s in resolve(f"{folder}/d/{pattern}").sources]
    from urllib.parse import unquote

    afar = [Path(unquote(s.path.removeprefix(f"{server.url}/"))) for s in resolve(f"{server.url}/d/{pattern}").sources]
    assert sorted(afar) == sorted(local)


def test_what_lists_nothing_or_does_not_answer_is_an_error(server, monkeypatch):
    with pytest.raises(DatasetError, match="no file matches"):
        resolve(f"{server.url}/d/*.png")
    with pytest.raises(DatasetError, match="has no such file"):
        resolve(f"{server.url}/none/")
    with pytest.raises(DatasetError) as raised:
        resolve([f"{server.url}/none/", f"{server.url}/d/", f"{server.url}/nor/"])
    found = [f"folder {server.url}/{name}/: {server.url} has no such file (404)" for name in ("none", "nor")]
    assert str(raised.value).splitlines() == found
    server.lie = lambda path, ranges, number: "418"
    with pytest.raises(DatasetError, match="answers 418"):
        resolve(f"{server.url}/d/*.root")
    server.lie = lambda path, ranges, number: ""
    monkeypatch.setitem(plugins.SOURCE_SCHEMES, "bare", lambda address: None)
    with pytest.raises(DatasetError, match="folders of its scheme cannot be listed; name the files"):
        resolve("bare://host/d/*.root")
    assert [s.path for s in resolve("bare://host/d/a?x=*").sources] == ["bare://host/d/a?x=*"]


PAGE = b'<a href="a.root">a.root</a>'


@pytest.mark.parametrize(
    ("length", "found"),
    [(f"{len(PAGE)}", True), (f"{len(PAGE)}, {len(PAGE)}", True), ("some", True), (f"{len(PAGE) + 9}", False)],
    ids=["its length", "said twice", "not a number", "cut"],
)
def test_a_page_is_read_to_the_end_that_its_server_names(length, found):
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"

    def answer():
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            with caller:
                is_get = caller.recv(1 << 16).startswith(b"GET")
                caller.sendall(head.encode() + PAGE if is_get else b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, daemon=True).start()
        folder = f"http://127.0.0.1:{listener.getsockname()[1]}/d/"
        if found:
            assert weblisting.entries(folder) == [("a.root", False)]
        else:
            with pytest.raises(UnreadableFile, match="ended in the middle of its answer"):
                weblisting.entries(folder)
        listener.shutdown(socket.SHUT_RDWR)


def test_a_list_from_elsewhere_names_nothing_outside_its_folder(server, folder, monkeypatch):
    odd = folder / "odd"
    odd.mkdir(exist_ok=True)
    page = [
        ("../secret.root", False),
        ("a/b.root", False),
        ("https://other.example.org/c.root", False),
        ("ok.root", False),
    ]
    assert weblisting._children(f"{server.url}/odd/", page) == [("ok.root", False)]
    serve = plugins.serving("http")
    monkeypatch.setattr(serve, "entries", staticmethod(lambda address: [("a\nb.root", False)]))
    with pytest.raises(DatasetError, match="not the name of a file"):
        resolve(f"{server.url}/odd/")
    odd.rmdir()


def test_a_dataset_file_is_read_where_it_is(server, folder):
    described = folder / "described"
    shutil.copytree(folder / "d" / "x", described / "x", dirs_exist_ok=True)
    text = (
        "schema: 1\nsamples:\n- name: s\n  files: [x/1.root, 'x/*/*.root', {path: /d/a.root, replicas: [x/1.root]}]\n"
    )
    (described / "dataset.yaml").write_text(text)
    for named in ("described/", "described/dataset.yaml", "described/dataset.yaml::s"):
        sources = resolve(f"{server.url}/{named}", allow_duplicates=True).sources
        paths = ["described/x/1.root", "described/x/deep/2%203.root", "d/a.root"]
        assert [s.path for s in sources] == [f"{server.url}/{path}" for path in paths]
        assert sources[2].replicas == (f"{server.url}/described/x/1.root",)
    (described / "dataset.yaml").write_text(text + "  certified: golden.json\n")
    with pytest.raises(DatasetError, match=r"this machine has to read golden\.json"):
        resolve(f"{server.url}/described/")


@pytest.mark.parametrize(
    "address", ["https://me:secret7@h/a.root", "root://h//a.root?authz=secret7", "https://h/a?access_token=secret7"]
)
def test_an_address_that_carries_a_secret_is_refused_unseen(tmp_path, address):
    (tmp_path / "d.yaml").write_text(
        f"schema: 1\nsamples:\n- name: a\n  files:\n  - {{path: /x/0.root, replicas: ['{address}']}}\n"
    )
    for named in (address, str(tmp_path / "d.yaml")):
        with pytest.raises(DatasetError, match="carries a secret") as raised:
            resolve(named)
        assert "secret7" not in str(raised.value)
