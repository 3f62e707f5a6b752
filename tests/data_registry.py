"""Where the real data of the tests come from: one public original and sha256 for each file; none is in the project.

python -m tests.data_registry fetch DIR     get every file from its original, converting where it is a conversion
python -m tests.data_registry check DIR     compare what is there with the registered hashes
"""

from __future__ import annotations

import hashlib
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path


@dataclass(frozen=True)
class Original:
    """The public original of one file.

    `repository`, `commit` and `path` address it on GitHub; `record` is the archive behind it, and the
    only address of tables that were taken down from the record by hand. A conversion has the registered
    name of what it is made `from_file`, and the name of the `converter` (a module of tests/converters).
    `sha256` is that of the file the reference numbers were taken on; empty for an original that is only
    converted, never read by a test.
    """

    sha256: str
    repository: str = ""
    commit: str = ""
    path: str = ""
    record: str = ""
    from_file: str = ""
    converter: str = ""

    @property
    def source(self) -> str:
        """In words, where the file comes from."""
        if self.from_file:
            return f"{self.from_file}, converted by tests/converters/{self.converter}.py"
        if not self.repository:
            return f"the tables of {self.record}"
        where = f"{self.repository} at {self.commit[:12]}, {self.path}"
        return f"{where} ({self.record})" if self.record else where


CMS_2011 = "CMS open data, DoubleMu 2011A, CC0"
HEPDATA_DILEPTON = "HEPData record ins1725190, doi:10.17182/hepdata.88425.v2, CC0"


def _scikit_hep(name: str, sha256: str, record: str = "") -> Original:
    commit = "f51b8fb0aa3b3609996375a745eac8084472245f"
    return Original(sha256, "scikit-hep/scikit-hep-testdata", commit, f"src/skhep_testdata/data/{name}", record)


def _coffea(name: str, sha256: str, record: str = "") -> Original:
    commit = "618560068fcb050adfd87ca8265770bcbf0408ab"
    return Original(sha256, "CoffeaTeam/coffea", commit, f"tests/samples/{name}", record)


_YODA = "atlas_dilepton139/ATLAS_2019_I1725190.yoda"

