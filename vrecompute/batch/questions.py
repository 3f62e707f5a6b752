"""`Questions`: what a batch system is asked by its commands, one after another; what it does not say is remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vrecompute.errors import Unavailable
from vrecompute.sites.access import Access, Completed

__all__ = ["Questions"]


class Questions:
    """`run` carries a command out on the site, `complaint` is what one that failed said, on a line.

    `unknown` is what could not be asked, each with the reason, as of a `Survey`.
    """

    def __init__(
        self, access: Access, run: Callable[[Sequence[str]], Completed], complaint: Callable[[Completed], str]
    ) -> None:
        self.access, self._run, self._complaint = access, run, complaint
        self.unknown: list[str] = []

    def needed(self, command: Sequence[str], by: str = "") -> str:
        """What a command says; Unavailable, with its name or `by`, where it fails."""
        done = self._run(command)
        if done.code != 0:
            raise Unavailable(f"{self.access}: {by or command[0]}: {self._complaint(done)}")
        return done.text

    def wanted(self, command: Sequence[str], what: str) -> str:
        """What a command says of `what`; empty where it fails, and then `what` is unknown."""
        try:
            done = self._run(command)
        except Unavailable as error:
            self.unknown.append(f"{what}: {error}")
            return ""
        if done.code != 0:
            self.unknown.append(f"{what}: {self._complaint(done)}")
        return done.text if done.code == 0 else ""
