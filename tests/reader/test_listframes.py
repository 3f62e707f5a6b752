"""List frames of RNTuple metadata that say they have more items than they could hold: an error, not all memory."""

from __future__ import annotations

from tests.fuzz.test_root_files import SMALL, envelopes_of, mended, written
from vrecompute import reader
from vrecompute.errors import CorruptFile


def list_frames(envelope: bytes) -> list[int]:
    """Where the number of items of each list frame is: behind a size that is negative and fits."""
    found = []
    for at in range(8, len(envelope) - 12):
        size = -int.from_bytes(envelope[at : at + 8], "little", signed=True)
        if 12 <= size <= len(envelope) - at and int.from_bytes(envelope[at + 8 : at + 12], "little") * 4 <= size:
            found.append(at + 8)
    return found


def test_no_list_has_more_items_than_bytes(tmp_path):
    tried = named = 0
    samples = [p.read_bytes() for p in SMALL.glob("*.root")]
    for data in [*samples, *written(tmp_path)]:
        envelopes = envelopes_of(data)
        for at, length in envelopes:
            for place in list_frames(data[at : at + length]):
                damaged = tmp_path / f"{tried}.root"
                new = bytearray(data)
                new[at + place : at + place + 4] = b"\xff\xff\xff\xff"
                damaged.write_bytes(mended(bytes(new), envelopes))
                tried += 1
                try:  # what looks like a list frame may be something else
                    reader.inspect(str(damaged))
                except CorruptFile as error:
                    named += "a list frame says that it has 4294967295 items in" in str(error)
    assert named >= 20, f"{named} of {tried}"
