"""Files on web servers: the same bytes as from a disk, whatever the server answers, and each failure by its name."""

from __future__ import annotations

import base64
import json
import random
import socket
import ssl
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ACCEPTANCE
from tests.events import write_events
from tests.webserver import WebServer, authority, serving
from vrecompute import reader, retries
from vrecompute.errors import ChangedFile, CredentialError, TransientRead, UnreadableFile
from vrecompute.execution.wholefile import digest_at
from vrecompute.reader import handles, rawfile
from vrecompute.remote import credentials, deadhosts, fetch, http, web
from vrecompute.remote.fetch import Limits, requests_of

COLUMNS = ["run", "weight", "Muon_pt", "nMuon"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A TTree and the same as RNTuple, whose baskets are small."""
    import uproot

    made = tmp_path_factory.mktemp("files")
    write_events(made / "t.root", 3000, 1, clusters=6)
    with uproot.open(made / "t.root") as file, uproot.recreate(made / "n.root") as out:
        arrays = file["Events"].arrays(["run", "weight", "Muon_pt"])
        writer = out.mkrntuple("Events", arrays[:1000])
        for first in (1000, 2000):
            writer.extend(arrays[first : first + 1000])
    authority(made)
    return made


@pytest.fixture(scope="module")
def secure(folder):
    with serving(folder, folder / "server.pem") as server:
        yield server


@pytest.fixture
def server(secure, folder, monkeypatch) -> WebServer:
    """The one https server, as if it had just come up and had never been asked."""
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    for name in ("BEARER_TOKEN", "BEARER_TOKEN_FILE", "X509_USER_PROXY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(credentials, "_FOLDER", str(folder))
    fresh = WebServer(folder, secure.url)
    monkeypatch.setattr(secure, "__dict__", fresh.__dict__)
    forget(monkeypatch)
    return secure


def forget(monkeypatch) -> None:
    """Nothing is open, no host is known, and nothing waits before it is tried again."""
    monkeypatch.setattr(retries, "_WAITS", {"wait_initial": 0.001, "wait_max": 0.001, "wait_jitter": 0.0})
    for cache in (handles, rawfile):
        monkeypatch.setattr(cache, "_cache", OrderedDict())
    monkeypatch.setattr(http, "_one_by_one", set())
    monkeypatch.setattr(web, "_asking", set())
    monkeypatch.setattr(web, "_answered", set())
    monkeypatch.setattr(deadhosts, "_silent", {})
    web._pools.cache_clear()


def token(expires_in_s: float, audience: str = "") -> str:
    claims = {"exp": time.time() + expires_in_s} | ({"aud": audience} if audience else {})
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln"


@settings(max_examples=500 if ACCEPTANCE else 10)
@given(st.data())
def test_any_columns_and_ranges_are_those_of_the_file(server, folder, monkeypatch, data):
    """With 5 % of requests failing in one way or another, read ahead or not, one range at a time or several."""
    name = data.draw(st.sampled_from(["t.root", "n.root"]))
    wanted = data.draw(st.lists(st.sampled_from(COLUMNS[:3]), min_size=1, max_size=3, unique=True))
    bounds = data.draw(
        st.lists(st.sampled_from([0, 1, 499, 500, 1000, 1500, 2000, 2999, 3000]), min_size=2, max_size=5)
    )
    server.several, server.etags = data.draw(st.booleans()), data.draw(st.booleans())
    chance = random.Random(data.draw(st.integers(0, 1000)))
    lies = ["503", "429", "500", "hang up", "cut"]
    server.lie = lambda path, ranges, number: chance.choice(lies) if chance.random() < 0.05 else ""
    forget(monkeypatch)
    address, path = f"{server.url}/{name}", str(folder / name)
    table = reader.tabulate(address, "Events", wanted)
    bounds.sort()
    for number, (start, stop) in enumerate(pairwise(bounds)):
        mine = reader.read(address, "Events", wanted, start, stop, table=table)
        if number + 2 < len(bounds) and data.draw(st.booleans()):
            reader.fetch_ahead(address, table, wanted, stop, bounds[number + 2])
        theirs = reader.read(path, "Events", wanted, start, stop)
        for column in wanted:
            assert mine[column].values.tobytes() == theirs[column].values.tobytes()
            assert np.array_equal(mine[column].offsets, theirs[column].offsets)


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 3000)), max_size=20),
    st.integers(1, 9),
    st.integers(1, 4000),
    st.integers(1, 4000),
)
def test_requests_cover_each_byte_once_and_keep_their_limits(spans, ranges, request_bytes, range_bytes):
    pieces = np.array([(start, start + size) for start, size in spans], dtype=np.int64).reshape(-1, 2)
    requests = requests_of(pieces, Limits(ranges, request_bytes, range_bytes))
    got = [(position, piece.at + i) for r in requests for piece in r for i, position in enumerate(range(*piece[:2]))]
    assert got == [(p, at) for at, p in enumerate(p for start, stop in pieces.tolist() for p in range(start, stop))]
    for request in requests:
        sizes = [piece.stop - piece.start for piece in request]
        assert len(request) <= ranges
        assert sum(sizes) <= request_bytes
        assert 0 < min(sizes) <= max(sizes) <= range_bytes


def test_what_was_fetched_ahead_is_not_asked_for_again(server, folder):
    address = f"{server.url}/t.root"
    table = reader.tabulate(address, "Events", COLUMNS)
    reader.read(address, "Events", COLUMNS, 0, 500, table=table)
    before = server.requests["/t.root"]
    reader.fetch_ahead(address, table, COLUMNS, 500, 1000)
    deadline = time.monotonic() + 20
    while server.requests["/t.root"] == before and time.monotonic() < deadline:
        time.sleep(0.001)
    reader.read(address, "Events", COLUMNS, 500, 1000, table=table)
    assert server.requests["/t.root"] == before + 1, "one request of all ranges, and no look"


def test_a_few_columns_move_few_bytes_in_few_requests_over_kept_connections(server, folder, tmp_path):
    """17 of 101 columns in 20 clusters: at most 1.15 times the bytes of their baskets, counted at the server."""
    import uproot

    random_ = np.random.default_rng(1)
    with uproot.recreate(tmp_path / "wide.root", compression=None) as file:
        names = [f"c{n}" for n in range(101)]
        file.mktree("Events", dict.fromkeys(names, "float32"))
        for _ in range(20):
            file["Events"].extend({name: random_.normal(size=1000).astype(np.float32) for name in names})
    server.folder = tmp_path
    address, wanted = f"{server.url}/wide.root", [*names[3:99:6], "c100"]
    assert len(wanted) == 17
    facts, table = reader.inspect(address), reader.tabulate(address, "Events", wanted)
    reader.read(address, "Events", wanted, 0, 1, table=table)
    traffic, (sent, asked) = reader.count_traffic(), (server.sent["/wide.root"], server.requests["/wide.root"])
    reader.read(address, "Events", wanted, 1000, 20000, table=table)
    sent, asked = server.sent["/wide.root"] - sent, server.requests["/wide.root"] - asked
    needed = facts.compressed_bytes_of(wanted) * 19 / 20
    assert needed <= sent <= 1.15 * needed
    assert asked <= 1 + np.ceil(19 * 17 / 64)
    assert traffic.links == {server.url: (sent, asked)}
    assert server.connections <= web.CONNECTIONS


@pytest.mark.parametrize(
    ("lie", "error", "match"),
    [
        ("404", UnreadableFile, r"has no such file \(404\)"),
        ("403", UnreadableFile, r"does not permit it to users without a credential \(403\)"),
        ("401", CredentialError, r"asks for a credential \(401\): no bearer token"),
        ("418", UnreadableFile, "answers 418"),
        ("503", UnreadableFile, r"too busy or failed \(503\), also when it was tried again"),
        ("hang up", UnreadableFile, "does not answer: .*also when it was tried again"),
        ("whole", UnreadableFile, "gives whole files only and no ranges"),
        ("shifted", UnreadableFile, "gave other bytes than asked for, also"),
        ("cut", UnreadableFile, "also when it was tried again"),
        ("to http://192.0.2.1/t.root", UnreadableFile, "leads to http://192.0.2.1, which is not encrypted"),
        ("to /t.root", UnreadableFile, "leads on and on"),
        ("to https://127.0.0.1:182029/t.root", UnreadableFile, "the port '182029' is no number from 1 to 65535"),
    ],
)
def test_each_failure_has_its_name_and_its_kind(server, lie, error, match):
    server.lie = lambda path, ranges, number: lie if lie != "shifted" or ranges != "bytes=0-0" else ""
    with pytest.raises(UnreadableFile, match=match) as raised:
        reader.inspect(f"{server.url}/t.root")
    assert type(raised.value) is error
    assert raised.value.file == f"{server.url}/t.root"


@pytest.mark.parametrize(
    "address",
    ["https://127.0.0.1:182029/t.root", "root://127.0.0.1:-1//t.root", "s3://data/t.root?endpoint=https://[::1]:x/"],
)
def test_a_port_that_there_cannot_be_is_refused_and_not_tried_again(address):
    retries = reader.count_retries()
    with pytest.raises(UnreadableFile, match=r"the port '.*' is no number from 1 to 65535; correct the address"):
        reader.inspect(address)
    assert retries == []


def test_two_servers_of_one_host_are_each_named(server, folder, monkeypatch):
    """By address and status, whatever the other said; and a token goes to the one that asked for it."""
    with serving(folder, folder / "server.pem") as other:
        for told in (server, other):
            with pytest.raises(UnreadableFile, match=rf"{told.url}/x\.root: {told.url} has no such file \(404\)"):
                reader.inspect(f"{told.url}/x.root")
        server.token = other.token = token(600)
        monkeypatch.setenv("BEARER_TOKEN", server.token)
        for told in (server, other):
            reader.inspect(f"{told.url}/t.root")
            assert told.requests["/t.root"] == len(told.tokens) + 1, "the first request brought none"


def test_an_answer_that_is_cut_does_not_make_a_server_one_that_answers_one_range_at_a_time(server, folder):
    source = reader.look_at(f"{server.url}/t.root")
    pieces, into = np.array([[0, 9], [40, 49], [90, 99]]), np.empty(27, np.uint8)
    cuts = ["cut", "cut early"]
    server.lie = lambda *asked: cuts.pop() if cuts else ""
    source.read_ranges(pieces, into)
    content = (folder / "t.root").read_bytes()
    assert into.tobytes() == content[:9] + content[40:49] + content[90:99]
    assert http._one_by_one == set()
    server.several = False
    source.read_ranges(pieces, into)
    assert http._one_by_one == {server.url}


@pytest.mark.parametrize("known", [False, True])
def test_a_server_of_one_range_a_time_is_asked_again_for_the_one_that_failed_alone(server, folder, monkeypatch, known):
    """Also at first contact, where it is found out in the middle of a request: each has six tries of its own."""
    pieces = np.array([[40 * n, 40 * n + 9] for n in range(8)])
    into, asked = np.empty(72, np.uint8), list[str]()
    source = reader.look_at(f"{server.url}/t.root")
    server.several = False
    if known:
        http.one_by_one(server.url)

    def fails_five_times(path: str, ranges: str, number: int) -> str:
        asked.append(ranges)
        return "503" if "," not in ranges and asked.count(ranges) < 6 else ""

    server.lie = fails_five_times
    source.read_ranges(pieces, into)
    content = (folder / "t.root").read_bytes()
    assert into.tobytes() == b"".join(content[start:stop] for start, stop in pieces.tolist())
    alone = [ranges for ranges in asked if "," not in ranges]
    assert {ranges: alone.count(ranges) for ranges in alone} == {f"bytes={a}-{b - 1}": 6 for a, b in pieces.tolist()}
    assert len(asked) - len(alone) == (0 if known else 1)


def test_what_a_file_was_asked_for_is_not_asked_again_where_its_time_is_told_late(server, monkeypatch):
    """A file without validators is asked for its time by WebDAV: that is a request with six tries of its own."""
    server.etags, tries = False, list[str]()

    def told_late(self: http.HttpSource, name: str) -> str:
        tries.append(name)
        if len(tries) < 6:
            raise fetch.Passing(self.address, "is busy")
        return "Mon, 05 Oct 2026 10:00:00 GMT"

    monkeypatch.setattr(http.HttpSource, "_property", told_late)
    source = reader.look_at(f"{server.url}/t.root")
    assert source.stamp == (source.size, "Mon, 05 Oct 2026 10:00:00 GMT")
    assert server.requests["/t.root"] == 1


def test_a_host_that_is_not_there_or_not_encrypted_or_not_trusted(server, folder, monkeypatch):
    with pytest.raises(UnreadableFile, match=r"does not answer: .*Connection refused.*tried again"):
        reader.inspect("https://127.0.0.1:9/t.root")
    with pytest.raises(UnreadableFile, match=r"http://192\.0\.2\.1 is not encrypted"):
        reader.inspect("http://192.0.2.1/t.root")
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    web._pools.cache_clear()
    with pytest.raises(UnreadableFile, match=r"certificate of https://127.0.0.1:[0-9]+ is not trusted here"):
        reader.inspect(f"{server.url}/t.root")
    with serving(folder) as plain:
        assert reader.inspect(f"{plain.url}/t.root").entries == 3000


@pytest.mark.parametrize("etags", [True, False])
def test_a_file_that_changes_is_not_read_as_the_one_that_was_planned(server, tmp_path, etags):
    server.folder, server.etags = tmp_path, etags
    write_events(tmp_path / "a.root", 300, 1, clusters=3)
    address = f"{server.url}/a.root"
    planned, table = reader.inspect(address), reader.tabulate(address, "Events", COLUMNS)
    before = reader.origin_of(address)
    reader.read(address, "Events", COLUMNS, 0, 100, table=table, expect=planned)
    source = rawfile.opened_raw(address).source
    write_events(tmp_path / "a.root", 300, 2, clusters=3)
    assert reader.origin_of(address) != before
    with pytest.raises(ChangedFile, match="is not the planned file"):
        reader.read(address, "Events", COLUMNS, 100, 200, table=table, expect=planned)
    if etags:
        with pytest.raises(TransientRead, match="changed while it was read"):
            source.read_ranges(np.array([[0, 9]]), np.empty(9, np.uint8))


def test_redirects_are_followed_once_and_again_where_they_no_longer_lead(server, folder):
    address = f"{server.url}/moved.root"
    server.lie = lambda path, ranges, number: "to /t.root?signed=1" if path == "/moved.root" else ""
    (folder / "t.root?signed=1").write_bytes((folder / "t.root").read_bytes())
    try:
        right = reader.read(str(folder / "t.root"), "Events", COLUMNS, 0, 100)
        assert reader.inspect(address).entries == 3000
        looks = server.requests["/moved.root"]
        source = rawfile.opened_raw(address).source
        into = np.empty(100, np.uint8)
        source.read_ranges(np.array([[0, 100]]), into)
        assert server.requests["/moved.root"] == looks
        over = [1]
        moved = server.lie
        server.lie = lambda path, ranges, number: (
            "403" if "signed" in path and over and over.pop() else moved(path, "", 0)
        )
        source.read_ranges(np.array([[0, 100]]), into)
        assert server.requests["/moved.root"] == looks + 1
        assert (reader.read(address, "Events", COLUMNS, 0, 100)["run"].values == right["run"].values).all()
    finally:
        (folder / "t.root?signed=1").unlink()


@pytest.mark.parametrize(
    "place", ["BEARER_TOKEN", "BEARER_TOKEN_FILE", "VRECOMPUTE_SECRETS", "XDG_RUNTIME_DIR", "/tmp"]
)
def test_a_token_is_found_where_grid_software_leaves_it_and_sent_where_it_is_asked_for(
    server, folder, tmp_path, monkeypatch, place
):
    server.token = token(600)
    file = {"BEARER_TOKEN_FILE": "token", "VRECOMPUTE_SECRETS": "BEARER_TOKEN"}.get(place, f"bt_u{credentials._ME}")
    (tmp_path / file).write_text(f"{server.token}\n")
    if place == "/tmp":
        monkeypatch.setattr(credentials, "_FOLDER", str(tmp_path))
    else:
        values = {"BEARER_TOKEN": server.token, "BEARER_TOKEN_FILE": str(tmp_path / "token")}
        monkeypatch.setenv(place, values.get(place, str(tmp_path)))
    assert reader.inspect(f"{server.url}/t.root").entries == 3000
    assert server.requests["/t.root"] == len(server.tokens) + 1, "the first request brought none"
    assert server.token not in repr(credentials.bearer_token())
    with serving(folder) as plain:
        reader.inspect(f"{plain.url}/t.root")
        assert plain.tokens == [], "never over http"


@pytest.mark.parametrize(
    ("claims", "match"),
    [
        ((-60,), r"the bearer token of \$BEARER_TOKEN, which expired at .* UTC; renew it and run again"),
        ((600, "https://other.example.org"), "no bearer token|does not accept"),
        ((600,), r"does not accept the bearer token of \$BEARER_TOKEN \(401\); get one"),
    ],
    ids=["over", "of another", "not accepted"],
)
def test_a_token_that_is_over_or_of_another_is_said_and_not_shown(server, monkeypatch, claims, match):
    value = token(*claims)
    monkeypatch.setenv("BEARER_TOKEN", value)
    server.token = token(700)
    with pytest.raises(CredentialError, match=match) as raised:
        reader.inspect(f"{server.url}/t.root")
    assert value not in str(raised.value)
    assert server.tokens == ([f"Bearer {value}"] if "not accept the" in match else [])


def test_an_x509_proxy_opens_what_asks_for_one_and_its_end_is_said(server, folder, monkeypatch):
    with serving(folder, folder / "server.pem", clients=folder / "ca.pem") as strict:
        address = f"{strict.url}/t.root"
        with pytest.raises(
            CredentialError, match=r"asks for a certificate \(.*\): no bearer token .* and no X\.509 proxy"
        ):
            reader.inspect(address)
        monkeypatch.setenv("X509_USER_PROXY", str(folder / "server.pem"))
        assert reader.inspect(address).entries == 3000
        monkeypatch.setattr(credentials, "time", SimpleNamespace(time=lambda: time.time() + 10 * 86400))
        with pytest.raises(CredentialError, match=r"the X\.509 proxy .*server\.pem, which expired at .* UTC"):
            reader.origin_of(address)


def test_a_server_that_drops_who_shows_no_certificate_without_a_word_is_named_so(server, folder, monkeypatch):
    """By TLS 1.3 the client has connected when the server finds that there is none; no alert is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / "server.pem")
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    listening = socket.create_server(("127.0.0.1", 0))

    def drop() -> None:
        with suppress(OSError):
            while True:
                raw = listening.accept()[0]
                came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
                tls = context.wrap_bio(came, goes, server_side=True)
                with raw, suppress(ssl.SSLError):
                    while True:
                        came.write(data) if (data := raw.recv(65536)) else came.write_eof()
                        with suppress(ssl.SSLWantReadError):
                            tls.do_handshake()  # raises where a certificate lacks, and its alert stays in `goes`
                        raw.sendall(goes.read())

    threading.Thread(target=drop, daemon=True).start()
    address = f"https://127.0.0.1:{listening.getsockname()[1]}/t.root"
    what = r"a server that asks for a certificate may end so, and it was shown "
    with (
        listening,
        pytest.raises(
            UnreadableFile, match=rf"does not answer: .*; {what}none: no bearer .* no X\.509 proxy .* found, also when"
        ),
    ):
        reader.inspect(address)
    server.lie = lambda path, ranges, number: "hang up" if number > 1 else ""
    with pytest.raises(UnreadableFile, match=r"does not answer: .*also when") as raised:
        reader.inspect(f"{server.url}/t.root")
    assert "certificate" not in str(raised.value), "it has answered before"


@pytest.mark.parametrize("digests", [True, False])
def test_a_checksum_is_asked_for_where_the_server_keeps_it(server, folder, digests):
    server.digests = digests
    address, size = f"{server.url}/t.root", (folder / "t.root").stat().st_size
    assert digest_at(address, "adler32") == digest_at(str(folder / "t.root"), "adler32")
    assert (server.sent["/t.root"] < size) is digests
    assert digest_at(address, "sha256") == digest_at(str(folder / "t.root"), "sha256")
