"""Keep generated loops as source files named by their digest, so that numba can cache what it compiles of them."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
import threading
from collections.abc import Callable
from types import ModuleType

from numba.core.errors import NumbaError

from vrecompute.errors import AnalysisError, UsageError
from vrecompute.kernels import CACHE_VARIABLE
from vrecompute.kernels.cache import cache_folder
from vrecompute.kernels.loop.generate import Source

__all__ = ["explain", "load_source"]

_LOCK = threading.Lock()


def load_source(source: Source) -> Callable[..., None]:
    """The compiled-on-first-call `loop` of a source; written to the cache folder unless it is there.

    A file of that name has that content, so writers may race; what is run is the text itself. A folder that cannot be
    written is a UsageError that names the variable to set.
    """
    name = "vrecompute_loop_" + hashlib.sha256(source.text.encode()).hexdigest()[:24]
    with _LOCK:
        module = sys.modules.get(name) or _import(name, source.text)
    loop: Callable[..., None] = module.loop
    return loop


def _import(name: str, text: str) -> ModuleType:
    try:
        path = cache_folder() / f"{name}.py"
        if not path.exists():
            temporary = path.with_name(f".{name}.{os.getpid()}.{threading.get_ident()}")
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), "w", encoding="utf-8") as file:
                file.write(text)
            temporary.replace(path)
    except OSError as error:
        raise UsageError(
            f"{error.filename} cannot be written ({error.strerror}): "
            f"set {CACHE_VARIABLE} to a folder for compiled event loops"
        ) from error
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        exec(compile(text, path, "exec"), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def explain(error: NumbaError, source: Source, kinds: dict[str, str]) -> AnalysisError:
    """One sentence for what numba could not type: the physicist's file and line, its columns and their types."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    reason = _reason(text)
    numbers = [int(n) for n in re.findall(r'vrecompute_loop_\w+\.py"?[ ,:(]+(?:line )?(\d+)', text)]
    places = [source.lines[n] for n in numbers if n in source.lines]
    if not places:
        return AnalysisError(f"the event loop cannot be compiled: {reason}")
    place = places[-1]
    generated = [source.text.splitlines()[n - 1] for n in numbers if source.lines.get(n) == place]
    columns = sorted({f"{c}.{n}" for line in generated for c, n in re.findall(r"_(?:raw|var)__(\w+?)__(\w+?)\[", line)})
    reads = [f"{c} ({kinds.get(c, 'float64')})" for c in columns]
    hint = f", which reads {', '.join(reads)}," if reads else ""
    return AnalysisError(f"{place}: this line{hint} cannot be compiled: {reason}")


def _reason(text: str) -> str:
    """What numba means, in one line."""
    if "NRT required" in text:
        return "it makes a list, a string or an array, but an event loop holds numbers alone"
    if call := re.search(r">>> (.+)", text):
        plain = re.sub(r"Literal\[\w+\]\((.*?)\)|\b(readonly )?array\((.*?)\)", r"\1\3", call.group(1))
        return f"there is no compiled {plain}"
    lines = (line.strip() for line in text.splitlines())
    noise = ("Failed in", "During:", "File ", "There are", "<source", "-", "The above")
    said = next((line for line in lines if line and not line.startswith(noise)), "numba does not say why")
    return re.sub(r",? defined at .*", "", said)
