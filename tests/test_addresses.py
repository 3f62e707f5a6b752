"""An address of a server is taken apart, or said to be wrong with its host or port; no text raises anything else."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.addresses import address_fault, led_to, link_of, parts_of, path_of, service_fault
from vrecompute.cli import main
from vrecompute.datasets.catalogue import resolve
from vrecompute.errors import DatasetError, UnreadableFile, UsageError
from vrecompute.stores.address import open_store

ODD = ["[", "]", "::1", "[::1]", "[zz]", "fe80::1%eth0", "℀", "é", "@", ":", "//", "?", "#", "*", "\\", " ", "\ud800"]
ODD += ["http", "root", "s3", "://", "?endpoint=", "%00", "%5B", "1094", "99999", "a.root", "host.example.org", "\t"]
TEXTS = st.lists(st.sampled_from(ODD) | st.text(max_size=3), max_size=8).map("".join)
ADDRESSES = st.builds("{}://{}".format, st.sampled_from(["http", "https", "root", "roots", "s3", "x", "HTTP"]), TEXTS)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://[::1", r"the host '\[::1' is no address of IPv6"),
        ("http://[", r"the host '\[' is no address of IPv6"),
        ("root://[::1//x.root", "is no address of IPv6"),
        ("root://[zz]//x.root", r"the host '\[zz\]' is no address of IPv6"),
        ("https://[::1]x/a.root", "is no address of IPv6"),
        ("http://℀.com/x", "the host '℀.com' has a character that no host has"),
        ("http://a b/x", "the host 'a b' has a character that no host has"),
        ("https:///x", "it names no host"),
        ("root://:1094//x", "it names no host"),
        ("http://*.example.org/x.root", "is a pattern, and only paths on a host may be"),
        ("s3://[", "is a pattern, and only paths in a bucket may be"),
        ("s3://*/x.root", "is a pattern, and only paths in a bucket may be"),
        ("s3://data/x?endpoint=http://[", "is no address of IPv6"),
        ("s3://data/x?endpoint=ftp://[", "is no web address; write https://host"),
        ("s3://data/x?endpoint=http", "is no web address; write https://host"),
        ("s3://data/x?endpoint=https://", "is no web address; write https://host"),
        ("https://host.example.org/\udcaf/*.root", "it is not UTF-8"),
        ("https://[::1]:x/a.root", "the port 'x' is no number"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(address, said):
    with pytest.raises(DatasetError, match=said) as refused:
        resolve(address)
    assert address in str(refused.value)


@pytest.mark.parametrize(
    "address", ["http://[::1]:8443/a.root", "http://[fe80::1%eth0]/x", "https://é.example.org/x", "root://a.b:1//x"]
)
def test_what_is_right_with_an_address_is_left_alone(address):
    assert address_fault(address) == ""
    assert [source.path for source in resolve(address).sources] == [address]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("file:///tmp/x?a=b", r"a folder has no options, such as '\?a=b'"),
        ("file:///tmp/x?", r"a folder has no options, such as '\?'"),
        ("file://[::1", r"it names the host '\[::1', and a folder is one of this machine"),
        ("file://host/x", "it names the host 'host', .*; write file:///path"),
        ("file://x", "it names the host 'x'"),
        ("file://?a", "it names no folder; write file:///path"),
        ("file://", "it names no folder; write file:///path"),
    ],
)
def test_an_address_of_a_folder_is_its_path_and_nothing_else(address, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        open_store(address)
    for words in (["runs", "list", "--store", address], ["run", "dilepton", "a.root", "--store", address]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
        assert address in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    with pytest.raises(DatasetError, match="cannot be read yet"):
        resolve(address)


def test_the_address_of_a_folder_names_it(tmp_path):
    assert open_store(f"file://{tmp_path}/a b").url == f"{tmp_path}/a b"
    assert open_store(f"{tmp_path}/a?b").url == f"{tmp_path}/a?b"


def test_an_address_of_ipv6_is_no_pattern_and_its_path_may_be():
    assert path_of("http://[fe80::1%eth0]/x?y=1") == "/x"
    assert path_of("s3://data/a[0-9].root") == "/a[0-9].root"
    assert link_of("http://[::1]:80/x") == "http://[::1]:80"
    assert link_of("/x") == "file://"


@given(ADDRESSES | TEXTS)
def test_no_text_raises_anything_but_what_says_what_is_wrong_with_it(address):
    assert isinstance(led_to("https://host.example.org/a/", address), str)
    assert isinstance(service_fault(address), str)
    assert not path_of(address) or path_of(address) in address
    if "://" in address:
        assert address.startswith(link_of(address))
    fault, host = address_fault(address), ""
    with suppress(UnreadableFile):
        host = parts_of(address).hostname or ""
    assert not (fault and host)
