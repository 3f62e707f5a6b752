"""`Accounted`: the driver of backends/README.md with two questions, as of a system with a queue and accounting."""

from __future__ import annotations

from tests.backends.readme_driver import driver
from vrecompute.batch.known import Answer
from vrecompute.batch.parts import read_parts

__all__ = ["Accounted"]

_QUESTIONS = 'tell queue ask qq list "$2"; tell record ask qq list "$2"'


class Accounted(driver.MyBackend):
    def ask_about(self, ids):
        marks, lines, done = self.ask_site(_QUESTIONS, ids)
        if done.code != 0:
            return Answer(marks=marks, instead=done.complaint or f"exit code {done.code}")
        parts, records = read_parts(lines), {}
        for name, part in parts.items():
            for line in part.lines if part.code == 0 else []:
                if found := driver.LINE.fullmatch(line):
                    alive = found[2] in {"WAIT", "RUN"}
                    records |= {found[1]: driver.seen(found)} if alive == (name == "queue") else {}
        silent, instead = parts["record"].code != 0, parts["queue"].problem if parts["queue"].code else ""
        gone = self.gone(frozenset(ids) - set(records), queue=not instead, record=not silent)
        return Answer(records, silent=silent, instead=instead, gone=gone, marks=marks)

    def gone(self, missing, *, queue, record):
        """Ids that nobody knows, where both answered."""
        return missing if queue and record else frozenset()
