"""`make_folders`: a folder and what is missing above it, however many that are."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["make_folders"]


def make_folders(folder: Path) -> None:
    """Make `folder` with those above it; one that is there is left alone. Raises OSError.

    As `Path.mkdir` does with `parents`, which calls itself for each of them: a path of a thousand has no end there.
    """
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError:
        missing = [folder]
        for place in folder.parents:
            if os.path.lexists(place):
                break
            missing.append(place)
        for place in reversed(missing):
            place.mkdir(exist_ok=True)
