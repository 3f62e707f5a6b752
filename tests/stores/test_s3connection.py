"""What an S3 address and what its service says come to mean, without a service."""

from __future__ import annotations

import json
import sys
import urllib.error
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from botocore import exceptions as boto
from botocore.exceptions import ClientError

from vrecompute.errors import (
    AbsentObject,
    StoreError,
    StoreFull,
    StoreRefused,
    TransientStore,
    UsageError,
)
from vrecompute.stores.address import StoreAddress, open_store, secret_files
from vrecompute.stores.s3connection import S3Connection

ENDPOINT = "https://object.example.org"


def connection(text: str = "") -> S3Connection:
    return S3Connection(StoreAddress.parse(f"s3://runs/prefix?endpoint={ENDPOINT}&credentials=env:VRE_KEYS{text}"))


def answer(status: int, code: str = "", **headers: str) -> ClientError:
    """What boto3 raises for an answer of the service."""
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    return ClientError({"Error": {"Code": code or str(status)}, "ResponseMetadata": metadata}, "PutObject")


@pytest.fixture
def keys(monkeypatch):
    """What the address names."""
    monkeypatch.setenv("VRE_KEYS", "id secret")
    return monkeypatch


@pytest.mark.parametrize(
    ("raised", "kind", "said"),
    [
        (answer(404, "NoSuchKey"), AbsentObject, "no such object"),
        (answer(404, "NoSuchBucket"), StoreRefused, "there is no bucket 'runs' at .*; make it, or correct it"),
        (answer(403, "AccessDenied"), StoreRefused, "permit this to the keys of env:VRE_KEYS.*; ask the owner"),
        (answer(403, "SignatureDoesNotMatch"), StoreRefused, "does not accept the keys of env:VRE_KEYS"),
        (answer(403, "InvalidAccessKeyId"), StoreRefused, "does not accept the keys of env:VRE_KEYS"),
        (answer(400, "ExpiredToken"), StoreRefused, "the token of env:VRE_KEYS at .* has expired: renew it"),
        (RuntimeError("the refreshed credentials are still expired."), StoreRefused, "has expired"),
        (answer(503, "SlowDown"), TransientStore, r"too busy or failed \(503 SlowDown\)"),
        (answer(500, "InternalError"), TransientStore, "500 InternalError"),
        (answer(409, "ConditionalRequestConflict"), TransientStore, "409"),
        (answer(400, "RequestTimeout"), TransientStore, "400 RequestTimeout"),
        (answer(403, "QuotaExceeded"), StoreFull, "no space left"),
        (answer(501, "NotImplemented"), StoreError, "NotImplemented"),
        (answer(400, "InvalidArgument"), StoreError, "refused it: .*InvalidArgument"),
        (boto.EndpointConnectionError(endpoint_url=ENDPOINT), TransientStore, "does not answer"),
        (boto.ReadTimeoutError(endpoint_url=ENDPOINT), TransientStore, "does not answer"),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), TransientStore, "does not answer"),
        (boto.SSLError(endpoint_url=ENDPOINT, error="certificate verify failed"), StoreRefused, "is not trusted here"),
        (boto.SSLError(endpoint_url=ENDPOINT, error="EOF occurred"), TransientStore, "does not answer"),
        (boto.NoCredentialsError(), StoreRefused, "there are no keys for"),
        (boto.ProfileNotFound(profile="x"), StoreRefused, "there are no keys for .*profile"),
    ],
)  # fmt: skip
def test_what_boto3_raises_is_a_sentence_of_its_kind(raised, kind, said):
    with pytest.raises(StoreError, match=said) as told, connection().asking("'x'"):
        raise raised
    assert type(told.value) is kind
    assert str(told.value).startswith("s3://runs/prefix: 'x': ")
    assert told.value.__cause__ is raised


def test_other_exceptions_are_left_as_they_are():
    for error in (ValueError("x"), FileNotFoundError("x"), urllib.error.URLError("x"), StoreFull("x")):
        with pytest.raises(type(error)) as told, connection().asking("'x'"):
            raise error
        assert told.value is error


