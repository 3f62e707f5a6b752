"""Whatever is in a store's object, readers give right numbers or name it; where it is forged, they do not go astray."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fuzz.commandline import command
from tests.fuzz.engine import Target, fuzz, outcome_of
from tests.test_tamper import KINDS, Site
from vrecompute.digest import sha256_of
from vrecompute.errors import VrecomputeError
from vrecompute.results.file import read_completeness, read_results
from vrecompute.stores import objects

PIECES = [
    *("null", "[]", "{}", "NaN", "Infinity", "1e400", "9" * 5000, "-1", "true", '"../../x"', '"a/b"', "[" * 3000),
    *(
        '{"a":' * 3000,
        "\0",
        "\ud800",
        "é",
        '"x"',
        "<f8",
        "|O",
        "(1000000000000,)",
        "PK\3\4",
        "PK\1\2",
        "complete",
        "failed",
    ),
]
END_OF_NAME = b"\n"


class Checked:
    """An input is the kind of an object, a line's end, and what is put in its place in the first run."""

    def __init__(self, site: Site, out: Path) -> None:
        self.site, self.out = site, out
        self.paths = {kind: site.objects(site.store, kind)[0] for kind in KINDS}
        self.seeds = [kind.encode() + END_OF_NAME + path.read_bytes() for kind, path in self.paths.items()]

    def __call__(self, data: bytes) -> str:
        kind, _, content = data.partition(END_OF_NAME)
        path = self.paths.get(kind.decode(errors="replace"))
        if path is None:
            kinds = list(self.paths)
            path = self.paths[kinds[len(data) % len(kinds)]]
        original = path.read_bytes()
        try:
            outcome = self.with_content(path, content, forged=False)
            forged = resealed(content)
            return outcome if forged is None else f"{outcome} {self.with_content(path, forged, forged=True)}"
        finally:
            self.put(path, original)

    def put(self, path: Path, content: bytes) -> None:
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        objects._proven.clear()  # an inode is used again within a tick of the clock

    def with_content(self, path: Path, content: bytes, *, forged: bool) -> str:
        self.put(path, content)
        if path.suffix == ".zip":
            self.zip(content)
        outcomes = [
            self.listed(forged=forged),
            *(self.shown(word, forged=forged) for word in ("show", "report", "result")),
        ]
        return " ".join([path.parent.name, *outcomes, self.attached(forged=forged)])

    def zip(self, content: bytes) -> None:
        for read in (read_results, read_completeness):
            with suppress(VrecomputeError):
                read(content)

    def listed(self, *, forged: bool) -> str:
        code, out, _ = command(["runs", "list", "--json", "--store", str(self.site.store)])
        assert code == 0
        found = {row["run"]: row for row in json.loads(out)}
        first, second = (found[run] for run in self.site.runs)
        assert (second["state"], second["trouble"]) == ("complete", "")
        assert forged or first["state"] in {"complete", "interrupted"} or self.site.runs[0] in first["trouble"]
        return first["state"]

    def shown(self, word: str, *, forged: bool) -> str:
        out = ["--out", str(self.out)] if word == "result" else ["--json"]
        code, said, err = command(["runs", word, self.site.runs[0], "--store", str(self.site.store), *out])
        if code and err:
            assert err.startswith("Error: ")
        if word == "report" and code == 0 and not forged:
            assert json.loads(said)["cutflow"] == self.site.cutflow
        if word == "result":
            assert sorted(os.listdir(self.out.parent)) in ([], [self.out.name])
            if code == 0 and not forged:
                assert sha256_of((self.out / "result" / "result.zip").read_bytes()) == self.site.sha256
        return f"{code}"

    def attached(self, *, forged: bool) -> str:
        try:
            run = self.site.client.attach(self.site.runs[0])
            run.progress()
            sha256 = sha256_of(run.result().to_bytes())
            rows = self.site.read(run.tables("muons"))
            run.products()
        except VrecomputeError as error:
            return outcome_of(error)
        assert forged or (sha256, rows) == (self.site.sha256, self.site.rows)
        return "right"


def resealed(content: bytes) -> bytes | None:
    """A document with the sha256 of what is in it now; None for anything else."""
    try:
        document = json.loads(content)
        if not isinstance(document, dict) or document.pop("sha256", None) is None:
            return None
        return json.dumps({**document, "sha256": objects._sha256_of(document)}, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None


@pytest.fixture
def checked(site, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.setenv("MPLBACKEND", "agg")
    return Checked(site, tmp_path / "out" / "result")


def test_readers_give_right_numbers_or_name_the_object(checked):
    pieces = [piece.encode("utf-8", "surrogatepass") for piece in PIECES]
    fuzz(Target("store", checked.seeds, checked, 25, pieces, b","))
