"""Names made of content: canonical JSON, sha256, and the digest of the code that makes a number (law 3)."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import io
import json
import sys
import tokenize
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = [
    "USER_MODULE",
    "canonical_json",
    "code_digest",
    "file_sha256",
    "module_digests",
    "numerics",
    "seal",
    "sha256_json",
    "sha256_of",
    "strip_comments",
    "unseal",
]

# Distributions whose versions may change a bit of a result.
_NUMERIC_DISTRIBUTIONS = ("numpy", "numba", "awkward", "uproot")
# Prefix of the modules that users' analysis files become.
USER_MODULE = "vrecompute_user_"
# Machinery outside an analysis' own package that is part of its code.
_SHARED_KERNELS = "vrecompute.kernels"


def canonical_json(value: Any) -> bytes:
    """`value` as UTF-8 JSON that is equal for equal values: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain).encode()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not data: use numbers, text, lists and mappings")


def sha256_of(data: bytes) -> str:
    """Hexadecimal sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    """Hexadecimal sha256 of a data-only value."""
    return sha256_of(canonical_json(value))


def seal(value: Mapping[str, Any]) -> bytes:
    """`value` as canonical JSON that carries its own sha256, so that damage to it is noticed."""
    return canonical_json({**value, "sha256": sha256_json(value)})


def unseal(data: bytes) -> dict[str, Any]:
    """The mapping that `seal` wrote; ValueError where the bytes are not what was written."""
    value = json.loads(data)
    if not isinstance(value, dict) or value.pop("sha256", None) != sha256_json(value):
        raise ValueError("its content does not agree with its own sha256")
    return value


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def numerics(declared: Iterable[str] = ()) -> dict[str, str]:
    """Versions of the libraries that may change a number: numpy, numba, awkward, uproot and those declared."""
    found = {}
    for name in sorted({*_NUMERIC_DISTRIBUTIONS, *declared}):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def code_digest(cls: type) -> str:
    """sha256 over the source that defines `cls` and all it imports within its own package and the kernels.

    Comments and blank lines do not count. Imports inside functions do; modules named in strings (as
    `finish` and `figures` are) do not. A class of a notebook counts with its own source alone.
    """
    module = cls.__module__
    if module == "__main__" or _source_file(module) is None:
        return sha256_json({"source": strip_comments(inspect.getsource(cls))})
    return sha256_json({"modules": module_digests(module)})


def module_digests(module: str) -> dict[str, str]:
    """sha256 by module name of a module's source and of all it imports within its own package and the kernels."""
    package = module.partition(".")[0]
    seen: dict[str, str] = {}
    visited: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        file = _source_file(name)
        if name in visited or file is None:
            continue
        visited.add(name)
        text = file.read_text(encoding="utf-8")
        # A user's file is imported under a name made of its bytes, comments and all.
        seen["" if name.startswith(USER_MODULE) else name] = sha256_of(strip_comments(text).encode())
        is_package = file.name == "__init__.py"
        waiting += [n for n in _imports(text, name, is_package) if _counts(n, package)]
    return seen


def _counts(name: str, package: str) -> bool:
    if package == "vrecompute":
        return name.startswith(_SHARED_KERNELS)
    return name.partition(".")[0] == package or name == _SHARED_KERNELS or name.startswith(_SHARED_KERNELS + ".")


def _source_file(module: str) -> Path | None:
    loaded = sys.modules.get(module)
    origin = getattr(loaded, "__file__", None)
    if origin is None:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            return None
        origin = spec.origin if spec else None
    return Path(origin) if origin and origin.endswith(".py") and Path(origin).exists() else None


def _imports(text: str, module: str, is_package: bool) -> list[str]:
    """Absolute names of everything that the source `text` of `module` imports; `from a import b` gives a and a.b."""
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + (1 if is_package else 0)]
                base = ".".join([*parts, base] if base else parts)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names


def strip_comments(text: str) -> str:
    """Source without comments, blank lines and spaces at line ends: what may change without changing a number."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return "\n".join(stripped for line in lines if (stripped := line.rstrip()))
