"""Any address ends every command that takes one with an exit code of the README and a message; no server is asked."""

from __future__ import annotations

import json
import socket

import pytest

from tests.fuzz.commandline import command
from tests.fuzz.engine import Target, fuzz, outcome_of
from vrecompute.errors import UsageError
from vrecompute.remote import deadhosts

SEEDS = [
    "http://[::1]/a.root",
    "https://host.example.org:8443/data/*.root?x=1",
    "https://user@host.example.org/d.yaml",
    "root://host.example.org:1094//data/a.root",
    "root://[fe80::1%eth0]//data/",
    "s3://bucket/prefix/a.root?endpoint=https://s3.example.org&credentials=env:KEYS",
    "s3://bucket/prefix/?endpoint=http://127.0.0.1:1",
    "http://℀.com/x",
    "data/a.root",
]
PIECES = [
    *("[", "]", "[::1", "[zz]", "::", "%", "%5B", "%00", "@", ":", "/", "//", "?", "#", "*", "**", "\\", " ", "é", "℀"),
    *("\ud800", "\x1b", "://", "http://", "root://", "s3://", "x://", "file://", "?endpoint=", "99999", "x" * 300, "."),
]
YAML = "schema: 1\nsamples:\n  - name: mc\n    files: [{}]\n"


@pytest.fixture
def checked(site, tmp_path, monkeypatch):
    """What a command says of an address in each place where it may stand; without a network."""

    def refused(*given, **named):
        raise OSError("there is no network here")

    def without_bindings():
        raise ImportError("XRootD")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr("vrecompute.remote.xrootd._bindings", without_bindings)
    monkeypatch.setattr("vrecompute.remote.fetch.time.sleep", lambda seconds: None)
    monkeypatch.setattr(deadhosts, "FAILURES", 1 << 30)  # no host is left alone
    monkeypatch.setenv("KEYS", '{"access_key": "a", "secret_key": "b"}')
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept.py").write_text((site.place / "kept.py").read_text())
    (tmp_path / "factor.json").write_text((site.place / "factor.json").read_text())

    def check(data: bytes) -> str:
        address = data.decode(errors="surrogateescape").replace("\0", "")
        if "://" not in address or address.startswith("file://"):
            address = f"http://{address}"
        quoted = json.dumps(address)
        (tmp_path / "d.yaml").write_text(YAML.format(quoted))
        (tmp_path / "f.json").write_text(json.dumps({"mc": {"files": {address: "Events"}}}))
        replicas = f"{{path: a.root, replicas: [{quoted}]}}"
        (tmp_path / "r.yaml").write_text(YAML.format(replicas))
        said = [command(["columns", "--", address])]
        for named in (address, "d.yaml", "f.json", "r.yaml"):
            said.append(command(["explain", "--store", "new", "--", "kept.py", named]))
        said.append(command(["dataset", "checksum", "--", address]))
        for words in (["runs", "list"], ["store", "gc"]):
            said.append(command([*words, f"--store={address}"]))
        return " ".join(outcome_of(UsageError(err[:120])) for _, _, err in said[:1]) + str([code for code, *_ in said])

    return check


def test_any_address_ends_with_a_known_code_and_a_message(checked):
    pieces = [piece.encode("utf-8", "surrogatepass") for piece in PIECES]
    fuzz(Target("addresses", [seed.encode() for seed in SEEDS], checked, 60, pieces, b"/"))
