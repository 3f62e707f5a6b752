"""Ways to read something inside `process`, each a function; and what `process` makes itself, or is no user's."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["HEARD", "OWN", "READERS", "write_readers"]

READERS = """
import codecs, configparser, csv, ctypes, fileinput, functools, glob, importlib, inspect, io, joblib, json, linecache
import logging, mmap, os, pickle, pkgutil, runpy, shelve, shutil, socket, sqlite3, subprocess, sys, tempfile, threading
import tomllib, traceback, urllib.request, warnings, xml.etree.ElementTree as ET, zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np

held = {"o": open}
reader = np.load
HERE = Path(__file__).parent


def call(name, **given):
    return globals()[name](**given)


def configured():
    parser = configparser.ConfigParser()
    parser.read("cuts.ini")
    return parser


def parsed():
    return ET.parse("cuts.xml")


def raw():
    return io.FileIO("cuts.txt").read()


def run_path():
    return runpy.run_path("cuts.py")


def executed():
    exec(open("cuts.py").read())


def aliased():
    return held["o"]("cuts.txt").read()


def built_in():
    return getattr(__import__("builtins"), "op" + "en")("cuts.txt").read()


def decoded():
    return codecs.open("cuts.txt", encoding="utf-8").read()


def lines():
    return [*fileinput.input(["cuts.txt"])]


def tables():
    return [*csv.reader(open("cuts.txt"))]


def toml():
    return tomllib.load(Path("cuts.txt").open("rb"))


def descriptor():
    return os.read(os.open("cuts.txt", os.O_RDONLY), 9)


def mapped():
    return np.memmap("cuts.npy", mode="r")


def from_file():
    return np.fromfile("cuts.npy")


def archive():
    return zipfile.ZipFile("cuts.zip").namelist()


def dumped():
    return joblib.load("cuts.joblib")


def line():
    return linecache.getline("cuts.txt", 1)


def copied():
    shutil.copyfile("cuts.txt", "copy.txt")
    return open("copy.txt").read()


def updated():
    return open("cuts.txt", "r+").read()


def appended():
    return open("cuts.txt", "a+").read()


def added_to():
    open("cuts.txt", "a").write("1")
    return open("cuts.txt").read()


def missing():
    try:
        return open("none.txt").read()
    except OSError:
        return "20"


def compressed():
    import gzip
    return gzip.open("cuts.gz").read()


def lazily(files=("cuts.npy",)):
    return [*map(reader, files)]


def in_thread():
    thread = threading.Thread(target=lambda: open("cuts.txt").read())
    thread.start()
    thread.join()


def in_pool():
    with ThreadPoolExecutor(2) as pool:
        return [*pool.map(np.load, ["cuts.npy"])]


def in_thread_of_a_thread():
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()


def imported():
    return importlib.import_module("cu" + "ts").LIMIT


def from_package():
    return pkgutil.get_data("cuts", "cuts.txt")


def extended():
    return ctypes.CDLL("./lib.so")


def globbed():
    return glob.glob("*.ini")


def looked_for():
    return glob.glob("cuts.ini")


def path_globbed():
    return [*HERE.glob("cuts.*")]


def listed():
    return os.listdir()


def scanned():
    return [*os.scandir(".")]


def iterated():
    return [*HERE.iterdir()]


def walked():
    return [*os.walk(".")]


def database():
    return sqlite3.connect("cuts.db")


def database_by_uri():
    return sqlite3.connect("file:cuts.db?mode=ro", uri=True)


def another_program():
    return subprocess.run(["cat", "cuts.txt"], capture_output=True).stdout


def shell():
    return os.popen("cat cuts.txt").read()


def system():
    return os.system("true")


def spawned():
    return os.posix_spawn("/bin/true", ["true"], {})


def local_url():
    return urllib.request.urlopen(f"file://{HERE}/cuts.txt").read()


def url(port):
    return urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)


def connected(port):
    return socket.create_connection(("127.0.0.1", port))


# What `process` makes itself, and what is no user's.
def own_file():
    Path("own.txt").write_text("1")
    return open("own.txt").read()


def own_update():
    with open("own.txt", "w+") as file:
        file.write("1")
        file.seek(0)
        return file.read()


def own_addition():
    open("new.txt", "a").write("1")
    return open("new.txt").read()


def own_folder():
    os.makedirs("made/inner")
    Path("made/inner/x").write_text("1")
    found = [p.read_text() for p in Path("made").rglob("x")], os.listdir("made/inner"), glob.glob("made/*")
    shutil.rmtree("made")
    return found


