"""Which libraries open files in C, so that no audit event tells of it, and what of them opens none.

Of a library that is there to read files everything counts as a reader but what is known to stay in memory; of others,
what is named as readers are.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from typing import Any, Protocol

from vrecompute.analysis.asking import attribute_of, is_a, module_of
from vrecompute.analysis.coderange import named_module

__all__ = ["Names", "full_name", "is_kept_open", "library_name", "opens_files", "uses_of"]

# By library, what of it opens no file: all else may.
_OPENS_NONE = {
    "cppyy": r"(gbl\.)?(std|Math|VecOps)\b.*|.*\bT(LorentzVector|Vector\d|Matrix|Math|H[123]|Graph|Profile|F[123])\w*",
    "duckdb": r"typing\b.*|.*(Error|Exception|Warning|Type)|values|__version__",
    "fitsio": r".*(Error|Warning|Header)",
    "fsspec": r"available_\w+|asyn\b.*|callbacks\b.*|config\b.*|implementations\.memory\b.*|utils\b.*",
    "h5netcdf": r".*(Error|Exception)",
    "h5py": r"\w*_dtype|.*[rR]ef(erence)?|Empty|.*Link|Virtual\w+|version\b.*|get_config",
    "lmdb": r".*Error",
    "netCDF4": r"date2\w+|num2date|\w*tochar|chartostring|default_\w+|__\w+__",
    "ROOT": r"(std|Math|VecOps|RooFit)\b.*|T(LorentzVector|Vector\d|Matrix|Math|H[123]|Graph|Profile|F[123]|Random)\w*"
    r"|k[A-Z]\w*|gRandom\b.*",
    "tables": r"\w*(Atom|Col|Error|Warning)|IsDescription|Filters|Enum|parameters\b.*",
    "zarr": r"array|codecs\b.*|dtype\b.*|empty|errors\b.*|full|ones|zeros|.*MemoryStore",
}
# Of pyarrow these parts do; elsewhere in it, what is named as a file or a stream, but for those in memory.
_ARROW_PARTS = frozenset(
    {"csv", "dataset", "feather", "flight", "fs", "gcsfs", "hdfs", "ipc", "json", "orc", "parquet", "s3fs"}
    | {"azurefs", "dataset_orc", "dataset_parquet", "parquet_encryption", "substrait"}
)
_IN_MEMORY = re.compile(
    r".*(Options|Writer|Error|Schema\w*|Partitioning|FileFormat|Properties)|write_\w+|field|scalar|partitioning|new_\w+"
    r"|Expression|\w*serialize\w*|get_\w+|InMemoryDataset"
)
_ARROW_FILES = re.compile(r"(?i).*(file|stream|memory_map|dataset|parquet|orc|csv|feather|hdfs).*|open_?\w*|read_\w+")
_ARROW_MEMORY = re.compile(r".*Output\w*|Buffer\w*|RecordBatch\w*|Mock\w+|Python\w+|.*Writer|write_\w+")
# Last names of what libraries read files by in C.
_READERS = frozenset(
    {"Booster", "ExcelFile", "File", "HDFStore", "InferenceSession", "TFile", "fread", "from_avro_file"}
    | {"from_feather", "from_file", "from_orc", "from_parquet", "imread", "load_file", "load_model"}
    | {"metadata_from_parquet", "mkPDF", "mkPDFs", "open_dataarray", "open_dataset", "open_datatree", "open_file"}
    | {"open_mfdataset", "safe_open"}
)
# Those whose last name alone says nothing, by library.
_READERS_OF = {
    "cv2": frozenset({"FileStorage", "VideoCapture", "imreadmulti"}),
    "dbm": frozenset({"open"}),
    "polars": frozenset({"SQLContext", "deserialize", "sql"}),
    "torch": frozenset({"load"}),
    "xarray": frozenset({"load_dataarray", "load_dataset"}),
}


class Names(Protocol):
    """What the names in the text of a function are."""

    bound: dict[str, list[ast.AST]]
    parameters: set[str]

    def name_of(self, node: ast.AST) -> str | None:
        """The full name of what a library has."""

    def thing_of(self, node: ast.AST) -> Any:
        """What a name from outside the function is."""


def opens_files(name: str) -> bool:
    """Whether what has this full name in a library may open a file that it is given by name, in C.

    So may a whole module of such a library: what is taken of it is not known.
    """
    top, _, rest = name.partition(".")
    last = rest.rpartition(".")[2]
    if top == "pyarrow":
        return _arrow_opens(rest)
    if top in _OPENS_NONE:
        return not re.fullmatch(_OPENS_NONE[top], rest.replace("._", "."))
    if last in _READERS_OF.get(top, frozenset()):
        return True
    return top not in sys.stdlib_module_names and (last in _READERS or last.startswith(("read_", "scan_")))


def _arrow_opens(rest: str) -> bool:
    part, _, inner = rest.partition(".")
    part, last = part.removeprefix("_"), rest.rpartition(".")[2]
    if part in _ARROW_PARTS and part != last:
        return not any(map(_IN_MEMORY.fullmatch, inner.split(".")))
    if part in ("", *_ARROW_PARTS):  # `pyarrow.dataset` is a module and was a function
        return True
    is_its_own = part == last or part == "lib"
    return is_its_own and bool(_ARROW_FILES.fullmatch(last)) and not _ARROW_MEMORY.fullmatch(last)


def full_name(thing: Any) -> str:
    """The name of what a library has: of a function, a class."""
    return f"{attribute_of(thing, '__module__')}.{attribute_of(thing, '__name__', '')}".removeprefix("_")


def is_kept_open(held: Any) -> str:
    """The name of a library's reader, or of what has opened files by one, empty for anything else."""
    named = is_a(held, type) or "__name__" in vars(type(held))  # a function, of Python or of C
    name = full_name(held) if named else f"{module_of(type(held))}.{type(held).__name__}"
    is_of_files = name.partition(".")[0] in ("pyarrow", *_OPENS_NONE)  # an object that was loaded is in memory
    return name if (named or is_of_files) and opens_files(name) else ""


