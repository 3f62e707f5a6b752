"""One rule for secrets: each door refuses an address that carries one, unseen, and no command line keeps one."""

from __future__ import annotations

import string
import sys
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.events import SUM_ANALYSIS, write_events
from vrecompute import Client
from vrecompute.campaign.load import parse_campaign
from vrecompute.cli import cli
from vrecompute.datasets.catalogue import resolve
from vrecompute.datasets.dataset import Dataset, Sample, Source
from vrecompute.errors import UsageError
from vrecompute.execution.provenance import provenance
from vrecompute.secret_text import REMOVED, holds_secret, redacted
from vrecompute.sites.load import load_site
from vrecompute.stores.address import open_store
from vrecompute.stores.directory import DirStore

NAMES = [
    "password",
    "passwd",
    "pass",
    "db_pass",
    "pwd",
    "passphrase",
    "secret",
    "client_secret",
    "secretKey",
    "token",
    "access_token",
    "id_token",
    "apikey",
    "api_key",
    "api-key",
    "access_key",
    "AccessKey",
    "private_key",
    "account_key",
    "bearer",
    "jwt",
    "sig",
    "Signature",
    "authz",
    "authorization",
    "cookie",
    "AWSAccessKeyId",
    "GoogleAccessId",
    "X-Amz-Signature",
    "X-Amz-Credential",
    "x-amz-security-token",
    "X-Goog-Signature",
    "credential",
]
SCHEMES = [
    "s3",
    "https",
    "http",
    "root",
    "roots",
    "davs",
    "mem3",
    "sqlite",
    "redis",
    "tcp",
    "tls",
    "postgresql+ssl",
    "file",
]
# What is in no address besides, so that it is found wherever it is shown.
secrets = st.text(string.ascii_letters + string.digits + "+/!$*_-.", min_size=6, max_size=20).map(lambda s: f"Qz{s}Zq")


def spelled(draw, name):
    """As a server would read it all the same."""
    how = draw(st.sampled_from(["as it is", "upper", "lower", "quoted"]))
    return {"upper": name.upper(), "lower": name.lower(), "quoted": f"%{ord(name[0]):02X}{name[1:]}"}.get(how, name)


@st.composite
def addresses(draw, schemes=SCHEMES):
    """(an address with a secret, the secret)."""
    scheme, secret = draw(st.sampled_from(schemes)), draw(secrets)
    place = f"{scheme}://host.example.org/a/b.root"
    where = draw(st.sampled_from(["user", "query", "later", "opaque", "nested"]))
    if where == "user":
        return f"{scheme}://me:{secret}@host.example.org/a/b.root", secret
    name = spelled(draw, draw(st.sampled_from(NAMES)))
    if where == "nested":
        inner = quote(f"https://me:{secret}@host", safe="")
        return f"{place}?endpoint={inner}", secret
    start = {"query": "?", "later": "?size=3&", "opaque": "?xrd.wantprot=unix&"}[where]
    return f"{place}{start}{name}={draw(st.sampled_from([secret, quote(secret, safe='')]))}&x=1", secret


