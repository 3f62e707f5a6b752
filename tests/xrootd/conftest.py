"""The fixture `lab`: the running XRootD server, and a folder of its own for each module."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.execution.conftest import dask  # noqa: F401  # a fixture


@dataclass(frozen=True)
class Lab:
    """What is in `folder` is at `root` and `https`, which end with a slash."""

    folder: Path
    root: str
    https: str
    authority: str

    @property
    def port(self) -> int:
        """Where it speaks root://."""
        return int(self.root.split(":")[2].partition("/")[0])

    def through(self, port: int) -> str:
        """`root`, by another port."""
        return self.root.replace(f":{self.port}/", f":{port}/")


@pytest.fixture(scope="session")
def running_lab(absent: Callable[[str, str], None]) -> Lab:
    """The lab, or a skip that says how to bring it up."""
    cache = os.environ.get("VRECOMPUTE_LAB_CACHE", "/var/cache/vrecompute")
    facts = Path(cache, f"xrootd-{os.environ.get('VRECOMPUTE_LAB', '1')}", "lab.json")
    try:
        said = json.loads(facts.read_text())
        made = Lab(Path(said["folder"]), said["root"], said["https"], said["authority"])
        import ssl

        with urlopen(made.https, timeout=10, context=ssl.create_default_context(cafile=made.authority)):
            return made
    except OSError:
        absent("xrootd", "the XRootD lab is not running: containers/xrootd/up")
        raise


@pytest.fixture(scope="module")
def lab(running_lab: Lab) -> Iterator[Lab]:
    """The lab with a new folder."""
    name = uuid.uuid4().hex
    folder = running_lab.folder / name
    folder.mkdir()
    folder.chmod(0o755)
    yield Lab(folder, f"{running_lab.root}{name}/", f"{running_lab.https}{name}/", running_lab.authority)
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _trusts(running_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from vrecompute.remote import web

    monkeypatch.setenv("SSL_CERT_FILE", running_lab.authority)
    web._pools.cache_clear()
