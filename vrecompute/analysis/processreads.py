"""What `process` reads while it runs that no key holds, as Python's audit events say.

Audit events are raised by whatever opens a file, lists a folder, starts a program or asks the network from Python,
under any name. What C libraries read by themselves raises none, nor do environment variables and the mere presence of
a file: see `filereads`. Random numbers without a seed are heard of in the same way: see `entropy`.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from importlib.util import find_spec, source_from_cache
from threading import get_ident
from types import FrameType
from typing import Any

from vrecompute.analysis import entropy
from vrecompute.analysis.coderange import USER_MODULE, counts, is_library_file
from vrecompute.analysis.unseeded import INSTEAD_IN_LIBRARY
from vrecompute.errors import AnalysisError
from vrecompute.sourcetext import file_title
from vrecompute.utf8text import utf8

__all__ = ["Reads", "forget"]

_PATTERNS = frozenset({"glob.glob", "pathlib.Path.glob", "pathlib.Path.rglob"})
_LISTINGS = frozenset({"os.listdir", "os.scandir"}) | _PATTERNS
# Their first argument is a file.
_BY_NAME = frozenset({"ctypes.dlopen", "os.getxattr", "os.listxattr", "sqlite3.connect"})
_PROGRAMS = frozenset(
    {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn", "subprocess.Popen"}
)
_NETWORK = frozenset(
    {"socket.connect", "socket.getaddrinfo", "socket.gethostbyaddr", "socket.gethostbyname", "socket.sendmsg"}
    | {"socket.sendto", "urllib.Request"}
)
_THREADS = frozenset({"_thread.start_joinable_thread", "_thread.start_new_thread"})
_MADE = frozenset({"os.mkdir", "os.rename"})
_HEARD = frozenset({"import", "open", "os.chdir"}) | _LISTINGS | _BY_NAME | _PROGRAMS | _NETWORK | _THREADS | _MADE
_HEARD |= {entropy.UNSEEDED, entropy.MADE}
# What these read is code, which counts by its text, or what was compiled from it; and how many cores there are.
_OF_CODE = frozenset(
    {"inspect", "traceback", "vrecompute.kernels.cache", "vrecompute.kernels.loop.sourcefile", "vrecompute.sourcetext"}
    | {"warnings"}
)
_OF_COMPILERS = ("joblib.externals.loky.", "llvmlite.", "numba.")
_SYSTEM = ("/proc/", "/sys/", "/dev/", "/usr/share/zoneinfo/")
_OF_PREFIX = ("bin", "etc", "include", "lib", "lib64", "libexec", "share")
_OURS = ("vrecompute", "vrecompute_backends", "vrecompute_analyses")
_MAIN = frozenset({"__main__", "__mp_main__"})
# So many are told of a run in a process.
_MOST = 50
_FOLLOWED = "_vrecompute_reads"

_UNSEEDED = "random numbers are drawn without a seed"

# The calls of `process` that are under way, by thread.
_calls: dict[int, _Call] = {}
# Files that Python remembers for as long as the process lives: what was told of, and modules among these.
_files: set[str] = set()
_modules: set[str] = set()


class Reads:
    """What the analysis of one run has read in this process; it may remember it for as long as it lives."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], str] = {}

    @property
    def told(self) -> tuple[str, ...]:
        """Each with its place and what to do instead."""
        return tuple(sorted(self._told.copy().values()))

    def tell(self, kind: str, what: str, place: str, instead: str) -> None:
        """Note a read, of each kind one a place: "cuts.ini is read at cuts.py:12"."""
        if len(self._told) < _MOST:
            told = f"{what}{f' at {place}' if place else ''}, inside process; {instead}"
            self._told.setdefault((kind, place), utf8(told))  # it may name a file

    @contextlib.contextmanager
    def watching(self, own: str, declared: Collection[str | os.PathLike[str]] = (), folder: str = "") -> Iterator[None]:
        """Note what this thread reads meanwhile, and those that it starts: all but the files that are `declared`.

        `own` is the analysis' package, which counts also where it is installed. `folder` is the working directory in
        which the run was asked for: AnalysisError where a relative path was read in another; empty allows any.
        """
        _listen()
        outer, here = _calls.get(get_ident()), get_ident()
        call = _calls[here] = _Call(self, own, declared, folder)
        try:
            yield
            call.check()
            call.made(None, "")
        except Exception as error:
            call.check(error)
            raise
        finally:
            del _calls[here]
            if outer is not None:
                _calls[here] = outer


