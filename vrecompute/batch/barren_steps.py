"""How often the workers of an allocation ended: told by what starts them, judged by the command beside them.

The one knows how they ended and what they wrote last, the other whether one of them ever connected. They share a file
in the temporary folder of the job, which a variable names.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from distributed import Client as DaskClient

from vrecompute.batch.post_mortem import last_lines
from vrecompute.records import json_of
from vrecompute.workers.dask_hooks import workers_of

__all__ = ["BARREN", "BarrenSteps", "NoWorkerComes"]

#: The variable that names the file.
BARREN = "VRECOMPUTE_WORKERS_ENDED"
# As of a live run's jobs: workers that ended this often before one connected would do so for ever.
_HOPELESS = 3


class BarrenSteps:
    """What their starter tells, in the file `path`: how many ended by now, how the last did, and what it wrote last."""

    def __init__(self, path: Path) -> None:
        self.path, self._ends = path, 0

    def ended(self, code: int, said: Sequence[str]) -> None:
        """One more ended with that exit code, and wrote these lines last."""
        self._ends += 1
        part = self.path.with_suffix(".part")
        with contextlib.suppress(OSError):  # there may be no room; then it is in the log alone
            part.write_text(json.dumps({"ends": self._ends, "code": code, "said": last_lines(said)}))
            part.rename(self.path)


class NoWorkerComes:
    """Whether one would ever come, as a program beside them sees it whose Dask client is given."""

    def __init__(self, dask: DaskClient) -> None:
        self._dask = dask
        self._path = Path(os.environ.get(BARREN, os.devnull))
        self._came = False

    def why(self) -> str:
        """Why none will, empty while one may: also where one ever was connected."""
        self._came = self._came or bool(workers_of(self._dask))
        if self._came or not self._path.is_file():
            return ""
        try:
            told = json_of(self._path.read_bytes())
            ends, code, said = int(told["ends"]), int(told["code"]), str(told["said"])
        except (OSError, ValueError, LookupError, TypeError):
            return ""
        if ends < _HOPELESS:
            return ""
        return (
            f"no worker starts: the workers of this job ended {ends} times before one connected, the last with exit "
            f"code {code}. Their log ends: {said}. Mend what it names in the file of the site; "
            "`vrecompute site check --probe` tries each part of it"
        )
