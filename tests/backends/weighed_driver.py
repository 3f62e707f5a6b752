"""`Weighed`: the driver of backends/README.md with what QQ says of memory, in kB."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.backends.readme_driver import driver

__all__ = ["Weighed"]

_LINE = re.compile(r"([0-9_]+)\|.*\|([0-9]+)\|([0-9]+)")


class Weighed(driver.MyBackend):
    #: What a number of QQ is in bytes, of the memory that a job asked for and of the most that it had.
    limit_unit, peak_unit = 1024, 1024

    def ask_about(self, ids):
        answer = super().ask_about(ids)
        _, lines, _ = self.ask_site('ask qq list --memory "$2"', ids)
        told = {found[1]: found for line in lines if (found := _LINE.fullmatch(line))}
        records = {}
        for i, seen in answer.records.items():
            limit, peak = int(told[i][2]) * self.limit_unit, int(told[i][3]) * self.peak_unit
            status = replace(seen.status, memory_limit_bytes=limit, memory_peak_bytes=peak)
            records[i] = replace(seen, status=status)
        return replace(answer, records=records)