def forget() -> None:
    """A new run imports and reads anew what an earlier one of this process read and Python remembers."""
    files = _modules.copy()
    for name, module in list(sys.modules.items()) if files else ():
        if getattr(module, "__file__", None) in files:
            del sys.modules[name]
    for file in _files.copy():
        linecache.cache.pop(file, None)


class _Call:
    """One call of `process`: what it may read, and what it made itself."""

    def __init__(self, reads: Reads, own: str, declared: Collection[str | os.PathLike[str]], folder: str) -> None:
        self.reads = reads
        self.own = own
        self.folder = folder
        self.elsewhere = ""  # what was read by a relative path in another folder
        self.code = _home(own)
        self.known: set[str] = set()
        self.folders: set[str] = set()
        self._made: tuple[Any, str] | None = None
        for path in declared:
            self._know(os.path.abspath(path))

    def made(self, generator: Any, place: str) -> None:
        """A RandomState's generator is made at a place, which gets a seed afterwards or not: the one before is judged.

        None judges the last one.
        """
        if (held := self._made) is not None and not entropy.is_seeded(held[0]):
            self.reads.tell("random", _UNSEEDED, held[1], INSTEAD_IN_LIBRARY)
        self._made = None if generator is None else (generator, place)

    def heard(self, event: str, arguments: tuple[Any, ...]) -> tuple[str, str, str, str] | None:
        """What kind is read, what of it, what to do instead, and its path as it was given where it has one.

        None where nothing is read, or the call's own.
        """
        if event in _PROGRAMS:
            name = _text(arguments[0] if arguments else None) or _text(arguments[1] if arguments[1:] else None)
            told = f"another program{f' ({name})' if name else ''} is run"
            instead = "run it before, and declare what it writes in resources()"
            return "program", told, instead, self._file_among(arguments)
        if event == entropy.UNSEEDED:
            return "random", _UNSEEDED, INSTEAD_IN_LIBRARY, "/"
        if event in _NETWORK:
            where = arguments[0 if isinstance(arguments[0], str | bytes) else -1]
            name = _text(where)
            told = f"the network{f' ({name})' if name else ''} is asked"
            return "network", told, "ask it before, and declare a file of what it says in resources()", "/"
        given = arguments[1] if event == "import" else arguments[0]
        if given is None and event in _LISTINGS:
            given = "."
        if not isinstance(given, str | bytes | os.PathLike) or not given:
            return None
        name = os.fsdecode(given)
        if event == "sqlite3.connect":
            name = "" if "memory" in name else name.removeprefix("file:").partition("?")[0]
        path = os.path.abspath(name)
        if not name or (event == "ctypes.dlopen" and "/" not in name):
            return None
        if (event == "open" and self._writes(path, arguments[2])) or self._is_own(path) or _is_library(path):
            return None
        if event in _LISTINGS:
            name = str(arguments[1]) if event.startswith("pathlib.") else name
            told = f"{name} is looked for" if event in _PATTERNS else f"folder {name} is listed"
            instead = "declare its files in resources(), or list it outside functions, at import"
            return "folder", told, instead + _here(given, path), os.fsdecode(given)
        if event == "sqlite3.connect" and not os.path.exists(path):
            self._know(path)
            return None
        file = _source_of(path)
        if file.endswith(".py") and any(file.startswith(f"{home}/") for home in self.code):
            return None  # which counts by its text
        _files.update((file, name))
        told = f"{os.path.basename(file)} is read"
        instead = "declare it in resources(), or read it outside functions, at import"
        return file, told, instead + _here(name, file), name

    def moves(self, to: Any) -> None:
        """The working directory is changed: what is relative from now on is so to a folder that the code names."""
        name = os.fsdecode(to) if isinstance(to, str | bytes | os.PathLike) else "/"  # a descriptor
        if os.path.isabs(name):
            self.folder = ""
        elif (place := _place(self.own)) is not None:
            self.places(f"folder {name} is entered", name, place)

    def places(self, told: str, name: str, place: str) -> None:
        """Something is read by its name, which is another file where the run was asked for if it is relative."""
        if (
            self.folder
            and not self.elsewhere
            and not os.path.isabs(name)
            and (here := utf8(os.getcwd())) != self.folder
        ):
            self.elsewhere = (
                f"{told}{f' at {place}' if place else ''}, inside process, as {os.path.join(here, name)}. The worker "
                f"runs in {here}, and the run was asked for in {self.folder}: write the whole path, or declare the "
                "file in resources()"
            )

    def check(self, error: Exception | None = None) -> None:
        """AnalysisError where a relative path was read in another folder, be it by what raised `error`."""
        if self.elsewhere:
            raise AnalysisError(self.elsewhere) from error

    def makes(self, event: str, arguments: tuple[Any, ...]) -> None:
        """A folder is made, or something is renamed."""
        paths = [os.path.abspath(os.fsdecode(a)) for a in arguments[:2] if isinstance(a, str | bytes | os.PathLike)]
        if event == "os.mkdir" and paths and not os.path.lexists(paths[0]):
            self.folders |= {paths[0], os.path.realpath(paths[0])}
        elif event == "os.rename" and len(paths) == 2 and self._is_own(paths[0]):
            if os.path.isdir(paths[0]):
                self.folders |= {paths[1], os.path.realpath(paths[1])}
            else:
                self._know(paths[1])

    def _file_among(self, arguments: tuple[Any, ...]) -> str:
        """The first relative path of a file that a program is given, here or where the run was asked for; else `/`."""
        given = [word for a in arguments[:2] for word in (a if isinstance(a, list | tuple) else [a])]
        words = [word for text in given if isinstance(text, str | bytes) for word in os.fsdecode(text).split()]
        inside = [word for word in words if not os.path.isabs(word)]
        there = (w for w in inside if os.path.exists(w) or os.path.exists(os.path.join(self.folder, w)))
        return next(there, "/")

    def _know(self, path: str) -> None:
        self.known |= {path, os.path.realpath(path)}

    def _writes(self, path: str, flags: int) -> bool:
        """Whether a file is opened for writing alone. From then on it is known, unless it holds what was there."""
        makes = flags & os.O_TRUNC or (flags & os.O_CREAT and not os.path.exists(path))
        if makes and not os.path.isdir(path):
            self._know(path)
        if flags & os.O_EXCL:  # which says whether there is one
            return bool(makes) or os.path.isdir(path)
        return bool(makes or flags & os.O_ACCMODE == os.O_WRONLY)

    def _is_own(self, path: str) -> bool:
        paths = (path, os.path.realpath(path))
        inside = any(p == f or p.startswith(f"{f}/") for f in self.folders for p in paths)
        return inside or not self.known.isdisjoint(paths)


