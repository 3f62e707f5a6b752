"""Each public module says what it offers in `__all__`, truly and in order; importing it has no side effect."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

PACKAGES = ("vrecompute", "vrecompute_backends", "vrecompute_analyses")


def modules() -> list[str]:
    """Every public module of the three packages, without importing more than their packages."""
    names = []
    for package in PACKAGES:
        found = importlib.import_module(package)
        names.append(package)
        names += [m.name for m in pkgutil.walk_packages(found.__path__, f"{package}.")]
    return sorted(name for name in names if not any(part.startswith("_") for part in name.split(".")))


def defined_in(module: ModuleType) -> set[str]:
    """Public functions and classes that `module` itself defines."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
    }


@pytest.mark.parametrize("name", modules())
def test_all_is_true_and_sorted(name):
    module = importlib.import_module(name)
    offered = getattr(module, "__all__", None)
    own = defined_in(module)
    if offered is None:
        assert not own, f"{name} defines {sorted(own)} but has no __all__"
        return
    assert list(offered) == sorted(offered, key=str) or list(offered) == sorted(offered, key=_as_ruff), name
    assert len(set(offered)) == len(offered)
    missing = [n for n in offered if not hasattr(module, n)]
    assert not missing, f"{name}.__all__ names {missing}, which do not exist"
    assert own <= set(offered), f"{name} defines {sorted(own - set(offered))} outside __all__"


def _as_ruff(name: str) -> tuple[int, str]:
    """Ruff's order of `__all__`: CONSTANTS, then Classes, then functions."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2, name)


# Run in a fresh interpreter: an audit hook sees every open, connect and exec that importing causes, and the
# first frame outside the standard library says who asked for it.
WATCH = r"""
import json, os, sys, sysconfig

names = sys.argv[1:]
stdlib = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
site = sysconfig.get_path("purelib")
seen, watching = [], False
NETWORK = {"socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}
PROCESS = {"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn"}
CHANGE = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree"}


def owner():
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib"):
            return "import"
        if file.startswith("<") or (file.startswith(stdlib) and not file.startswith(site)):
            frame = frame.f_back
            continue
        return file
    return "?"


def hook(event, arguments):
    global watching
    if not watching:
        return
    if event in NETWORK or event in PROCESS:
        kind = "network" if event in NETWORK else "process"
    elif event in CHANGE:
        kind = "disk"
    elif event == "open":
        kind = "disk"
    else:
        return
    watching = False
    try:
        file = owner()
        if file != "import":
            what = arguments[0] if arguments else ""
            wrote = event != "open" or any(c in str(arguments[1] or "") for c in "wax+")
            seen.append([kind, event, str(what), file, wrote])
    finally:
        watching = True


sys.addaudithook(hook)
watching = True
for name in names:
    __import__(name)
watching = False
print(json.dumps(seen))
"""

# Third-party libraries that touch the disk when imported, each with what it does; nobody may use network or a process.
EXCUSED = {
    "dask": "reads and seeds its configuration folder",
    "distributed": "seeds its configuration folder",
    "matplotlib": "reads matplotlibrc and its style sheets; only figures modules import it",
}


@pytest.mark.slow
def test_importing_touches_neither_network_nor_process_nor_disk(tmp_path):
    environment = {**os.environ, "VRECOMPUTE_CACHE": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WATCH, *modules()], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    # by folder, since a checkout may well be called as a package is
    packages = [f"{importlib.import_module(name).__path__[0]}{os.sep}" for name in PACKAGES]
    ours, theirs = [], []
    for kind, event, what, file, wrote in json.loads(done.stdout.splitlines()[-1]):
        line = f"{event} {what} by {file}"
        if file.startswith(tuple(packages)) or kind in {"network", "process"}:
            ours.append(line)
        elif wrote and not any(f"{os.sep}{library}{os.sep}" in file for library in EXCUSED):
            theirs.append(line)
    assert not ours, "\n".join(ours)
    assert not theirs, "\n".join(theirs)
