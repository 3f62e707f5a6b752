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
# The driver that backends/README.md prints lies in a package of the same name.
_other = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "my_package"}
store = module("my_package/store")
suite = module("test_my_store")
for _name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
    del sys.modules[_name]
sys.modules.update(_other)
sys.path.remove(PLACE.name)