@given(addresses())
def test_a_secret_is_found_in_an_address_of_any_scheme_and_nothing_of_it_stays(case):
    address, secret = case
    assert holds_secret(address)
    kept = redacted(address)
    assert secret not in kept
    assert quote(secret, safe="") not in kept
    assert not holds_secret(kept)
    assert redacted(kept) == kept


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/prefix?endpoint=https://object.example.org:8443&credentials=env:VRE_KEYS&region=x",
        "s3://bucket?credentials=file:/home/me/.token&role=arn:aws:iam::1:role/reader",
        "root://user@eos.example.org:1094//store/data/file@v2.root?xrd.wantprot=unix",
        "https://[::1]:8443/a/b@c.root",
        "tls://10.0.0.1:8786",
        "mem3://place?max_tokens=4096&min-new-tokens=3&token_count=7",
        "mem3://place?token_file=/run/token&password_env=PW&token=$TOKEN&secret=${S}&password=",
        "http://proxy.example.org:3128",
        "/data/my token=x/a.root",
        "postgresql://db.example.org/runs?sslmode=require&compass=north&passes=3",
        "https://host/bypass/secret/token/a.root",
    ],
)
def test_what_tells_where_a_secret_is_and_other_addresses_are_none(address):
    assert not holds_secret(address)
    assert redacted(address) == address


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["--store", "mem3://x?password=p w;1#2&token=t&n=3"], f"--store 'mem3://x?password={REMOVED}&token={REMOVED}&n=3'"),
        (["-p", "api_key=abc", "-p", "pt_min_gev=30"], f"-p 'api_key={REMOVED}' -p pt_min_gev=30"),
        (["https://u:p/w@h:1/a.root"], f"'https://{REMOVED}@h:1/a.root'"),
        (["--label", "note=ghp_" + "a" * 30], f"--label 'note={REMOVED}'"),
        (["root://h//a.root?authz=Bearer%20abc.def"], f"'root://h//a.root?authz={REMOVED}'"),
    ],
)  # fmt: skip
def test_a_command_is_kept_without_what_it_was_given(words, kept, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/usr/bin/vrecompute", "run", *words])
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert provenance(None)["command"] == f"vrecompute run {kept}"


SITE = "schema: 1\nname: x\nbackend: local\n"
CAMPAIGN = """schema: 1
name: lat
ledger: lat.sqlite
products: {products}
datasets: [{{name: photons, files: ["{files}"]}}]
analyses: [{{name: dilepton, datasets: [photons]}}]
store: {store}
"""


class UrlTells(DirStore):
    """A store of another package."""

    url = ""


def their_store(folder, address):
    store = UrlTells(folder)
    store.url = address
    return Client(store=store)


def site_file(folder, text):
    (folder / "s.yaml").write_text(SITE + text)
    return load_site(str(folder / "s.yaml"))


def dataset_file(folder, text):
    (folder / "d.yaml").write_text(f"schema: 1\nsamples: [{{name: a, files: [{text}]}}]\n")
    return resolve(str(folder / "d.yaml"))


def campaign_file(**given):
    filled = {"products": "products", "files": "a.root", "store": "store"} | given
    return parse_campaign(CAMPAIGN.format(**filled).encode(), "c.yaml")


def given_dataset(address, *replicas):
    return resolve(Dataset((Sample("a"),), (Source(address, "a", replicas=replicas),), "mine"))


DOORS = {
    "store": lambda folder, address: open_store(address),
    "store of a Client": lambda folder, address: Client(store=address).store,
    "store of another package": their_store,
    "dataset": lambda folder, address: resolve(address),
    "one of several": lambda folder, address: resolve(["a.root", address]),
    "fileset": lambda folder, address: resolve({address: "Events"}),
    "Dataset": lambda folder, address: given_dataset(address),
    "replica of a Dataset": lambda folder, address: given_dataset("a.root", address),
    "file of a dataset file": lambda folder, address: dataset_file(folder, f"'{address}'"),
    "replica": lambda folder, address: dataset_file(folder, f"{{path: a.root, replicas: ['{address}']}}"),
    "store of a site": lambda folder, address: site_file(folder, f"store: {{url: '{address}'}}\n"),
    "endpoint": lambda folder, address: site_file(folder, f"store: {{url: 's3://a/b', endpoint: '{address}'}}\n"),
    "proxy": lambda folder, address: site_file(
        folder, f"network: {{compute_outbound: proxy, proxy: '{address}'}}\n"
    ),
    "variable of a job": lambda folder, address: site_file(
        folder, f"environment: {{variables: {{WHERE: '{address}'}}}}\n"
    ),
    "store of a campaign": lambda folder, address: campaign_file(store=f"'{address}'"),
    "products": lambda folder, address: campaign_file(products=f"'{address}'"),
    "files of a campaign": lambda folder, address: campaign_file(files=address),
    "Dask": lambda folder, address: Client(dask=address),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_each_door_refuses_it_unseen(door, tmp_path_factory):
    folder = tmp_path_factory.mktemp("doors")

    @given(addresses([s for s in SCHEMES if s != "file"]))
    def refused(case):
        address, secret = case
        with pytest.raises(UsageError) as caught:
            DOORS[door](folder, address)
        for error in (caught.value, caught.value.__cause__):
            assert secret not in f"{error} {error!r}"
            assert quote(secret, safe="") not in f"{error} {error!r}"
        if "$" not in address:  # a variable is refused for itself by some
            assert "secret" in str(caught.value) or REMOVED in str(caught.value)

    refused()


@pytest.mark.parametrize("what", ["label", "parameter"])
def test_words_of_the_users_own_are_refused_before_anything_is_written(what, tmp_path):
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    address = "https://me:hunter2@h/x"
    given = {"labels": {"label": address}} if what == "label" else {"label": address}
    client = Client(store=tmp_path / "store")
    with pytest.raises(UsageError, match=f"{what} 'label' carries a secret") as refused:
        client.run(str(tmp_path / "sums.py"), str(write_events(tmp_path / "e.root", 40)), **given)
    assert "hunter2" not in str(refused.value)
    assert not list(DirStore(tmp_path / "store").names(""))


def test_a_scheme_of_the_users_own_leaves_no_secret_in_anything_that_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    write_events(tmp_path / "e.root", 40)
    words = ["run", "sums.py", "e.root", "--store", "mem3://place?password=hunter2&token=hunter3", "--out", "out"]
    ended = CliRunner().invoke(cli, words)
    assert ended.exit_code == 2
    assert "hunter" not in ended.output
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and b"hunter" in p.read_bytes()]
