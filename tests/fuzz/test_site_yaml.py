"""Any bytes in a site file are a site with its job scripts, or a SiteError; no process is started to find out."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path

from tests.fuzz.engine import Target, fuzz, outcome_of
from vrecompute.batch.contract import Job
from vrecompute.batch.load import load_backend
from vrecompute.errors import SiteError, VrecomputeError
from vrecompute.sites import report
from vrecompute.sites.limits import SiteLimits
from vrecompute.sites.load import read_site

EXAMPLES = sorted((Path(__file__).parents[2] / "site_configs").glob("*.yaml"))
EVERYTHING = """\
schema: 1
name: x
backend: slurm
description: everything
extends: base
access: {ssh: {host: login.example.org, user: me, multiplex: true}}
scheduler_runs: allocation
network: {interface: ib0, tls: true, worker_ports: 10000-10100, scheduler_ports: 8786-8800, compute_outbound: none}
options:
  partition: batch
  account: a
  qos: normal
  reservation: r
  constraint: "a&b"
  cluster: beta
  launcher: srun
  whole_node: true
  array: false
  prefer: rest
  rest_url: http://localhost:6820
  rest_token_file: ~/token
  directives: {add: ["--hint=nomultithread"], drop: [--mem]}
workers: {processes: 4, threads: 2, memory: 8GiB, walltime: 1-12:00:00, nodes: {min: 1, max: 4}, sweet_spot: 3h}
store: {url: "$HOME/runs", trusted_users: [me]}
stage: {scratch: "$SCRATCH/x"}
environment: {modules: [Python], venv: "$HOME/venv", variables: {A: b}}
limits: {max_jobs: 5, core_hours: 10.5, min_poll: 30s}
"""
PIECES = [
    *(
        "2026-13-45",
        "9" * 400,
        "1e400",
        "-1e-400",
        ".nan",
        "-.inf",
        "!!python/object/apply:os.system [x]",
        "!!binary x",
    ),
    *("{[", "[" * 200, "- " * 60, "&a [*a]", "<<: *a", "? [a, b]", "---", "...", "%YAML 1.1", "\t", "\r", "{}", "[]"),
    *(
        '"\\0"',
        '"\\ud800"',
        "\x00",
        "\x07",
        "\ufeff",
        "\ud800",
        "\u2028",
        "é",
        "../../x",
        "a/b",
        "x" * 300,
        "~",
        "null",
    ),
    *("no", "010", "0x1F", "''", "|", ">", "#", "@", "::", "true", "1_000", "-5", "0", "1e9", "99999999999GiB", "0s"),
    *(
        "local",
        "slurm",
        "kubernetes",
        "extends: x",
        "extends: /dev/zero",
        "allocation",
        "client",
        "login",
        "5-1",
        "0-99999999",
    ),
    *("password: hunter2", "$(id)", "`id`", "${HOME", "%", "\n#SBATCH --uid=0\n", "srun", "rest", "pyslurm", "json"),
]


def check(folder: Path, raw: bytes) -> str:
    path = folder / "x.yaml"
    path.write_bytes(raw)
    (checkup,) = report.check_files([path])
    assert isinstance(checkup.as_text(), str)
    json.dumps(checkup.as_json(), allow_nan=False)
    try:
        read, said = read_site(path), ""
    except SiteError as error:
        read, said = None, str(error)
    assert checkup.ok == (read is not None)
    if read is None:
        return outcome_of(SiteError(said))
    assert isinstance(report.show_text(read), str)
    try:
        backend = load_backend(read.site)
        workers = SiteLimits(read.site).workers(None)
        backend.describe(workers)
        backend.script(Job("x", ("true",), workers=workers))
    except VrecomputeError as error:
        return f"{read.site.backend} {outcome_of(error)}"
    return f"{read.site.backend} {len(read.advice)}"


def test_any_bytes_are_a_site_or_a_site_error(tmp_path, monkeypatch):
    def refused(*arguments, **options):
        raise PermissionError(13, "no process is started here")

    monkeypatch.setattr(subprocess, "Popen", refused)
    monkeypatch.setenv("VRECOMPUTE_SITES", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text("schema: 1\nworkers: {threads: 2}\n")
    seeds = [EVERYTHING.encode(), *[path.read_bytes() for path in EXAMPLES]]
    pieces = [piece.encode("utf-8", "surrogatepass") for piece in PIECES]
    fuzz(Target("site", seeds, partial(check, tmp_path), 200, pieces))
