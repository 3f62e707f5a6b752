"""The architecture as tests: import contracts, sizes, and words that do not belong in a product."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path
    for home in ("vrecompute", "backends", "analyses")
    for path in (ROOT / home).rglob("*.py")
    if "__pycache__" not in path.parts
)
HOMES = ("vrecompute", "vrecompute_backends", "vrecompute_analyses")
LONGEST_FILE, LONGEST_FUNCTION = 400, 80


def test_import_contracts():
    """The contracts of pyproject.toml: the core knows no driver and no physics, and so on."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_no_modules_import_each_other_in_a_circle():
    """Also not by an import inside a function or for type checking, nor by way of a package's `__init__`.

    Import-linter compares siblings only, so that a module that imports the package it lies in escapes it.
    """
    graph = grimp.build_graph(*HOMES, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 200
    assert [sorted(circle) for circle in circles(imports)] == []


def circles(imports: dict[str, set[str]]) -> list[set[str]]:
    """The strongly connected components of more than one module, by Kosaraju's algorithm."""
    importers: dict[str, set[str]] = {module: set() for module in imports}
    for module, imported in imports.items():
        for name in imported:
            importers[name].add(module)
    seen: set[str] = set()
    order = [name for module in imports for name in _reached(module, imports, seen)]
    seen.clear()
    components = [set(_reached(module, importers, seen)) for module in reversed(order)]
    return [component for component in components if len(component) > 1]


def _reached(start: str, edges: dict[str, set[str]], seen: set[str]) -> list[str]:
    """What is reached from `start` and not yet seen; what is reached from a module comes before it."""
    if start in seen:
        return []
    seen.add(start)
    return [*(name for following in edges[start] for name in _reached(following, edges, seen)), start]


def test_circles_are_found_and_named():
    imports = {"p": {"p.a"}, "p.a": {"p.b", "q"}, "p.b": {"p"}, "q": {"r"}, "r": set()}
    assert circles(imports) == [{"p", "p.a", "p.b"}]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_readable(path):
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= LONGEST_FUNCTION, f"{path}:{node.lineno} {node.name} has {lines} lines"


# Sites are data (site_configs); a driver or the core that knows one by name has a quirk in the wrong place.
SITES = re.compile(r"\b(cern|lxplus|lxbatch|desy|j[uü]lich|jsc|juwels|cc-?in2p3|nersc|cineca|cscs)\b", re.IGNORECASE)


@pytest.mark.parametrize("home", ["vrecompute", "backends"])
def test_no_site_is_named_in_python(home):
    for path in (ROOT / home).rglob("*.py"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not SITES.search(line), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


# What Dask carries from the Runner to its own workers, and never a store.
CARRIED_BY_DASK = {ROOT / "vrecompute" / "execution" / name for name in ("pool.py", "anew.py")}


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p not in CARRIED_BY_DASK], ids=lambda p: str(p.relative_to(ROOT))
)
def test_no_pickle_is_read(path):
    """Nobody calls a loader of pickles, nor lets numpy be one (law: no pickle is ever read from a store)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            loads = node.value.id in {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
            assert not (loads and node.attr in {"load", "loads", "open", "Unpickler"}), f"{path}:{node.lineno}"
        if isinstance(node, ast.ImportFrom) and node.module in {"pickle", "cloudpickle", "dill", "marshal", "shelve"}:
            assert not {"load", "loads", "open", "Unpickler"} & {a.name for a in node.names}, f"{path}:{node.lineno}"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant), f"{path}:{node.value.lineno}"
            assert node.value.value is False, f"{path}:{node.value.lineno}"


def test_requirements_are_pinned_with_hashes_and_name_no_place():
    files = sorted((ROOT / "requirements").glob("py3*.txt"))
    assert {f.name for f in files} == {f"py3{m}{kind}.txt" for m in (11, 12, 13) for kind in ("", "-demo")}
    for file in files:
        text = file.read_text()
        assert "://" not in text
        assert "--index" not in text
        for block in re.split(r"\n(?=\S)", text):
            if not block.startswith("#"):
                assert re.match(r"[A-Za-z0-9_.\-\[\]]+==\S+", block), block[:80]
                assert "--hash=sha256:" in block, block[:80]
