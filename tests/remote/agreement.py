"""What every source of another machine must give: the bytes of the same file here."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from vrecompute import reader

__all__ = ["agrees"]

_EDGES = st.lists(st.sampled_from([0, 1, 499, 500, 1000, 2999, 3000]), min_size=2, max_size=5)


def agrees(data: st.DataObject, address: str, here: Path, columns: list[str]) -> None:
    """Any of the columns, in ranges of 3,000 events one after another, some of them fetched ahead."""
    wanted = data.draw(st.lists(st.sampled_from(columns), min_size=1, unique=True))
    bounds = sorted(data.draw(_EDGES))
    table = reader.tabulate(address, "Events", wanted)
    for number, (start, stop) in enumerate(pairwise(bounds)):
        mine = reader.read(address, "Events", wanted, start, stop, table=table)
        if number + 2 < len(bounds) and data.draw(st.booleans()):
            reader.fetch_ahead(address, table, wanted, stop, bounds[number + 2])
        theirs = reader.read(str(here), "Events", wanted, start, stop)
        for column in wanted:
            assert mine[column].values.tobytes() == theirs[column].values.tobytes()
            assert np.array_equal(mine[column].offsets, theirs[column].offsets)
