"""`python -m benchmarks.table FILE.json ...`: the figures of other benchmarks as Markdown, printed or put into a file.

`--into README.md` replaces what stands between the lines `<!-- figures -->` and `<!-- end of figures -->`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
_NAMES = {
    "vrecompute": "vrecompute",
    "vrecompute_2_threads": "vrecompute, 2 threads",
    "vrecompute_rntuple": "vrecompute, RNTuple",
    "coffea": "coffea NanoEvents",
    "uproot_awkward": "uproot + awkward",
    "rdataframe": "ROOT RDataFrame + Vary, -O3",
    "rdataframe_rntuple": "ROOT RDataFrame + Vary, -O3, RNTuple",
    "decompression": "decompression alone (the floor)",
}
_FIGURES = {
    "scheduler_us_per_chunk": "scheduler CPU per chunk (µs)",
    "client_us_per_chunk": "client CPU per chunk (µs)",
    "plan_s": "building the plan (s)",
    "first_result_s": "first result after (s)",
    "wall_s": "the whole run (s)",
    "efficiency": "share of the time that all threads work",
    "scheduler_growth_mb": "memory growth of the scheduler (MB)",
    "client_growth_mb": "memory growth of the client (MB)",
    "client_mb": "memory of the client (MB)",
    "uncached_cpu_s": "first result of a fresh worker, nothing cached (CPU s)",
    "warm_cpu_s": "first result of a fresh worker, compiled loops cached (CPU s)",
    "warm_wall_s": "the same (wall s)",
    "imports_cpu_s": "of these, imports (CPU s)",
    "bare_wall_s": "bare loop: reader and kernels in as many processes (s)",
    "product_wall_s": "the same chunks through the product (s)",
    "bare_cpu_s": "bare loop (CPU s)",
    "product_cpu_s": "workers of the product (CPU s)",
    "ratio": "product over bare loop, wall time",
    "cpu_ratio": "product over bare loop, CPU time of workers",
    "client_cpu_s": "client, scheduler, `finish` and report beside them (CPU s)",
    "startup_s": "starting workers (s)",
    "preflight_s": "preflight (s)",
    "finish_s": "`finish`: fits and limits (s)",
    "report_and_figures_s": "report and figures (s)",
}


def main(arguments: Iterable[str] | None = None) -> int:
    """Print or insert; 1 where a report has no times because peers disagreed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__)
    parser.add_argument("reports", type=Path, nargs="+")
    parser.add_argument("--into", type=Path)
    options = parser.parse_args(None if arguments is None else list(arguments))
    reports = [json.loads(path.read_text()) for path in options.reports]
    if any(report.get("identical") is False for report in reports):
        print("peers disagreed in one of these reports: there are no times to show", file=sys.stderr)
        return 1
    text = "\n".join(markdown(report) for report in reports)
    if options.into is None:
        print(text)
        return 0
    whole = options.into.read_text()
    if whole.count(BEGIN) != 1 or whole.count(END) != 1:
        parser.error(f"{options.into} must have one line {BEGIN} and one line {END}")
    before, _, rest = whole.partition(BEGIN)
    options.into.write_text(f"{before}{BEGIN}\n{text}{END}{rest.partition(END)[2]}")
    return 0


def markdown(report: dict[str, Any]) -> str:
    """One report as a table, ended by a line on where it was measured."""
    lines = _peers(report) if "peers" in report else _figures(report)
    where = report["machine"]
    size = f"{report['events']} events" if "events" in report else ""
    size = f"{report['chunks']} chunks" if "chunks" in report else size
    facts = [size, f"{where['cpu']}, {where['cores']} cores", f"Python {where['python']}"]
    return "\n".join([*lines, "", f"({'; '.join(fact for fact in facts if fact)})", ""])


def _peers(report: dict[str, Any]) -> list[str]:
    ratios = report["ratios"]
    lines = ["| who | CPU s / Mev | spread | ratio |", "|---|---|---|---|"]
    for name, peer in report["peers"].items():
        label = _NAMES.get(name) or f"{_NAMES[name.removesuffix('_tuned')]}, tuned by hand"
        if peer["chunk_events"]:
            label += f", chunks of {peer['chunk_events'] // 1000}k"
        cpu = peer["cpu_s_per_mev"]
        ratio = ratios.get(name)
        shown = "" if ratio is None else f"{1 / ratio:.2f}" if name == "decompression" else f"{ratio:.1f}"
        shown = "1" if name == "vrecompute" else shown
        lines.append(
            f"| {label} ({peer['version']}) | {cpu['median']:.3f} | {cpu['low']:.3f}-{cpu['high']:.3f} | {shown} |"
        )
    lines += [f"| {name} | absent: {reason} | | |" for name, reason in report["absent"].items()]
    if ratios.get("threads"):
        lines += ["", f"Two threads against one: {ratios['threads']:.2f} times as fast (wall time)."]
    return lines


def _figures(report: dict[str, Any]) -> list[str]:
    lines = ["| what | measured | target |", "|---|---|---|"]
    for name, value in report["figures"].items():
        if name not in _FIGURES:
            continue  # spreads, and stages that are part of others
        target = report["targets"].get(name)
        lines.append(f"| {_FIGURES[name]} | {value:.3g} | {'' if target is None else f'{target:g}'} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