@pytest.mark.parametrize(("ahead_s", "word"), [(700, "behind"), (-700, "ahead of")])
def test_the_clock_that_is_wrong_is_told_by_how_much(ahead_s, word):
    there = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead_s), usegmt=True)
    with pytest.raises(StoreRefused, match=rf"is (69\d|70\d) s {word} that of"), connection().asking("'x'"):
        raise answer(403, "RequestTimeTooSkewed", date=there)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://runs/x?regio=eu", "no option 'regio'; did you mean 'region'"),
        ("s3:///x", "is no name of a bucket"),
        ("s3://runs/x?endpoint=https://s3.example.org:182029", "the port '182029' is no number from 1 to 65535"),
        ("s3://runs/x?max_mb_per_s=0", "give a number of megabytes a second, 0.1 or more"),
        ("s3://runs/x?max_mb_per_s=nan", "give a number of megabytes a second"),
        ("s3://runs/x?max_mb_per_s=10MB", "give a number of megabytes a second"),
        ("s3://runs/x?role=arn:x&credentials=profile:p", "a role needs a web-identity token"),
        ("s3://runs/x?credentials=key:x", "profile:NAME, file:PATH or env:NAME"),
        ("s3://AKIAIOSFODNN7EXAMPLE/x", "carries a user or a secret"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused_before_anything_is_asked(url, said):
    with pytest.raises(UsageError, match=said):
        open_store(url)


def test_without_encryption_nothing_is_sent_unless_said(keys):
    made = S3Connection(StoreAddress.parse("s3://runs/x?endpoint=http://object.example.org&credentials=env:VRE_KEYS"))
    with pytest.raises(UsageError, match=r"not encrypted.*http=allowed"):
        _ = made.client


def test_without_boto3_it_is_said_what_to_install(keys):
    keys.setitem(sys.modules, "botocore.session", None)
    keys.setitem(sys.modules, "botocore", None)
    with pytest.raises(UsageError, match=r"pip install 'vrecompute\[s3\]'"):
        _ = connection().client


NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("id secret\n", None),
        ("id\nsecret\ntoken", "token"),
        ('{"AccessKeyId": "id", "SecretAccessKey": "secret"}', None),
        (json.dumps({"Credentials": {"AccessKeyId": "id", "SecretAccessKey": "secret", "SessionToken": "token",
                                     "Expiration": (NOW + timedelta(hours=2)).isoformat()}}), "token"),
    ],
)  # fmt: skip
def test_keys_come_in_two_forms(keys, text, token):
    keys.setenv("VRE_KEYS", text)
    found = connection().client._request_signer._credentials.get_frozen_credentials()
    assert (found.access_key, found.secret_key, found.token) == ("id", "secret", token)


@pytest.mark.parametrize("text", ["hunter2", '{"AccessKeyId": "hunter2"}', "{hunter2", '{"Credentials": "hunter2"}'])
def test_what_is_no_key_is_said_and_not_shown(keys, text):
    keys.setenv("VRE_KEYS", text)
    with pytest.raises(StoreRefused, match="neither KEY_ID SECRET_KEY") as told:
        _ = connection().client
    assert "hunter2" not in str(told.value)


def test_keys_that_expire_are_read_anew_and_named_once_they_have(keys):
    def given(name: str, minutes: int) -> None:
        until = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()
        keys.setenv("VRE_KEYS", json.dumps({"AccessKeyId": name, "SecretAccessKey": "s", "Expiration": until}))

    given("first", 12)
    credentials = connection().client._request_signer._credentials
    given("second", 60)
    assert credentials.get_frozen_credentials().access_key == "second"
    given("third", 60)
    assert credentials.get_frozen_credentials().access_key == "second", "it has most of an hour left"
    given("old", -5)
    made = connection()
    with pytest.raises(StoreRefused, match="has expired: renew it"), made.asking("'x'"):
        made.client.get_object(Bucket="runs", Key="x")


def test_a_job_is_brought_what_this_machine_has(keys, tmp_path):
    """By a profile's keys too, under a name that tells nothing; what it is brought it uses."""
    (tmp_path / "credentials").write_text("[vre]\naws_access_key_id = id\naws_secret_access_key = hunter2\n")
    keys.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for credentials, name, secret, content in (
        ("env:VRE_KEYS", "VRE_KEYS", "secret", b"id secret"),
        (
            "profile:vre",
            "store-",
            "hunter2",
            b'{"AccessKeyId": "id", "SecretAccessKey": "hunter2", "SessionToken": null}',
        ),
    ):
        url = f"s3://runs/x?endpoint={ENDPOINT}&credentials={credentials}"
        (brought,) = secret_files(open_store(url)).items()
        assert brought[0].startswith(name)
        assert brought[1] == content
        assert secret_files(open_store(url), read=False) == {brought[0]: b""}
        keys.setenv("VRECOMPUTE_SECRETS", str(tmp_path))
        (tmp_path / brought[0]).write_bytes(brought[1])
        (tmp_path / brought[0]).chmod(0o600)
        with keys.context() as elsewhere:
            elsewhere.delenv("VRE_KEYS")
            elsewhere.delenv("AWS_SHARED_CREDENTIALS_FILE")
            found = S3Connection(StoreAddress.parse(url)).client._request_signer._credentials
            assert found.get_frozen_credentials().secret_key == secret
    assert secret_files(open_store(str(tmp_path))) == {}
