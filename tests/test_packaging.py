"""What is in the wheel and in the source distribution, and that an installation finds its parts."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parent.parent
PACKAGES = ("vrecompute", "vrecompute_backends", "vrecompute_analyses")
HOMES = {"vrecompute": ROOT, "vrecompute_backends": ROOT / "backends", "vrecompute_analyses": ROOT / "analyses"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution, built from a clean export of the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as pip would lay it out: a folder to put on sys.path."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def declared_entry_points() -> dict[str, dict[str, str]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]


def test_top_level_names(unpacked):
    names = {path.name for path in unpacked.iterdir()}
    (metadata,) = (name for name in names if name.endswith(".dist-info"))
    assert names - {metadata} == set(PACKAGES)


def test_every_package_file_is_in_the_wheel(unpacked):
    for package, home in HOMES.items():
        ours = {
            path.relative_to(home)
            for path in (home / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        theirs = {path.relative_to(unpacked) for path in (unpacked / package).rglob("*") if path.is_file()}
        assert theirs == ours


def test_typed_and_with_its_schemas(unpacked):
    for package in PACKAGES:
        assert (unpacked / package / "py.typed").is_file()
    schemas = sorted(unpacked.rglob("*.schema.json"))
    assert unpacked / "vrecompute" / "reports" / "report.schema.json" in schemas
    for schema in schemas:
        json.loads(schema.read_text())


def test_no_tests_no_data_no_machine(unpacked):
    for path in unpacked.rglob("*"):
        assert not {"tests", "conftest.py", "__pycache__"} & set(path.relative_to(unpacked).parts), path
        assert path.suffix not in {".root", ".parquet", ".csv", ".pyc"}, path


def test_licence_and_metadata(unpacked):
    (metadata,) = unpacked.glob("*.dist-info/METADATA")
    text = metadata.read_text()
    assert "License-Expression: BSD-3-Clause" in text
    assert "Requires-Python: >=3.11" in text
    assert list(unpacked.glob("*.dist-info/licenses/LICENSE"))


def test_entry_points_load_from_the_wheel(unpacked):
    (file,) = unpacked.glob("*.dist-info/entry_points.txt")
    text = file.read_text()
    references = [f"vrecompute = {v}" for v in ("vrecompute.__main__:main",)]
    for group, entries in declared_entry_points().items():
        assert f"[{group}]" in text
        references += [f"{name} = {value}" for name, value in entries.items()]
    for reference in references:
        assert reference in text
    code = "import sys\nfrom importlib.metadata import EntryPoint\nsys.path.insert(0, sys.argv[1])\n" + "\n".join(
        f"EntryPoint('x', {reference.partition(' = ')[2]!r}, 'x').load()" for reference in references
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(unpacked)], capture_output=True, text=True, check=False, cwd=unpacked
    )
    assert done.returncode == 0, done.stderr


def test_source_distribution(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tops = {name.partition("/")[0] for name in names}
    assert {"vrecompute", "backends", "analyses", "tests", "pyproject.toml", "README.md", "LICENSE"} <= tops
    assert tops <= {*("vrecompute", "backends", "analyses", "site_configs", "tests"), *SDIST_FILES}
    # small files made by ROOT, with what ROOT reads in them, belong to the tests
    assert not [name for name in names if name.endswith((".root", ".pyc")) and "tests/rootfiles/small/" not in name]


SDIST_FILES = ("pyproject.toml", "README.md", "LICENSE", "PKG-INFO", ".gitignore")


def test_editable_install_finds_every_package(tmp_path):
    """The editable wheel is a .pth with the three places on disk, so an import path is a path in the checkout."""
    code = (
        "import sys; from hatchling.build import build_editable; "
        "print(build_editable(sys.argv[1], {'dev_mode_dirs': []}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as archive:
        (pth,) = (name for name in archive.namelist() if name.endswith(".pth"))
        lines = archive.read(pth).decode().split()
    for home in HOMES.values():
        assert str(home) in lines


@pytest.mark.parametrize("group", sorted(declared_entry_points()))
def test_declared_entry_points_exist(group):
    for name, value in declared_entry_points()[group].items():
        assert EntryPoint(name, value, group).load() is not None