def own_temporary():
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "inner").mkdir()
        np.save(Path(folder) / "inner" / "x.npy", [1.0])
        return np.load(Path(folder) / "inner" / "x.npy")


def own_temporary_file():
    with tempfile.NamedTemporaryFile("w+") as file, tempfile.TemporaryFile():
        file.write("1")
        file.flush()
        return open(file.name).read()


def own_renamed():
    Path(".part").write_text("1")
    os.replace(".part", "whole.txt")
    return open("whole.txt").read()


def own_database():
    sqlite3.connect(":memory:").execute("select 1")
    sqlite3.connect("own.db").execute("create table t (x)")
    return sqlite3.connect("own.db").execute("select * from t").fetchall()


def own_shelf():
    with tempfile.TemporaryDirectory() as folder, shelve.open(folder + "/s") as shelf:
        shelf["x"] = 1
        return shelf["x"]


def log():
    handler = logging.FileHandler("log.txt")
    handler.emit(logging.makeLogRecord({"msg": "seen"}))
    handler.close()


def memory():
    return io.BytesIO(b"1").read(), mmap.mmap(-1, 10).read()


def of_a_library():
    return pkgutil.get_data("numpy", "py.typed"), open(np.__file__).read()


def of_python():
    import wave
    import zoneinfo
    return wave, open(os.__file__).read(), zoneinfo.ZoneInfo("Europe/Berlin")


def of_the_machine():
    return open("/proc/self/status").read(), os.listdir("/sys"), open(os.devnull).read()


def versions():
    from importlib import metadata
    return metadata.version("numpy"), len(metadata.entry_points())


def source():
    return inspect.getsource(call)


def trace():
    try:
        1 / 0
    except ZeroDivisionError:
        linecache.clearcache()
        return traceback.format_exc()


def warned():
    linecache.clearcache()
    return warnings.formatwarning("told", UserWarning, __file__, 1)


def compiled():
    return numba.njit(lambda x: x + 1)(1)


def thread_that_reads_nothing():
    thread = threading.Thread(target=lambda: 1)
    thread.start()
    thread.join()


def trees():
    from sklearn.ensemble import HistGradientBoostingClassifier
    x = np.arange(40.0).reshape(-1, 1)
    return HistGradientBoostingClassifier(max_iter=2).fit(x, x[:, 0] > 20).predict(x)
"""
# What is told of each way to read.
HEARD = {
    "configured": "cuts.ini is read",
    "parsed": "cuts.xml is read",
    **dict.fromkeys(["run_path", "executed", "imported"], "cuts.py is read"),
    **dict.fromkeys(["raw", "aliased", "built_in", "decoded", "lines", "tables", "toml", "line"], "cuts.txt is read"),
    **dict.fromkeys(["descriptor", "copied", "updated", "appended", "added_to", "local_url"], "cuts.txt is read"),
    **dict.fromkeys(["in_thread", "in_thread_of_a_thread"], "cuts.txt is read"),
    **dict.fromkeys(["mapped", "from_file", "lazily", "in_pool"], "cuts.npy is read"),
    "archive": "cuts.zip is read",
    "dumped": "cuts.joblib is read",
    "missing": "none.txt is read",
    "compressed": "cuts.gz is read",
    "from_package": "cuts.py is read",
    "extended": "lib.so is read",
    "globbed": "*.ini is looked for",
    "looked_for": "cuts.ini is looked for",
    "path_globbed": "cuts.* is looked for",
    **dict.fromkeys(["listed", "scanned", "walked"], "folder . is listed"),
    "iterated": "folder ",
    **dict.fromkeys(["database", "database_by_uri"], "cuts.db is read"),
    "another_program": "another program (cat) is run",
    "shell": "another program (/bin/sh) is run",
    "system": "another program (true) is run",
    "spawned": "another program (/bin/true) is run",
    "url": "the network (http://127.0.0.1:",
    "connected": "the network (127.0.0.1) is asked",
}
OWN = re.findall(r"^def (\w+)", READERS.partition("# What `process` makes itself")[2], re.MULTILINE)


def write_readers(folder: Path) -> Path:
    """The module of all of them, with what they read beside it; its file."""
    for suffix in ("ini", "xml", "txt", "npy", "zip", "joblib", "gz", "db"):
        (folder / f"cuts.{suffix}").write_text("20")
    (folder / "lib.so").write_text("20")
    (folder / "cuts.py").write_text("LIMIT = 20.0\n")
    (folder / "readers.py").write_text(READERS)
    return folder / "readers.py"
