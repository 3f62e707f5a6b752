"""What cannot be sent to workers is told by the user's variable that holds it."""

from __future__ import annotations

import pytest

from vrecompute.analysis.loading import load_analysis
from vrecompute.errors import AnalysisError
from vrecompute.execution.byvalue import pack

TEXT = """
import functools, io, queue, socket, sys, threading, types, weakref
from vrecompute import Analysis


class Holder:
    pass


{top}


class Cuts(Analysis):
    name = "cuts"

    def columns(self, source):
        return ["x"]

    def process(self, events):
        return {use}
"""
LOCK = "threading.Lock()"
UNSENDABLE = {
    "lock": (f"it = {LOCK}", "it", "`it`, which Cuts.process uses", "each worker has one"),
    "file": ("it = open(__file__, 'rb')", "it", "`it`, which Cuts.process uses", "not the open file"),
    "generator": ("it = (n for n in range(3))", "it", "`it`, which Cuts.process uses", "a list of what it gives"),
    "socket": ("it = socket.socket()", "it", "`it`, which Cuts.process uses", "each worker has one"),
    "weak": ("held = Holder()\nit = weakref.ref(held)", "it", "`it`, which Cuts.process uses", "what it refers to"),
    "lambda": ("file = open(__file__, 'rb')\nit = lambda: file", "it()", "`file`, which <lambda> uses", "open file"),
    "nested": (f"it = {{'a': [1, {{'b': {LOCK}}}]}}", "it", "`it['a'][1]['b']`, which Cuts.process uses", "lock"),
    "attribute": (f"it = Holder()\nit.lock = {LOCK}", "it", "`it.lock`, which Cuts.process uses", "lock"),
    "class": (f"class It:\n    lock = {LOCK}", "It()", "`It.lock`, which It uses", "lock"),
    "closure": (
        f"def make():\n    lock = {LOCK}\n    def it():\n        return lock\n    return it\nit = make()",
        "it()",
        "`lock`, which make.it uses",
        "lock",
    ),
    "default": (f"def it(x=1, lock={LOCK}): return x", "it()", "`lock`, which it uses", "lock"),
    "dispatcher": (
        f"lock = {LOCK}\n@functools.singledispatch\ndef it(x): return lock",
        "it(1)",
        "`lock`, which it uses",
        "lock",
    ),
    "module": (f"it = types.ModuleType('it')\nit.lock = {LOCK}", "it.lock", "`it.lock`, which Cuts.process uses", ""),
    "queue": ("it = queue.Queue()", "it", "`it.mutex`, which Cuts.process uses", "lock"),
    "state": (
        f"class It:\n    def __getstate__(self): return {{'a': {LOCK}}}\nit = It()",
        "it",
        "`it`, which Cuts.process uses",
        "lock",
    ),
}


@pytest.mark.parametrize(("top", "use", "named", "also"), UNSENDABLE.values(), ids=UNSENDABLE)
def test_what_cannot_be_sent_is_named_with_its_user(tmp_path, top, use, named, also):
    file = tmp_path / "cuts.py"
    file.write_text(TEXT.format(top=top, use=use))
    with pytest.raises(AnalysisError) as refused:
        pack(load_analysis(str(file), {})[0])
    assert str(refused.value).startswith(f"cuts.py: {named}, cannot be sent to workers, as it is of type")
    assert also in str(refused.value)


def test_what_an_instance_was_given_is_named(tmp_path):
    file = tmp_path / "cuts.py"
    file.write_text(TEXT.format(top="", use="self.lock"))
    analysis = load_analysis(str(file), {})[0]
    analysis.lock = open(file, "rb")  # noqa: SIM115  # what cannot be sent
    with pytest.raises(AnalysisError, match=r"cuts.py: `self.lock`, which Cuts uses, .* not the open file"):
        pack(analysis)
