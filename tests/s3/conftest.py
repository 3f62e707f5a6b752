"""The services of the S3 lab, each of which is one dialect, with a bucket of this session in each."""

from __future__ import annotations

import json
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from ssl import create_default_context
from typing import Any

import pytest

from vrecompute.stores.address import StoreAddress
from vrecompute.stores.s3connection import S3Connection
from vrecompute.stores.s3store import S3Store

CACHE = Path(os.environ.get("VRECOMPUTE_LAB_CACHE", "/var/cache/vrecompute"))
LAB = CACHE / f"s3-{os.environ.get('VRECOMPUTE_LAB', '1')}" / "lab.json"


@dataclass(frozen=True)
class Service:
    """One service, a bucket of it, and a file with keys."""

    endpoint: str
    authority: str
    bucket: str
    keys: Path
    facts: dict[str, str]

    def url(self, prefix: str, **options: str) -> str:
        """The address of a store there."""
        options = {"ca": self.authority, **options}
        endpoint = options.pop("endpoint", self.endpoint)
        place = f"{options.pop('bucket', self.bucket)}/{prefix}"
        credentials = options.pop("credentials", f"file:{self.keys}")
        return str(StoreAddress("s3", place, endpoint, credentials, options))

    def store(self, prefix: str, **options: str) -> S3Store:
        """A store there, as a new process has it."""
        return S3Store(StoreAddress.parse(self.url(prefix, **options)))

    @property
    def client(self) -> Any:
        """boto3's, for what a store has no words for."""
        return S3Connection(StoreAddress.parse(self.url("x"))).client

    def put(self, name: str, data: bytes) -> None:
        """An object of the bucket, as any program makes one."""
        self.client.put_object(Bucket=self.bucket, Key=name, Body=data)


@pytest.fixture(scope="session")
def lab(absent: Callable[[str, str], None]) -> dict[str, Any]:
    """What containers/s3/up wrote, where its services answer."""
    how = (
        "bring it up with containers/s3/up, which needs the Debian packages radosgw, ceph-mon, ceph-osd, ceph-common, "
        "swift-proxy, swift-account, swift-container, swift-object and memcached"
    )
    if not LAB.is_file():
        absent("s3", f"the S3 lab is not running: {how}")
    facts: dict[str, Any] = json.loads(LAB.read_text())
    context = create_default_context(cafile=facts["authority"])
    for name in ("ceph", "swift"):
        try:
            urllib.request.urlopen(facts[name]["endpoint"], context=context, timeout=10).close()
        except urllib.error.HTTPError:  # it answers
            continue
        except OSError as error:
            absent("s3", f"{name} of the S3 lab does not answer ({error}): {how}")
    return facts


@pytest.fixture(scope="session")
def services(lab: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Service]:
    """Both, by name."""
    made = {}
    for name in ("ceph", "swift"):
        keys = tmp_path_factory.mktemp("keys") / name
        keys.touch(mode=0o600)
        keys.write_text(f"{lab[name]['key']}\n{lab[name]['secret']}\n")
        bucket = f"vre-{secrets.token_hex(6)}"
        made[name] = Service(lab[name]["endpoint"], lab["authority"], bucket, keys, lab[name])
        made[name].client.create_bucket(Bucket=bucket)
    return made


@pytest.fixture(scope="session", params=["ceph", "swift"])
def service(request: pytest.FixtureRequest, services: dict[str, Service]) -> Service:
    """One after the other."""
    return services[request.param]


@pytest.fixture
def prefix() -> str:
    """A place of this test's own."""
    return f"runs/{secrets.token_hex(6)}"
