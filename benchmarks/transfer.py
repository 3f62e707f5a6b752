"""`python -m benchmarks.transfer --lab LAB.JSON`: files to a bucket and back, beside other tools.

The service is the one of the S3 lab (https at loopback); LAB.JSON is what `containers/s3/up` wrote. Each tool is a
whole process, its start included: wall and CPU seconds and most memory are those that the kernel counted for it. First
what came back must be what went; rounds are interleaved, ratios are taken within a round, peer over vrecompute.
A tool that is not installed is reported absent.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import machine

LIBRARIES = ("vrecompute", "boto3", "obstore")
TOOLS = ("s5cmd", "rclone")
TASKS = {"large": (1, 1 << 30), "small": (1000, 100_000)}
TARGETS = {"s5cmd large": "wall ratio >= 1", "obstore small": "wall ratio >= 1 / 1.5", "vrecompute memory_mb": 150}


@dataclass(frozen=True)
class Service:
    """Where to, by environment: what every tool reads."""

    endpoint: str
    authority: str
    key: str
    secret: str
    bucket: str

    @staticmethod
    def of_lab(path: Path) -> Service:
        """The gateway of Ceph, with a new bucket."""
        lab = json.loads(path.read_text())
        ceph = lab["ceph"]
        service = Service(ceph["endpoint"], lab["authority"], ceph["key"], ceph["secret"], f"b-{secrets.token_hex(6)}")
        service.client().create_bucket(Bucket=service.bucket)
        return service

    def client(self) -> Any:
        """boto3's, for what is no part of the contest."""
        import boto3

        keys = {"aws_access_key_id": self.key, "aws_secret_access_key": self.secret}
        return boto3.client("s3", endpoint_url=self.endpoint, verify=self.authority, region_name="us-east-1", **keys)

    def environment(self, files: list[str]) -> dict[str, str]:
        """Endpoint, keys and certificates under the names by which the tools know them."""
        return {
            **os.environ,
            "AWS_ENDPOINT_URL": self.endpoint,
            "S3_ENDPOINT_URL": self.endpoint,
            "AWS_CA_BUNDLE": self.authority,
            "SSL_CERT_FILE": self.authority,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            # Ceph's gateway refuses boto3's checksums at the end of a body
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
            "TRANSFER_BUCKET": self.bucket,
            "TRANSFER_FILES": ",".join(files),
        }


def main(arguments: Iterable[str] | None = None) -> int:
    """Measure and report; 1 where a tool brought back other bytes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer", description=__doc__)
    parser.add_argument("--lab", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(None if arguments is None else list(arguments))
    service = Service.of_lab(options.lab)
    report: dict[str, Any] = {"benchmark": "transfer", "machine": machine(), "targets": TARGETS, "tasks": {}}
    right = True
    for task in options.tasks:
        report["tasks"][task], same = measure(service, task, options.rounds)
        right = right and same
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report["tasks"], indent=2))
    return 0 if right else 1


def measure(service: Service, task: str, rounds: int) -> tuple[dict[str, Any], bool]:
    """Figures of each tool, up and down, and whether all bytes came back."""
    count, size = TASKS[task]
    peers = [*LIBRARIES, *(tool for tool in TOOLS if shutil.which(tool))]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.mkdir()
        files = [f"{index:04}.bin" for index in range(count)]
        for name in files:
            _fill(source / name, size)
        expected = _digest(source, files)
        figures: dict[str, dict[str, list[dict[str, float]]]] = {p: {"up": [], "down": []} for p in peers}
        right = True
        for number in range(rounds):
            for peer in peers:
                prefix, back = f"{task}-{number}-{peer}", Path(folder) / "back"
                figures[peer]["up"].append(_timed(service, peer, "up", source, prefix, files))
                back.mkdir()
                figures[peer]["down"].append(_timed(service, peer, "down", back, prefix, files))
                if _digest(back, files) != expected:
                    print(f"{peer}: other bytes came back", file=sys.stderr)
                    right = False
                shutil.rmtree(back)
                _empty(service, prefix)
    return {way: _ratios(figures, way) for way in ("up", "down")} | {"absent": _absent(peers)}, right


def _absent(peers: list[str]) -> list[str]:
    return [tool for tool in (*LIBRARIES, *TOOLS) if tool not in peers]


def _command(service: Service, peer: str, way: str, folder: Path, prefix: str) -> list[str]:
    """How a tool is told to move a folder's files."""
    place = f"{service.bucket}/{prefix}"
    if peer == "s5cmd":
        return [peer, "cp", *([f"{folder}/", f"s3://{place}/"] if way == "up" else [f"s3://{place}/*", f"{folder}/"])]
    if peer == "rclone":
        remote = f":s3,provider=Ceph,env_auth=true,endpoint='{service.endpoint}':{place}"
        both = [str(folder), remote] if way == "up" else [remote, str(folder)]
        return [peer, "copy", "--config", "/dev/null", "--ca-cert", service.authority, *both]
    return [sys.executable, "-m", "benchmarks.transferring", peer, way, str(folder), prefix]


def _timed(service: Service, peer: str, way: str, folder: Path, prefix: str, files: list[str]) -> dict[str, float]:
    """Wall and CPU seconds and peak megabytes of one process."""
    command = _command(service, peer, way, folder, prefix)
    began = time.monotonic()
    environment = service.environment(files)
    if peer == "rclone":
        del environment["AWS_CA_BUNDLE"]  # it takes certificates by its own option, and fails on this one
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}")
    print(f"{prefix} {way}: {wall:.2f} s", file=sys.stderr)
    return {"wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime, "memory_mb": usage.ru_maxrss / 1e3}


def _ratios(figures: dict[str, dict[str, list[dict[str, float]]]], way: str) -> dict[str, Any]:
    """Medians of each tool, and of its ratios to vrecompute within a round with smallest and largest."""
    ours = figures["vrecompute"][way]
    table: dict[str, Any] = {}
    for peer, of in figures.items():
        row: dict[str, Any] = {kind: statistics.median(one[kind] for one in of[way]) for kind in ours[0]}
        for kind in ("wall_s", "cpu_s"):
            found = [theirs[kind] / our[kind] for theirs, our in zip(of[way], ours, strict=True)]
            row[f"{kind[:-2]}_ratio"] = [min(found), statistics.median(found), max(found)]
        table[peer] = row
    return table


def _fill(path: Path, size: int) -> None:
    """Random bytes, in pieces: a child begins with the most memory that its parent ever took."""
    with path.open("wb") as file:
        for start in range(0, size, 1 << 20):
            file.write(os.urandom(min(1 << 20, size - start)))


def _digest(folder: Path, files: list[str]) -> str:
    digest = hashlib.sha256()
    for name in files:
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _empty(service: Service, prefix: str) -> None:
    client = service.client()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=service.bucket, Prefix=f"{prefix}/"):
        client.delete_objects(Bucket=service.bucket, Delete={"Objects": [{"Key": k["Key"]} for k in page["Contents"]]})


if __name__ == "__main__":
    sys.exit(main())
