"""Any words after `vrecompute` end with an exit code of the README and a message, and write where they were told."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from tests.fuzz.commandline import command
from tests.fuzz.engine import Target, fuzz, outcome_of
from vrecompute import Client
from vrecompute.errors import Unavailable, UsageError
from vrecompute.execution.runner import Runner

DATASET = "schema: 1\nname: d\nsamples:\n  - {name: mc, unit: GeV, is_data: true, files: [data/0.root]}\n"
SLURM = "schema: 1\nname: cluster\nbackend: slurm\nworkers: {memory: 1GiB, walltime: 1h}\nstore: {url: store}\n"
SEEDS = [
    *("--version", "--help", "runs", "runs list --store store --json", "runs list --site cluster --no-ask", "-- --"),
    *("runs show RUN --store store --json", "runs report RUN --store store --json", "runs logs RUN --store store"),
    *(
        "runs result RUN --store store --out out",
        "runs cancel RUN --store store",
        "analyses",
        "analyses dilepton --json",
    ),
    *("runs attach RUN --store store --out out --workers 1 --trust --json", "analyses kept.py", "site list --json"),
    *("site show cluster --json", "site check cluster local.yaml --json", "site check --probe", "site schema --table"),
    "explain kept.py data/0.root data/1.root --store store --workers 2 --tree Events --chunk-bytes 100MB --json",
    "explain dilepton d.yaml::mc -p pt_min_gev=30 -p channel=mumu --allow-duplicates --store new",
    "explain kept.py d.yaml --site cluster --detach --walltime 2h --store new",
    "dataset checksum d.yaml --algorithm adler32 --threads 2 --out c.yaml",
    "dataset checksum data/*.root",
    "run kept.py d.yaml --on-bad skip --max-bad 0.5 --no-reuse --store new --out out --json",
    "run kept.py d.yaml --detach --walltime 04:00:00 --site cluster",
    "work RUN --store store --manifest-sha256 00 --workers 1",
    "warm-cache dilepton --directory out",
    "generate out --events 10 --files 1 --seed 3 --layout atlas --format rntuple --compression lz4",
]
PIECES = [
    *(
        "-",
        "--",
        "-p",
        "-p=",
        "-p x=nan",
        "-h",
        "--jso",
        "--json=1",
        "-1",
        "0",
        "1e400",
        "nan",
        "inf",
        "-inf",
        "9" * 30,
    ),
    *(
        "9" * 5000,
        "١",
        "x" * 300,
        "x" * 5000,
        "é",
        "\ud800",
        "\x1b[31m",
        "\n",
        "\r",
        "'",
        '"',
        "%s",
        "{}",
        "*",
        "[a-",
        "**",
    ),
    *(
        "RUN",
        "2",
        "data",
        "data/0.root",
        "data/none.root",
        "d.yaml",
        "d.yaml::none",
        "d.yaml::",
        "::mc",
        "kept.py",
        "no.py",
    ),
    *(
        "store",
        "new",
        "out",
        "d.yaml/x",
        "/dev/null",
        "/dev/zero",
        "/nonexistent/x",
        "cluster",
        "local",
        "bad.yaml",
        "pipe",
    ),
    *(
        "pt_min_gev=nan",
        "pt_min_gev=1e400",
        "self=1",
        "=",
        "=1",
        "x=",
        "luminosity_ifb=-5",
        "cl=nan",
        "bins=1,2,x",
        "p=é",
    ),
    *(
        "1h30",
        "99999999999h",
        "0s",
        "1KiB",
        "0.5B",
        "1e99GB",
        "-5MB",
        "04:00:00:00",
        "::",
        ".",
        "./",
        "local.yaml",
        "file",
    ),
]
#: Nothing here may reach the network, or places of this machine that are not the test's own.
OUTSIDE = ("://", "..", "~", "$", "ssh")
DEVICES = {"/dev/null", "/dev/zero", "/nonexistent/x"}
PLACES = ("--out", "--store", "--directory")


class Checked:
    """The check, in a folder of its own that is made right again after each input."""

    def __init__(self, folder: Path, run: str) -> None:
        self.folder, self.run = folder, run
        self.files = {path: path.read_bytes() for path in self.mine() if path.is_file()}

    def mine(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.relative_to(self.folder).parts[0] != "store"]

    def __call__(self, data: bytes) -> str:
        words = [word.replace("RUN", self.run) for word in data.decode(errors="surrogateescape").split("\0")]
        parts = [part for word in words for part in word.split("=")]
        if any(mark in part for part in parts for mark in OUTSIDE):
            return "left out"
        if any(part.removeprefix("-p").startswith("/") and part not in DEVICES for part in parts):
            return "left out"
        before = set(self.mine())
        code, out, err = command(words)
        told = {b.split("/")[0] for a, b in pairwise(words) if a in PLACES}
        told |= {word.partition("=")[2].split("/")[0] for word in words if word.startswith(PLACES)}
        if words[:1] == ["new"]:
            names = {word.removesuffix(".py") for word in words[1:]}
            told |= {made.split("/")[0] for name in names for made in (name, f"{name}.py", f"test_{name}.py")}
        after = set(self.mine())
        for path in after - before:
            assert path.relative_to(self.folder).parts[0] in told, (words, path)
        for path, content in self.files.items():
            if not path.exists() or path.read_bytes() != content:
                assert path.relative_to(self.folder).parts[0] in told, (words, path)
                path.write_bytes(content)
        for path in sorted(after - before):
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True)
        return f"{code} {outcome_of(UsageError(err[:200]))}" if code else f"0 {' '.join(words[:2])[:30]} {bool(out)}"


@pytest.fixture
def checked(site, tmp_path, monkeypatch):
    """A folder with data, sites and the store, in which no worker can be started and nothing is compiled."""

    def refused(*arguments, **options):
        raise Unavailable("no worker is started here")

    for name in ("run", "submit", "_carry_out"):
        monkeypatch.setattr(Client, name, refused)
    monkeypatch.setattr(Client, "dask", property(refused))
    monkeypatch.setattr(Runner, "execute", refused)
    monkeypatch.setattr("vrecompute.cli.site.load_backend", refused)
    monkeypatch.setattr("vrecompute.warm.warm", lambda *arguments: [])
    monkeypatch.setattr("vrecompute_analyses.commands._generated", refused)
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "VRECOMPUTE_SITES"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
        (tmp_path / name.lower()).mkdir()
    for number in range(2):
        (tmp_path / "data").mkdir(exist_ok=True)
        shutil.copy(site.place / f"{number}.root", tmp_path / "data")
    for name in ("kept.py", "factor.json"):
        shutil.copy(site.place / name, tmp_path)
    shutil.copytree(site.store, tmp_path / "store")
    for name, text in {
        "d.yaml": DATASET,
        "bad.yaml": "{[",
        "local.yaml": "schema: 1\nname: local\nbackend: local\n",
        "vrecompute_sites/cluster.yaml": SLURM,
        "file": "",
    }.items():
        (tmp_path / name).write_text(text)
    return Checked(tmp_path, site.runs[0])


def test_any_words_end_with_a_known_code_and_a_message(checked):
    seeds = [seed.replace(" ", "\0").encode() for seed in SEEDS]
    pieces = [piece.encode("utf-8", "surrogatepass").replace(b" ", b"\0") for piece in PIECES]
    options = [word.encode() for seed in SEEDS for word in seed.split() if word.startswith("-")]
    fuzz(Target("commandline", seeds, checked, 120, [*pieces, *sorted(set(options))], b"\0"))