def _here(name: str | bytes | os.PathLike[Any], path: str) -> str:
    """Which file a relative name is."""
    return "" if os.path.isabs(os.fsdecode(name)) else f"; here it is {path}"


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _HEARD:
        return
    call, started = _calls.get(get_ident()), ""
    if call is None:
        thread = threading._active.get(get_ident())  # type: ignore[attr-defined]  # current_thread() may make one
        if (followed := getattr(thread, _FOLLOWED, None)) is None:
            return
        call, started = followed
    if event in _MADE:
        call.makes(event, arguments)
    elif event == "os.chdir":
        call.moves(arguments[0])
    elif event == entropy.MADE:
        if (place := _place(call.own)) is not None:
            call.made(arguments[0], place or started)
    elif event in _THREADS:
        _follow(call, started, arguments[0])
    elif (heard := call.heard(event, arguments)) is not None:
        place = _place(call.own, listing=event in _LISTINGS)
        if place is None:
            return
        if sys._getframe(1).f_globals.get("__name__") == "importlib._bootstrap_external":
            _modules.add(heard[0])
        call.places(heard[1], heard[3], place or started)
        # A thread may outlive the call that started it, and serve another.
        for reads in {call.reads, *(c.reads for c in list(_calls.values()))} if started else (call.reads,):
            reads.tell(heard[0], heard[1], place or started, heard[2])


