"""The driver and the test file that backends/README.md prints, as modules; and the batch system that they are for."""

from __future__ import annotations

import importlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from vrecompute.sites.model import Environment, Site, SiteStore, Stage

ROOT = Path(__file__).parents[2]
README = ROOT / "backends" / "README.md"
QQ = Path(__file__).parent / "simulated" / "qq"
BLOCK = re.compile(r"^```python\n(# (?:[a-z_]+/)*([a-z_]+)\.py.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> dict[str, str]:
    """Code of the README by the module that its first line names."""
    return {found[2]: found[1] for found in BLOCK.finditer(README.read_text())}


def module(name: str, block: str) -> ModuleType:
    """The code of a block as an importable module, also in processes that get `sys.path`; made once."""
    if name not in sys.modules:
        file = Path(PLACE.name, *name.split(".")).with_suffix(".py")
        file.parent.mkdir(exist_ok=True)
        file.write_text(blocks()[block])
    return importlib.import_module(name)


PLACE = tempfile.TemporaryDirectory(prefix="readme-driver-")
sys.path.insert(0, PLACE.name)
driver = module("my_package.driver", "driver")
suite = module("test_my_driver", "test_my_driver")


def site_of_qq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The README's site with a QQ of its own; what is still in its queue afterwards is ended."""
    folder, home = tmp_path / "bin", tmp_path / "qq"
    for path in (folder, home):
        path.mkdir()
    # its machines share no temporary files with those of another QQ: each job there deletes what the killed ones left
    temporary = tempfile.TemporaryDirectory(prefix="qq-", ignore_cleanup_errors=True)
    own = f"QQ_TMP={temporary.name} QQ_HOME={home} QQ_PATH={folder}:/usr/bin:/bin"
    text = f'#!/bin/sh\n{own} exec {sys.executable} {QQ} "$@"\n'
    (folder / "qq").write_text(text)
    (folder / "qq").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv(
        "HOME", str(tmp_path)
    )  # jobs are killed while they read the user's profile, which may hold locks
    changes = {
        "environment": Environment(venv=sys.prefix, variables={"PATH": f"{folder}:$PATH"}),
        "stage": Stage(scratch=str(tmp_path)),
        "store": SiteStore(url=str(tmp_path / "store")),
    }
    with temporary:
        yield Site(**{**vars(suite.SITE), **changes})
        for job in home.iterdir():
            (job / "cancel").touch()
