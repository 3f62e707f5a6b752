"""What is sent to workers by value arrives as what it was."""

from __future__ import annotations

import pickle

from vrecompute.analysis.loading import load_analysis
from vrecompute.execution.byvalue import pack

LAZY = """
import functools

from vrecompute import Analysis, Result


class Corrections:
    @functools.cached_property
    def scale(self):
        return 3


class Lazy(Analysis):
    name = "lazy"

    def columns(self, source):
        return ["x"]

    @functools.cached_property
    def corrections(self):
        return Corrections()

    def process(self, events):
        assert self.corrections is self.corrections
        return Result(counters={"n": self.corrections.scale})
"""


def test_cached_properties_are_sent_and_count(tmp_path):
    digests = set()
    for scale in (3, 4):
        file = tmp_path / f"lazy{scale}.py"
        file.write_text(LAZY.replace("3", str(scale)))
        packed = pack(load_analysis(str(file), {})[0])
        analysis = pickle.loads(packed.data)[0]
        assert analysis.process(None).counters == {"n": scale}
        assert vars(analysis)["corrections"].scale == scale
        digests.add(packed.code.digest)
    assert len(digests) == 2
