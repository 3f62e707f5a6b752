"""`first_that_gives`: a source from the first of its addresses that gives it, and what the report says of the others.

A replica is left for the next where it cannot be read, also after retries, is damaged, or is another file; what is
wrong with the file itself, such as a column that it lacks, is so at every address.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from vrecompute import reader
from vrecompute.errors import BadInput
from vrecompute.retries import another_left

__all__ = [
    "ReplicaNotes",
    "first_that_gives",
    "gave_last",
    "note_elsewhere",
    "note_replicas",
    "read_somewhere",
    "replica_notes",
]

_T = TypeVar("_T")


@dataclass
class ReplicaNotes:
    """What a thread read elsewhere than at first addresses: sentences for the report.

    `origins` are what each address that was read since they were cleared was before, empty for a first address.
    """

    told: dict[str, None] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)


_noted: ContextVar[ReplicaNotes | None] = ContextVar("replicas", default=None)
# Of sources with replicas, in this process: which address gave last, and why not the first.
_gave: dict[tuple[str, ...], tuple[int, str]] = {}
_MOST_KNOWN = 10_000


def note_replicas() -> ReplicaNotes:
    """Notes that this thread adds to from now on."""
    notes = ReplicaNotes()
    _noted.set(notes)
    return notes


def replica_notes() -> ReplicaNotes:
    """Those that this thread adds to."""
    return _noted.get() or note_replicas()


def first_that_gives(addresses: Sequence[str], call: Callable[[str], _T], begin: int = 0) -> tuple[_T, int, str]:
    """What `call` gives of an address, the number of it, and why the ones before do not; from number `begin` round.

    Raises the BadInput of the first address tried, which tells of all.
    """
    failed: list[BadInput] = []
    for step in range(len(addresses)):
        number = (begin + step) % len(addresses)
        try:
            with another_left(left=step + 1 < len(addresses)):
                return call(addresses[number]), number, "; ".join(map(str, failed))
        except BadInput as error:
            if error.scope == "file" or len(addresses) == 1:
                raise
            failed.append(error)
    told = [error.reason if error.file == addresses[0] else str(error) for error in failed]
    raise type(failed[0])(addresses[0], f"{'; '.join(told)}; no replica is left") from failed[0]


def note_elsewhere(addresses: Sequence[str], number: int, why: str) -> None:
    """Note that the address of this number, where it is not the first, was read, and why."""
    if number and (notes := _noted.get()) is not None:
        notes.told[f"{addresses[number]} was read for {addresses[0]}: {why}"] = None


def gave_last(addresses: Sequence[str]) -> str:
    """The address that `read_somewhere` tries first."""
    return addresses[_gave.get(tuple(addresses), (0, ""))[0]]


def read_somewhere(addresses: Sequence[str], read: Callable[[str], _T]) -> _T:
    """What `read` gives of the address that gave last here, at first the first, or of the next ones. Raises BadInput.

    What is not read at the first address is noted for the report.
    """
    notes = _noted.get()

    def noting(address: str) -> _T:
        origin = "" if address == addresses[0] else reader.origin_of(address)
        given = read(address)
        if notes is not None:
            notes.origins.setdefault(address, origin)
        return given

    begin, before = _gave.get(key := tuple(addresses), (0, ""))
    given, number, why = first_that_gives(addresses, noting, begin)
    if len(addresses) > 1:
        if len(_gave) >= _MOST_KNOWN:
            _gave.clear()
        _gave[key] = number, why or before
    note_elsewhere(addresses, number, why or before)
    return given
