"""A checksum of a dataset file finds what ROOT's format cannot: a byte that changed in a basket without one."""

from __future__ import annotations

import re
import zlib
from hashlib import sha256

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.events import write_events
from vrecompute.cli import cli
from vrecompute.datasets.catalogue import resolve
from vrecompute.errors import CorruptFile, DatasetError, Incomplete
from vrecompute.execution.wholefile import digest_at

WRONG = {"sha256": "0" * 64, "adler32": "0" * 8}


@given(data=st.binary(max_size=3000))
def test_digests_are_those_of_the_whole_content(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "content"
    path.write_bytes(data)
    assert digest_at(str(path), "sha256") == sha256(data).hexdigest()
    assert digest_at(str(path), "adler32") == f"{zlib.adler32(data):08x}"


def described(tmp_path, algorithm="sha256", **file):
    (tmp_path / "d.yaml").write_text(
        yaml.safe_dump({"schema": 1, "samples": [{"name": "s", "files": [{"path": "a.root", **file}]}]})
    )
    return str(tmp_path / "d.yaml")


def invoke(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture(autouse=True)
def _events(tmp_path):
    write_events(tmp_path / "a.root", 100, clusters=2)


@pytest.mark.parametrize("algorithm", ["sha256", "adler32"])
def test_a_damaged_file_is_a_bad_source(run, tmp_path, algorithm):
    made = invoke("dataset", "checksum", tmp_path / "a.root", "--algorithm", algorithm, "--out", tmp_path / "d.yaml")
    assert made.exit_code == 0
    good = run(str(tmp_path / "d.yaml"))
    assert good.status == "complete"
    data = bytearray((tmp_path / "a.root").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "a.root").write_bytes(data)
    bad = run(str(tmp_path / "d.yaml"))
    assert bad.status == "failed"
    found = digest_at(str(tmp_path / "a.root"), algorithm)
    with pytest.raises(Incomplete, match=f"its {algorithm} is {found}, and the dataset says "):
        bad.result()


@pytest.mark.parametrize("algorithm", ["sha256", "adler32"])
def test_a_checksum_that_comes_later_is_compared_before_anything_is_reused(run, tmp_path, algorithm):
    assert run(described(tmp_path)).status == "complete"
    assert run(described(tmp_path, **{algorithm: WRONG[algorithm]})).status == "failed"
    right = digest_at(str(tmp_path / "a.root"), algorithm)
    again = run(described(tmp_path, **{algorithm: right.upper()}))
    assert (again.status, again.report().chunks.reused) == ("complete", again.report().chunks.total)


def test_a_file_is_read_whole_once(run, tmp_path):
    dataset = described(tmp_path, sha256=digest_at(str(tmp_path / "a.root"), "sha256"))
    first = run(dataset)
    kept = [n for n in first.store.names("sources") if n.endswith(".sha256")]
    assert len(kept) == 1
    before = (tmp_path / "store" / kept[0]).stat().st_mtime_ns
    assert run(dataset).status == "complete"
    assert (tmp_path / "store" / kept[0]).stat().st_mtime_ns == before


def test_a_checksum_is_that_of_one_file(tmp_path):
    write_events(tmp_path / "a.root", 10, clusters=1)
    write_events(tmp_path / "b.root", 10, clusters=1)
    text = {"schema": 1, "samples": [{"name": "s", "files": [{"path": "*.root", "sha256": "0" * 64}]}]}
    (tmp_path / "d.yaml").write_text(yaml.safe_dump(text))
    with pytest.raises(DatasetError, match=r"a checksum is that of one file, and \*\.root names 2"):
        resolve(str(tmp_path / "d.yaml"))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("sha256: abc", "expected 64 hexadecimal digits, found 'abc'"),
        ("adler32: 12345678", "expected 8 hexadecimal digits, found 12345678, which is not text: put it into quotes"),
        ("adler32: 1e345678", "expected|number"),
        ("adler32: zzzzzzzz", "expected 8 hexadecimal digits, found 'zzzzzzzz'"),
    ],
)
def test_a_mistake_in_a_checksum_is_named_with_its_place(tmp_path, line, says):
    (tmp_path / "d.yaml").write_text(f"schema: 1\nsamples:\n- name: s\n  files:\n  - path: a.root\n    {line}\n")
    with pytest.raises(DatasetError, match=says) as error:
        resolve(str(tmp_path / "d.yaml"))
    assert re.search(r"d\.yaml:6:\d+", str(error.value))


def test_what_a_dataset_says_is_kept(tmp_path):
    write_events(tmp_path / "a.root", 10, clusters=1)
    given = described(tmp_path, entries=10, tree="Events")
    text = invoke("dataset", "checksum", given).output
    (tmp_path / "again.yaml").write_text(text)
    found, same = resolve(given), resolve(str(tmp_path / "again.yaml"))
    assert found.samples == same.samples
    assert [(s.path, s.entries, s.tree) for s in found.sources] == [(s.path, s.entries, s.tree) for s in same.sources]
    assert same.sources[0].checksum == f"sha256:{digest_at(str(tmp_path / 'a.root'), 'sha256')}"


def test_a_file_that_is_not_what_the_dataset_says_is_not_given_a_new_checksum(tmp_path):
    write_events(tmp_path / "a.root", 10, clusters=1)
    given = described(tmp_path, adler32="00000000")
    done = CliRunner().invoke(cli, ["dataset", "checksum", given])
    assert done.exit_code != 0
    assert "its adler32 is" in " ".join(done.output.split())
    assert "sha256" not in done.output


@pytest.mark.parametrize("content", [b"", b"import os\n", None])
def test_what_is_no_whole_root_file_gets_no_checksum(tmp_path, content):
    whole = (tmp_path / "a.root").read_bytes()
    (tmp_path / "b.root").write_bytes(whole[: len(whole) // 2] if content is None else content)
    done = CliRunner().invoke(cli, ["dataset", "checksum", str(tmp_path / "b.root"), "--out", str(tmp_path / "d.yaml")])
    assert done.exit_code == CorruptFile.exit_code
    assert "b.root: is " in done.output
    assert not (tmp_path / "d.yaml").exists()


@given(digits=st.from_regex(r"[0-9a-f]{8}", fullmatch=True))
def test_digits_that_look_like_a_number_stay_digits(tmp_path_factory, digits):
    from vrecompute.cli.dataset import _Digits, _dumper
    from vrecompute.datasets.dataset_file import parse_dataset

    entry = {"path": "a", "adler32": _Digits(digits)}
    text = yaml.dump({"schema": 1, "samples": [{"name": "s", "files": [entry]}]}, Dumper=_dumper())
    assert parse_dataset(text.encode(), "d.yaml").samples[0].files[0].checksum == f"adler32:{digits}"