def uses_of(tree: ast.AST, names: Names) -> Iterator[tuple[ast.AST, str, list[ast.Call]]]:
    """Each use of what may open a file, with its full name, and the calls that may be given its path; none if unknown.

    A use need not be a call: `read = pq.ParquetFile`, `getattr(pq, "read_" + what)`.
    """
    parents = {id(child): parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
    apart = {id(inner) for node in ast.walk(tree) for named in _only_named(node) for inner in ast.walk(named)}
    if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):  # its defaults count by what they are
        defaults = (*tree.args.defaults, *(each for each in tree.args.kw_defaults if each is not None))
        apart |= {id(inner) for default in defaults for inner in ast.walk(default)}
    for node in ast.walk(tree):
        if id(node) in apart or not isinstance(node, ast.Name | ast.Attribute | ast.Call):
            continue
        parent = parents.get(id(node))
        if isinstance(parent, ast.Attribute) or not isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
            continue
        name = library_name(node, names)
        if name is None or not opens_files(name):
            continue
        if isinstance(parent, ast.Assign | ast.NamedExpr) and parent.value is node and _alias(parent, names):
            continue  # which is seen where that name is used
        if _is_asked_by_name(parent, node):
            continue
        yield node, name, _given(node, parents, tree)


def library_name(node: ast.AST, names: Names, within: frozenset[str] = frozenset()) -> str | None:
    """The full name of what a library has, also where the function gave it another, or imports it by a text."""
    if (known := names.name_of(node)) is not None:
        return known
    if isinstance(node, ast.Attribute) and (base := library_name(node.value, names, within)) is not None:
        return f"{base}.{node.attr}"
    if isinstance(node, ast.Call):
        if (named := named_module(node, "")) is not None:
            return named.partition(".")[0] if getattr(node.func, "id", "") == "__import__" else named
        if names.name_of(node.func) == "builtins.getattr" and len(node.args) > 1:
            base, attribute = library_name(node.args[0], names, within), node.args[1]
            if base is not None and isinstance(attribute, ast.Constant):
                return f"{base}.{attribute.value!s}"
    if isinstance(node, ast.Name) and node.id not in {*names.parameters, *within}:
        values = names.bound.get(node.id, [])
        if len(values) == 1 and isinstance(values[0], ast.Name | ast.Attribute | ast.Call):
            return library_name(values[0], names, within | {node.id})
    return None


def _only_named(node: ast.AST) -> Iterator[ast.AST]:
    """What of a node says of what type something is."""
    for each in (getattr(node, "annotation", None), getattr(node, "returns", None)):
        if isinstance(each, ast.AST):
            yield each
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
        yield from node.args[1:2]


def _alias(parent: ast.Assign | ast.NamedExpr, names: Names) -> bool:
    """Whether a value is given one name, which has no other."""
    targets = parent.targets if isinstance(parent, ast.Assign) else [parent.target]
    return len(targets) == 1 and isinstance(targets[0], ast.Name) and len(names.bound.get(targets[0].id, ())) == 1


def _is_asked_by_name(parent: ast.AST | None, node: ast.AST) -> bool:
    """Whether it is the module in `getattr(module, "name")`, which is looked at as a whole."""
    if not isinstance(parent, ast.Call) or getattr(parent.func, "id", "") != "getattr":
        return False
    return parent.args[:1] == [node] and all(isinstance(a, ast.Constant) for a in parent.args[1:2])


def _given(node: ast.AST, parents: dict[int, ast.AST], tree: ast.AST) -> list[ast.Call]:
    """The call that has arguments of `node(...)`, `node().open(...)`, or of what is done with `name = node()`."""
    last = node
    while True:
        parent = parents.get(id(last))
        if isinstance(parent, ast.Call) and parent.func is last:
            if parent.args or parent.keywords:
                return [parent]
        elif not isinstance(parent, ast.Attribute):
            break
        last = parent
    if isinstance(parent, ast.Call) and last is node and getattr(parent.func, "id", "") != "getattr":
        return [parent]  # map(pq.read_table, paths)
    target = parent.targets[0] if isinstance(parent, ast.Assign) and len(parent.targets) == 1 else None
    if not isinstance(target, ast.Name) or last is node:
        return []
    used = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == target.id and n is not target]
    calls = [_given(n, parents, tree) for n in used if isinstance(n.ctx, ast.Load)]
    return [call for each in calls for call in each] if all(calls) else []
