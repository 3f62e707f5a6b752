"""The published ATLAS dilepton mass spectra (arXiv:1903.06248): from the record's YODA tables to counts per bin.

Table d01 is ee, d02 is mumu; a point is (bin centre, half width, half width, events per 10 GeV).
"""

from __future__ import annotations

from pathlib import Path

_TABLES = {"spectrum_ee": "d01-x01-y01", "spectrum_mumu": "d02-x01-y01"}


def counts(yoda: str, table: str) -> list[tuple[float, float, int]]:
    """(low edge in GeV, high edge in GeV, events) of each bin of one table."""
    block = yoda.split(f"/REF/ATLAS_2019_I1725190/{table}\n", 1)[1].split("END YODA_SCATTER2D", 1)[0]
    bins = []
    for line in block.splitlines():
        if line[:1].isdigit():
            centre, below, above, per_10_gev = (float(word) for word in line.split()[:4])
            bins.append((centre - below, centre + above, round(per_10_gev * (below + above) / 10.0)))
    return bins


def convert(source: Path, target: Path) -> None:
    """Write `target` (`spectrum_ee.csv` or `spectrum_mumu.csv`) from `source` (the record's YODA file)."""
    lines = ["mlow_GeV,mhigh_GeV,n_observed"]
    lines += [f"{low:.4f},{high:.4f},{n}" for low, high, n in counts(source.read_text(), _TABLES[target.stem])]
    target.write_text("\n".join(lines) + "\n")
