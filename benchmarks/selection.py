"""`python -m benchmarks.selection`: CPU seconds per million events of every peer on one task, on one core.

First every peer runs once and all histogram numbers and cutflows are compared: no time is printed unless they agree.
Then peers take turns, round by round, each in a process of its own where everything is imported and compiled.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import task
from benchmarks.machine import machine
from benchmarks.peerprocess import Absent, PeerProcess
from benchmarks.sample import sample_files
from benchmarks.task import Outcome, differences

# name -> (module, style, format of the file, threads)
RUNS: dict[str, tuple[str, str, str, int]] = {
    "vrecompute": ("vrecompute", "usual", "ttree", 1),
    "vrecompute_2_threads": ("vrecompute", "usual", "ttree", 2),
    "vrecompute_rntuple": ("vrecompute", "usual", "rntuple", 1),
    "coffea": ("coffea", "usual", "ttree", 1),
    "coffea_tuned": ("coffea", "tuned", "ttree", 1),
    "uproot_awkward": ("uproot_awkward", "usual", "ttree", 1),
    "uproot_awkward_tuned": ("uproot_awkward", "tuned", "ttree", 1),
    "rdataframe": ("rdataframe", "usual", "ttree", 1),
    "rdataframe_tuned": ("rdataframe", "tuned", "ttree", 1),
    "rdataframe_rntuple": ("rdataframe", "usual", "rntuple", 1),
    "rdataframe_rntuple_tuned": ("rdataframe", "tuned", "rntuple", 1),
    "decompression": ("decompression", "usual", "ttree", 1),
}
REFERENCE = "uproot_awkward"
# Chunk sizes tried for the peers that have one; each keeps its best.
CHUNK_EVENTS = (100_000, 250_000, 500_000, 1_000_000)
CHUNKED = frozenset({"coffea", "uproot_awkward"})
# The targets (ratios of CPU, of wall time for threads), from the study the project started with.
TARGETS = {
    "coffea": 10.0,
    "uproot_awkward": 9.0,
    "rdataframe": 8.0,
    "decompression": 1.6,
    "rdataframe_rntuple": 4.0,
    "threads": 1.7,
}


def main(arguments: Iterable[str] | None = None) -> int:
    """Run and report; 0 where all peers agree, 1 where they do not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.selection", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--directory", type=Path, help="keep samples here (default: the user's cache folder)")
    parser.add_argument("--peers", help=f"comma-separated, of: {', '.join(RUNS)} (default: all)")
    parser.add_argument("--root-python", default=os.environ.get("VRECOMPUTE_ROOT_PYTHON", sys.executable))
    options = parser.parse_args(None if arguments is None else list(arguments))
    wanted = options.peers.split(",") if options.peers else list(RUNS)
    unknown = [name for name in wanted if name not in RUNS]
    if unknown:
        parser.error(f"no peer {unknown[0]!r}: choose of {', '.join(RUNS)}")

    files = {
        format: sample_files(options.directory, options.events, options.seed, format)
        for format in sorted({RUNS[name][2] for name in wanted})
    }
    report = measure(wanted, files, options.events, options.rounds, options.root_python)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    print(describe(report))
    return 0 if report["identical"] else 1


def measure(
    wanted: list[str], files: dict[str, list[str]], events: int, rounds: int, root_python: str = sys.executable
) -> dict[str, Any]:
    """The report of all `wanted` runs as plain data; times are in it only where all outcomes are identical."""
    started: dict[str, PeerProcess | Absent] = {}
    for module in dict.fromkeys(RUNS[name][0] for name in wanted):
        try:
            started[module] = PeerProcess(module, root_python if module == "rdataframe" else sys.executable)
        except Absent as reason:
            started[module] = reason
    peers: dict[str, PeerProcess] = {}
    absent: dict[str, str] = {}
    for name in wanted:
        peer = started[RUNS[name][0]]
        if isinstance(peer, Absent):
            absent[name] = str(peer)
        else:
            peers[name] = peer
    try:
        chunk_events, said = _agree(peers, files, absent)
        report: dict[str, Any] = {
            "schema": 1,
            "identical": not said and "vrecompute" in peers and len(peers) > 1,
            "differences": said,
            "events": events,
            "rounds": rounds,
            "absent": absent,
            "machine": machine(),
        }
        if report["identical"]:
            spent = _rounds(peers, files, chunk_events, rounds)
            report |= _figures(peers, spent, chunk_events, events)
        return report
    finally:
        for peer in started.values():
            if isinstance(peer, PeerProcess):
                peer.close()


