"""A campaign in a folder of its own, on this machine, as tests need it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.events import SUM_ANALYSIS, write_events
from vrecompute.campaign.facts import history, status
from vrecompute.campaign.ledger import Ledger
from vrecompute.campaign.load import CampaignFile, read_campaign
from vrecompute.campaign.sites import Sites
from vrecompute.campaign.tick import TickResult, open_ledger, tick

__all__ = ["CampaignFolder"]

_LONG_ENOUGH_S = 300.0


class CampaignFolder:
    """`sums` over data/*.root: a small real campaign. Its jobs are kept in the folder too."""

    def __init__(self, folder: Path, **keys: Any) -> None:
        self.folder = folder
        (folder / "data").mkdir(parents=True, exist_ok=True)
        (folder / "sums.py").write_text(SUM_ANALYSIS)
        self.file = folder / "campaign.yaml"
        self.keys: dict[str, Any] = {}
        self.write(**keys)

    def write(self, **keys: Any) -> None:
        """Write the campaign file with these keys changed."""
        self.keys |= keys
        document = {
            "schema": 1,
            "name": "lat",
            "ledger": "ledger.sqlite",
            "products": "products",
            "store": "store",
            "datasets": [{"name": "photons", "files": ["data/*.root"], "may_be_empty": True}],
            "analyses": [{"name": "sums.py", "key": "sums"}],
            "workers": 1,
            **self.keys,
        }
        self.file.write_text(yaml.safe_dump({k: v for k, v in document.items() if v is not None}))

    def add(self, *names: str, events: int = 200) -> None:
        """New files, each with its own events."""
        for name in names:
            seed = int(hashlib.sha256(name.encode()).hexdigest()[:6], 16)
            beside = self.folder / f"{name}.part"
            write_events(beside, events, seed, clusters=2)
            beside.replace(self.folder / "data" / f"{name}.root")

    def read(self) -> CampaignFile:
        return read_campaign(self.file)

    def tick(self, wait_s: float = _LONG_ENOUGH_S) -> TickResult:
        """A tick in this process that stays until nothing is under way."""
        return tick(self.read(), wait_s=wait_s)

    def start_tick(self, *options: str) -> subprocess.Popen[str]:
        """A tick of the command line."""
        command = [sys.executable, "-X", "faulthandler", "-m", "vrecompute", "campaign", "tick", str(self.file)]
        return subprocess.Popen(
            [*command, *options], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    @staticmethod
    def end_of(process: subprocess.Popen[str], patience_s: float = 60.0) -> tuple[int, str]:
        """Exit code and output of a tick that was started; of one that hangs, where it is."""
        try:
            said = process.communicate(timeout=patience_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            said = process.communicate()
        return process.returncode, "".join(said)

    def status(self) -> dict[str, Any]:
        file = self.read()
        with self.ledger() as ledger:
            return status(file, ledger)

    def history(self, key: str | None = None) -> list[dict[str, Any]]:
        with self.ledger() as ledger:
            return history(ledger, key)

    def happened(self) -> list[str]:
        return [entry["what"] for entry in self.history()]

    @contextlib.contextmanager
    def ledger(self, *, write: bool = False) -> Iterator[Ledger]:
        """The ledger; of one in the store, its latest snapshot, which is stored again with `write`."""
        file = self.read()
        sites = Sites(file)
        try:
            with open_ledger(file, sites, write=write) as ledger:
                yield ledger
        finally:
            sites.close()

    def do(self, statement: str, *values: object) -> None:
        """Change the ledger as only time or a fault would."""
        with self.ledger(write=True) as ledger:
            ledger.do(statement, values)

    def pass_time(self) -> None:
        """All pauses are over."""
        self.do("UPDATE troubles SET next_try = 0")
        self.do("UPDATE units SET next_try = 0")

    def product(self, unit: str = "sums/photons") -> Path:
        return self.folder / "products" / unit / "current"

    def report(self) -> dict[str, Any]:
        return dict(json.loads((self.product() / "report.json").read_text()))

    def result(self) -> bytes:
        return (self.product() / "result" / "result.zip").read_bytes()