REGISTRY: Mapping[str, Original] = {
    _YODA: Original(
        "",
        "alisw/rivet",
        "8d7792ec86e606c76b7685c2b6d7f3de30dc9ffe",
        "analyses/pluginATLAS/ATLAS_2019_I1725190.yoda",
        HEPDATA_DILEPTON,
    ),
    "atlas_dilepton139/acceff.csv": Original(
        "90f7a51250936a97d0e1c170ebc317d73ffdf1f09c0c5f41c2306e1cb4f122b4", record=HEPDATA_DILEPTON
    ),
    "atlas_dilepton139/limits_exp_ee.csv": Original(
        "28afa7a14be6a2475b8f9d0374c17a6f74d863f0a330e6d74aaa8e78eab71e8c", record=HEPDATA_DILEPTON
    ),
    "atlas_dilepton139/limits_exp_ll.csv": Original(
        "2463952dfaf1aa9cb6340e60b6df70902e450ac3f297a33da9cf9edfb6265765", record=HEPDATA_DILEPTON
    ),
    "atlas_dilepton139/limits_obs_ee.csv": Original(
        "ed54e5562bfa68754c2f2d37cb87cbdbdd74b3121a4e70fc97ab722e8ce50be8", record=HEPDATA_DILEPTON
    ),
    "atlas_dilepton139/limits_obs_ll.csv": Original(
        "994f772cce00352ff23cc801777c81a6f55533b22de7c633d98388575fd6f893", record=HEPDATA_DILEPTON
    ),
    "atlas_dilepton139/spectrum_ee.csv": Original(
        "b8c997ec3386b7892fadcf1ab5ffebc15050fa3c037a4e974534b8261686b54e", from_file=_YODA, converter="atlas_dilepton"
    ),
    "atlas_dilepton139/spectrum_mumu.csv": Original(
        "a8ae8a998bc19d33bdeac2562516db1ff609d4aa9a3d94ca6f8ade7ebf9ca0a0", from_file=_YODA, converter="atlas_dilepton"
    ),
    "cms_csv/Zmumu_Run2011A.csv": Original(
        "034523c045a55633a91fb5df6b67638636c389e20e66a03b7361309058bf02a8",
        "cms-opendata-education/cms-jupyter-materials-english",
        "fd23734a71b863d944d44f7dbe9c0d0261c5302b",
        "Data/Zmumu_Run2011A.csv",
        CMS_2011,
    ),
    "hep_root/PHYSLITE_example.root": _coffea(
        "PHYSLITE_example.root", "6ebbafb5a1f72ca0b6fa47de73c28906101997e6f8a58d97536e4c040a15aa0b"
    ),
    "hep_root/Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root": _scikit_hep(
        "Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root",
        "6a71d6ca866b76c8d89689dfce2cc402aecd2aea0ff03a650db9fe78e60b8385",
    ),
    "hep_root/cms2011A_Zmumu.root": Original(
        "bccc1bd4c6a701352f134873454a3c1a10bd0006e87bfa44bb91f17e1570cb64",
        from_file="cms_csv/Zmumu_Run2011A.csv",
        converter="cms2011_zmumu",
    ),
    "hep_root/nanoAOD_2015_CMS_Open_Data_ttbar.root": _scikit_hep(
        "nanoAOD_2015_CMS_Open_Data_ttbar.root", "c14a29b25b15b837226f396e920b5d9fb134f3558bef5b0a9db5d6d9606c5f3a"
    ),
    "hep_root/nano_dimuon.root": _coffea(
        "nano_dimuon.root", "eac7c0a973e054e890766ec4c61ca784d3d49e4f82ec0c8b9dfbe55c233297a9"
    ),
    "hep_root/nano_dy.root": _coffea(
        "nano_dy.root", "159b17b34b4d13ea4960d36fb9b01f2a505cc1a5a8de0fb3cfa185154543c81c"
    ),
    "hep_root/pfnano.root": _coffea("pfnano.root", "504f10f40146005184a1365dcf8b6c8235983597567fab04d1b4b6cc25603939"),
    "hep_root/uproot-Zmumu-lz4.root": _scikit_hep(
        "uproot-Zmumu-lz4.root", "9d860d855bfdba560d9cfb7ef5f27caf7fd16e74863aaee639dc7fe1204fe1a4"
    ),
    "hep_root/uproot-Zmumu-lzma.root": _scikit_hep(
        "uproot-Zmumu-lzma.root", "b9944821bf5c6380ea6c09dc8811fe831188fd29653aad8a8f30addcfd9bb1af"
    ),
    "hep_root/uproot-Zmumu-zstd.root": _scikit_hep(
        "uproot-Zmumu-zstd.root", "c504a3dbe5f26986019093ebd47b236c3dcc3d7bd847610c91bfabce56209f1a"
    ),
    "hep_root/uproot-Zmumu.root": _scikit_hep(
        "uproot-Zmumu.root", "8290ddc1f2b1f866f30df016558936da27107f7f5b87e574c741f2baab1bad64"
    ),
    "hep_root/uproot-physlite-rntuple_v1-0-0-0.root": _scikit_hep(
        "uproot-physlite-rntuple_v1-0-0-0.root", "320483c251a168dc4e8b97982836d2e44d374a6498fffdaa483a47206be85d23"
    ),
}


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(name: str, folder: Path, base: str = "https://raw.githubusercontent.com") -> Path:
    """Get one registered file into `folder`, converting where it is a conversion; a file that is there is kept.

    Raises ValueError where what arrives is not what was registered, LookupError where a file can only be
    taken down by hand. A conversion carries its own date and UUID, so its bytes are not compared: the test
    of the converter compares its content.
    """
    original = REGISTRY[name]
    path = folder / name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    if original.from_file:
        converter = import_module(f"tests.converters.{original.converter}")
        converter.convert(fetch(original.from_file, folder, base), path)
        return path
    if not original.repository:
        raise LookupError(f"{name}: take it down from {original.source}")
    partial = path.with_suffix(path.suffix + ".part")
    urllib.request.urlretrieve(f"{base}/{original.repository}/{original.commit}/{original.path}", partial)
    if original.sha256 and sha256_of(partial) != original.sha256:
        raise ValueError(f"{partial} is not the registered file: its sha256 is {sha256_of(partial)}")
    return partial.rename(path)


def main(arguments: list[str]) -> int:
    """The commands of the module docstring; 0 where every file is there and right."""
    if len(arguments) != 2 or arguments[0] not in {"fetch", "check"}:
        print(__doc__, file=sys.stderr)
        return 2
    command, folder = arguments[0], Path(arguments[1])
    problems = 0
    for name, original in REGISTRY.items():
        try:
            path = fetch(name, folder) if command == "fetch" else folder / name
            if original.sha256 and not original.from_file and sha256_of(path) != original.sha256:
                raise ValueError("not the registered file")
        except (OSError, ValueError, LookupError) as error:
            problems += 1
            print(f"{name}: {error}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
