"""Addresses name where a secret is; a secret in one is refused, unseen."""

from __future__ import annotations

import pytest

from vrecompute import Client
from vrecompute.errors import StoreError, UsageError
from vrecompute.sites.model import Credentials
from vrecompute.stores import address
from vrecompute.stores.address import StoreAddress, open_store
from vrecompute.stores.directory import DirStore

SITE = "s3://runs/prefix", "https://object.example.org:8443/x y", Credentials(env="VRE_KEY")


def test_an_address_is_one_text_from_which_any_process_makes_it_again():
    made = StoreAddress.of(*SITE)
    assert StoreAddress.parse(str(made)) == made
    assert (made.scheme, made.place, made.endpoint, made.credentials) == ("s3", "runs/prefix", SITE[1], "env:VRE_KEY")
    assert str(StoreAddress.of("s3://runs", None, None)) == "s3://runs"


@pytest.mark.parametrize(
    "url",
    [
        "s3://user:hunter2@host/bucket",
        "s3://hunter2@host/bucket",
        "s3://bucket/x?X-Amz-Signature=hunter2",
        "s3://bucket/x?AWSAccessKeyId=a&Signature=hunter2",
        "s3://bucket?endpoint=https://user:hunter2@host",
        "file://user:hunter2@host/folder",
    ],
)
def test_an_address_with_a_password_is_refused_and_not_shown(url, tmp_path):
    for ask in (lambda: open_store(url), lambda: Client(store=url).store):
        with pytest.raises(UsageError, match="credentials=profile:NAME") as refused:
            ask()
        assert "hunter2" not in str(refused.value)


def test_a_secret_is_found_by_its_reference_and_anew_each_time(monkeypatch, tmp_path):
    by_name, file = StoreAddress("s3", "runs", credentials="env:VRE_KEY"), tmp_path / "key"
    by_path = StoreAddress("s3", "runs", credentials=f"file:{file}")
    monkeypatch.delenv("VRE_KEY", raising=False)
    with pytest.raises(StoreError, match="neither variable VRE_KEY is set"):
        by_name.secret()
    monkeypatch.setenv("VRECOMPUTE_SECRETS", str(tmp_path))
    (tmp_path / "VRE_KEY").write_text("delivered\n")
    (tmp_path / "VRE_KEY").chmod(0o600)
    assert by_name.secret() == "delivered"
    monkeypatch.setenv("VRE_KEY", "set")
    assert by_name.secret() == "set"
    with pytest.raises(StoreError, match=f"the secret file {file} cannot be read: No such file"):
        by_path.secret()
    for word in ("first", "second"):
        file.write_text(word)
        file.chmod(0o600)
        assert by_path.secret() == word
    file.chmod(0o640)
    with pytest.raises(StoreError, match="other users can read the secret file"):
        by_path.secret()
    assert "second" not in repr(by_path) + str(by_path)


def test_a_store_of_a_scheme_is_opened_once_in_a_process(monkeypatch, tmp_path):
    opened: list[StoreAddress] = []
    monkeypatch.setitem(address.SCHEMES, "once", lambda given: opened.append(given) or DirStore(tmp_path))
    assert open_store("once://a?endpoint=https://e") is open_store("once://a?endpoint=https://e")
    assert opened == [StoreAddress("once", "a", "https://e")]
    said = (
        r"no store of the scheme 'ftp' is installed here, but of .*once.*s3.*; give one of these or a folder\. A "
        r"package registers its own as entry point 'ftp' of the group 'vrecompute\.stores'"
    )
    with pytest.raises(UsageError, match=said):
        open_store("ftp://host/x")
