"""Which variations of a histogram are the two directions of one systematic uncertainty."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["NOMINAL", "Systematic", "systematics_of"]

#: The variation that is none.
NOMINAL = "nominal"
# pu_up, puUp, PU_DOWN, MUON_SCALE__1up, jesTotalDown; not `group` or `breakdown`
_DIRECTION = re.compile(r"(?P<name>.*?)_{0,2}1?(?P<way>(?<![a-z])(?:up|down)|Up|Down|UP|DOWN)", re.DOTALL)


@dataclass(frozen=True)
class Systematic:
    """One systematic uncertainty: the variations that move it up and down, None for a direction that is not there."""

    name: str
    up: str | None = None
    down: str | None = None

    @property
    def variations(self) -> tuple[str, ...]:
        """The names of its variations."""
        return tuple(v for v in (self.up, self.down) if v is not None)


def systematics_of(variations: Iterable[str]) -> tuple[list[Systematic], list[str]]:
    """Variations in pairs by their names, `pu_up` and `pu_down`; and those whose names have no direction.

    >>> systematics_of(["nominal", "pu_up", "pu_down", "jesUp", "pdf_0"])
    ([Systematic(name='pu', up='pu_up', down='pu_down'), Systematic(name='jes', up='jesUp', down=None)], ['pdf_0'])
    """
    pairs: dict[str, dict[str, str]] = {}
    others: list[str] = []
    for variation in variations:
        if variation == NOMINAL:
            continue
        match = _DIRECTION.fullmatch(variation)
        if match is None:
            others.append(variation)
            continue
        directions = pairs.setdefault(match["name"] or "variation", {})
        way = match["way"].lower()
        if way in directions:  # pu_up and puUp: two names of one thing are two things
            others.append(variation)
        else:
            directions[way] = variation
    return [Systematic(name, ways.get("up"), ways.get("down")) for name, ways in pairs.items()], others
