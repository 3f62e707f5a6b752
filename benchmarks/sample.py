"""The sample that peers are compared on: made once per size, seed and format, then kept."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal, cast

from vrecompute_analyses.dilepton.generate import GENERATOR_VERSION, generate


def sample_files(directory: Path | None, events: int, seed: int, format: str) -> list[str]:
    """Paths of the files, generated where they are not there yet; `directory` None is the user's cache folder."""
    root = directory if directory is not None else _cache()
    folder = root / f"benchmark-v{GENERATOR_VERSION}-{events}-{seed}-{format}"
    truth = folder / "truth.json"
    files = sorted(folder.glob("*.root"))
    if not (truth.exists() and _whole(json.loads(truth.read_text()), files)):
        chosen = cast(Literal["ttree", "rntuple"], format)
        files = list(generate(folder, events, 1, seed, layout="benchmark", format=chosen).files)
    return [str(path) for path in files]


def _whole(truth: dict[str, Any], files: list[Path]) -> bool:
    return len(files) == truth["files"]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vrecompute" / "benchmarks"