def _agree(
    peers: dict[str, PeerProcess], files: dict[str, list[str]], absent: dict[str, str]
) -> tuple[dict[str, int], list[str]]:
    """The best chunk size of each peer, and what they disagree about. Doubles as warm-up; who fails is absent."""
    outcomes: dict[str, Outcome] = {}
    best: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in list(peers):
            sizes = CHUNK_EVENTS if RUNS[name][0] in CHUNKED else CHUNK_EVENTS[-1:]
            saved = Path(folder) / f"{name}.npz"
            try:
                _run(peers[name], name, files, sizes[0], saved)
                cpu_s = {size: _run(peers[name], name, files, size)["cpu_s"] for size in sizes}
            except Absent as reason:
                absent[name] = str(reason)
                del peers[name]
                continue
            best[name] = min(cpu_s, key=lambda size: cpu_s[size])
            if saved.exists():
                outcomes[name] = Outcome.load(saved)
    if not outcomes:
        return best, ["no peer has run"]
    reference = REFERENCE if REFERENCE in outcomes else next(iter(outcomes))
    said = [s for name, found in outcomes.items() for s in differences(name, found, outcomes[reference])]
    return best, said


def _rounds(
    peers: dict[str, PeerProcess], files: dict[str, list[str]], chunk_events: dict[str, int], rounds: int
) -> dict[str, list[dict[str, float]]]:
    spent: dict[str, list[dict[str, float]]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, peer in peers.items():
            spent[name].append(_run(peer, name, files, chunk_events[name]))
    return spent


def _run(
    peer: PeerProcess, name: str, files: dict[str, list[str]], chunk_events: int, save: Path | None = None
) -> dict[str, float]:
    _, style, format, threads = RUNS[name]
    return peer.run(files[format], chunk_events=chunk_events, threads=threads, style=style, save=save)


def _figures(
    peers: dict[str, PeerProcess],
    spent: dict[str, list[dict[str, float]]],
    chunk_events: dict[str, int],
    events: int,
) -> dict[str, Any]:
    per_mev = 1e6 / events

    def ratio(above: str, below: str, clock: str = "cpu_s") -> dict[str, float] | None:
        """Round by round, so that what slows the machine slows both."""
        if above not in spent or below not in spent:
            return None
        values = [a[clock] / b[clock] for a, b in zip(spent[above], spent[below], strict=True)]
        return {"median": median(values), "low": min(values), "high": max(values)}

    ours = "vrecompute"
    ratios = {
        "coffea": ratio("coffea", ours),
        "uproot_awkward": ratio("uproot_awkward", ours),
        "rdataframe": ratio("rdataframe", ours),
        "decompression": ratio(ours, "decompression"),
        "coffea_tuned": ratio("coffea_tuned", ours),
        "uproot_awkward_tuned": ratio("uproot_awkward_tuned", ours),
        "rdataframe_tuned": ratio("rdataframe_tuned", ours),
        "rdataframe_rntuple": ratio("rdataframe_rntuple", "vrecompute_rntuple"),
        "rdataframe_rntuple_tuned": ratio("rdataframe_rntuple_tuned", "vrecompute_rntuple"),
        "threads": ratio(ours, "vrecompute_2_threads", "wall_s"),
    }
    return {
        "ratios": {name: r["median"] if r else None for name, r in ratios.items()},
        "ratio_spread": {name: [r["low"], r["high"]] for name, r in ratios.items() if r},
        "targets": TARGETS,
        "peers": {
            name: {
                "version": peers[name].version,
                "style": RUNS[name][1],
                "format": RUNS[name][2],
                "threads": RUNS[name][3],
                "chunk_events": chunk_events[name] if RUNS[name][0] in CHUNKED else None,
                "cpu_s_per_mev": _spread(r["cpu_s"] * per_mev for r in runs),
                "wall_s_per_mev": _spread(r["wall_s"] * per_mev for r in runs),
            }
            for name, runs in spent.items()
        },
    }


def _spread(values: Iterable[float]) -> dict[str, float]:
    kept = list(values)
    return {"median": median(kept), "low": min(kept), "high": max(kept)}


def describe(report: dict[str, Any]) -> str:
    """The report in words: differences where there are any, else times and ratios."""
    lines = [f"absent: {name}: {reason}" for name, reason in report["absent"].items()]
    if not report["identical"]:
        return "\n".join([*lines, "NOT identical; no times:", *report["differences"]])
    numbers = sum(len(v) for v in task.VARIATIONS.values()) * task.BINS * 2
    lines.append(f"identical: the cutflow and all {numbers} histogram numbers of every peer, {report['events']} events")
    for name, peer in report["peers"].items():
        cpu = peer["cpu_s_per_mev"]
        lines.append(f"{name:26} {cpu['median']:7.3f} CPU s/Mev  [{cpu['low']:.3f}, {cpu['high']:.3f}]")
    for name, value in report["ratios"].items():
        if value is not None:
            low, high = report["ratio_spread"][name]
            target = f"  target {report['targets'][name]:g}" if name in report["targets"] else ""
            lines.append(f"ratio {name:26} {value:6.2f}  [{low:.2f}, {high:.2f}]{target}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
