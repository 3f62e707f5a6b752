"""Random files by ROOT, each with what ROOT reads from it: `python -m tests.rootfiles.generate DIR COUNT [FIRST_SEED]`.

Needs ROOT (`pip install --pre ROOT`). The files in `small/` were made by 6.40.00 with `--small`.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

HERE = Path(__file__).parent


def generate(folder: Path, seeds: range, most: int) -> None:
    """A TTree and an RNTuple of fewer than `most` entries for every seed, in turn: tree-SEED.root, ntuple-SEED.root."""
    import ROOT

    ROOT.gErrorIgnoreLevel = ROOT.kError
    for source in ("write.C", "write_ntuple.C"):
        assert ROOT.gInterpreter.Declare(f'#include "{HERE / source}"'), source
    for seed in seeds:
        kind, write = ("tree", ROOT.write_tree) if seed % 2 else ("ntuple", ROOT.write_ntuple)
        write(str(folder / f"{kind}-{seed}.root"), seed, most)


def main() -> None:
    """Write the files asked for; with --small the truth is compressed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("first", type=int, nargs="?", default=0)
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    generate(given.folder, range(given.first, given.first + given.count), given.most)
    if given.small:
        import ROOT

        ROOT.write_features(str(given.folder / "features.root"))
    for truth in given.folder.glob("*.truth") if given.small else ():
        (given.folder / f"{truth.name}.gz").write_bytes(gzip.compress(truth.read_bytes(), mtime=0))
        truth.unlink()


if __name__ == "__main__":
    main()
