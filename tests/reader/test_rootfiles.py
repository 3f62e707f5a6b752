"""Files written by ROOT, of every kind of column, give what ROOT itself reads from them, in whole and in any range."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ACCEPTANCE
from tests.rootfiles.truth import differences, truth_of
from vrecompute import reader
from vrecompute.errors import MissingColumn

SMALL = Path(__file__).parents[1] / "rootfiles" / "small"
FILES = sorted(path for path in SMALL.glob("*-*.root"))
GENERATED, RANGES = 1000, 2  # files by ROOT in an acceptance run, and ranges of each


def ranges_of(path: Path, count: int) -> list[tuple[int, int]]:
    """All entries, and `count` ranges more that are a function of the file's name."""
    entries = reader.inspect(str(path)).entries
    chance = random.Random(path.name)
    cuts = [sorted((chance.randint(0, entries), chance.randint(0, entries))) for _ in range(count)]
    return [(0, entries), *[(first, last) for first, last in cuts]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_column_is_what_root_reads(path):
    truth = truth_of(path)
    assert truth
    assert [d for span in ranges_of(path, 4) for d in differences(path, truth, *span)] == []


def test_the_small_files_hold_every_kind_that_went_wrong_before():
    types = [kind for path in FILES for kind in reader.inspect(str(path)).available.values()]
    assert {"Float16_t[3]", "Float16_t[]", "Double32_t[3]", "Double32_t[]", "Double32_t"} <= set(types)
    late = [path for path in FILES if path.stem.startswith("ntuple") and _late_arrays(path)]
    assert late


def _late_arrays(path: Path) -> bool:
    import uproot

    with uproot.open(path) as file:
        return any(c.first_element_index > file["Events"].num_entries for c in file["Events"].column_records)


def test_lists_with_experimental_features_are_refused_not_misread():
    path = str(SMALL / "features.root")
    columns = reader.read(path, None, ["n", "one"], 10, 90)
    assert columns["n"].values.tolist() == [i % 5 for i in range(10, 90)]
    assert columns["one"].values.tolist() == list(range(10, 90))
    with pytest.raises(MissingColumn, match="'list' is a list stored with ROOT's experimental I/O features"):
        reader.read(path, None, ["list"], 0, 90)


@pytest.mark.slow
@pytest.mark.skipif(not ACCEPTANCE, reason="the small files are read instead; make acceptance generates others")
def test_generated_files_and_ranges_are_what_root_reads(tmp_path):
    python = os.environ.get("ROOT_PYTHON", sys.executable)
    if subprocess.run([python, "-W", "ignore", "-c", "import ROOT"], capture_output=True, check=False).returncode:
        pytest.skip("needs ROOT: pip install --pre ROOT, here or in an environment that ROOT_PYTHON names")
    seed = int(os.environ.get("ROOT_SEED", random.SystemRandom().randrange(1 << 30)))
    command = [python, "-W", "ignore", "-m", "tests.rootfiles.generate", str(tmp_path), str(GENERATED), str(seed)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    wrong, read = [], 0
    for path in sorted(tmp_path.glob("*.root")):
        truth = truth_of(path)
        for span in ranges_of(path, RANGES - 1):
            wrong += differences(path, truth, *span)
            read += 1
    assert wrong == [], f"ROOT_SEED={seed}"
    assert read == GENERATED * RANGES
