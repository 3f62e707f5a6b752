"""The store and the test file that docs/stores.md prints, as modules."""

from __future__ import annotations

import importlib
import re
import sys
import tempfile
from pathlib import Path
from types import ModuleType

DOCUMENT = Path(__file__).parents[2] / "docs" / "stores.md"
BLOCK = re.compile(r"^```python\n(# (\S+)\.py\n.*?)^```$", re.MULTILINE | re.DOTALL)


def module(path: str) -> ModuleType:
    """The code of the block whose first line has the path, as a module."""
    (code,) = (text for text, name in BLOCK.findall(DOCUMENT.read_text()) if name == path)
    file = Path(PLACE.name, path).with_suffix(".py")
    file.parent.mkdir(exist_ok=True)
    file.write_text(code)
    return importlib.import_module(path.replace("/", "."))


PLACE = tempfile.TemporaryDirectory(prefix="docs-store-")
sys.path.insert(0, PLACE.name)
store = module("my_package/store")
suite = module("test_my_store")