def _follow(call: _Call, started: str, function: Callable[..., Any]) -> None:
    """The thread that is about to be started is watched as the one that starts it."""
    place = _place(call.own) or started or "a thread"
    thread = getattr(function, "__self__", None)
    if isinstance(thread, threading.Thread):
        setattr(thread, _FOLLOWED, (call, place))
    else:
        told = "a thread that cannot be followed is started"
        call.reads.tell("thread", told, place, "start it by threading.Thread, so that its reads are seen")


def _place(own: str, *, listing: bool = False) -> str | None:
    """The innermost line of the user's code; empty where there is none. None where libraries read what is theirs."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name, code = str(frame.f_globals.get("__name__", "")), frame.f_code
        if name in _OF_CODE or name.startswith(_OF_COMPILERS) or (listing and name.startswith("importlib.")):
            return None
        if (name, code.co_name) in _ENDS:
            break
        if code.co_filename.startswith("<"):
            is_user = name in _MAIN or name.startswith(USER_MODULE)
        else:
            is_user = counts(name, own, code.co_filename)
        if is_user:
            return f"{file_title(code.co_filename)}:{frame.f_lineno}"
        if code.co_name == "<module>" or (name == "shutil" and "rmtree" in code.co_name):
            return None
        frame = frame.f_back
    return ""


# Above it there is no code of the user's.
_ENDS = frozenset({("vrecompute.execution.task", "_processed"), ("vrecompute.execution.pool", "__init__")})


@lru_cache(maxsize=4096)
def _is_library(path: str) -> bool:
    """Whether a file is a library's, Python's or the machine's own."""
    return is_library_file(path) or f"{path}/".startswith(_library_folders())


@lru_cache(maxsize=1)
def _library_folders() -> tuple[str, ...]:
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    homes = [home for name in _OURS for home in _home(name)]
    return (*_SYSTEM, *(f"{p}/{inner}/" for p in prefixes for inner in _OF_PREFIX), *(f"{home}/" for home in homes))


@lru_cache(maxsize=64)
def _home(package: str) -> tuple[str, ...]:
    """The folders of a package, imported or not; none of what is none."""
    try:
        spec = find_spec(package) if package and package not in _MAIN else None
    except (ImportError, ValueError):
        spec = None
    return tuple(map(os.path.abspath, (spec and spec.submodule_search_locations) or ()))


def _source_of(path: str) -> str:
    """The module that a compiled file was made of."""
    try:
        return source_from_cache(path) if path.endswith(".pyc") else path
    except ValueError:
        return path


def _text(value: Any) -> str:
    """A name, short; empty for what is none."""
    if isinstance(value, list | tuple):
        value = value[0] if value else ""
    return os.fsdecode(value)[:80] if isinstance(value, str | bytes | os.PathLike) else ""


@lru_cache(maxsize=1)
def _listen() -> None:
    """Once, as no audit hook can be taken back."""
    _library_folders()  # looks for packages itself
    sys.addaudithook(_heard)
    entropy.listen()
    if sys.version_info < (3, 12):  # which say by themselves that a thread starts
        start = threading._start_new_thread  # type: ignore[attr-defined]

        def starting(function: Callable[..., Any], arguments: tuple[Any, ...]) -> int:
            sys.audit("_thread.start_new_thread", function, arguments, None)
            ident: int = start(function, arguments)
            return ident

        threading._start_new_thread = starting  # type: ignore[attr-defined]
