"""An event loop run as ordinary Python: every variation a pass of its own, nothing hoisted, nothing compiled."""

from __future__ import annotations

import inspect
from collections import defaultdict
from types import SimpleNamespace

import numpy as np


class Objects:
    """One event's objects of a collection: `muon.pt[i]`, `len(muon)`."""

    def __init__(self, size, columns):
        self.size = size
        self.__dict__.update(columns)

    def __len__(self):
        return self.size


class Cut:
    def __init__(self, counts):
        self.counts = counts

    def __getattr__(self, channel):
        return lambda cut: self.counts.__setitem__((channel, cut), self.counts[channel, cut] + 1)


class Count:
    def __init__(self, counts):
        self.counts = counts

    def __getattr__(self, name):
        return lambda n=1: self.counts.__setitem__(name, self.counts[name] + n)


class Histogram:
    def __init__(self, edges):
        self.edges = edges
        self.sums = np.zeros((2, len(edges) + 1))

    def fill(self, x, w=1.0):
        k = np.searchsorted(self.edges, x, side="right")
        self.sums[0, k] += w
        self.sums[1, k] += w * w


def run_plainly(loop, edges, events, collections, event, parameters, variation, sequence=list):
    """Histograms (2, bins + 2), cut counts and counters of one variation; a column of an event is a `sequence`."""
    histograms = {name: Histogram(np.asarray(e)) for name, e in edges.items()}
    cuts, counts = defaultdict(int), defaultdict(float)
    p = SimpleNamespace(**parameters)
    for k in range(events):
        things = {"p": p, "cut": Cut(cuts), "count": Count(counts), **histograms}
        things["event"] = SimpleNamespace(**{n: v[k].item() for n, v in event.items()})
        for name, c in collections.items():
            a, b = c.offsets[k], c.offsets[k + 1]
            columns = {n: sequence(x.item() for x in v[a:b]) for n, v in c.columns.items()}
            raw = Objects(int(b - a), columns)
            things[name] = Objects(int(b - a), dict(columns))
            for vary in loop._varied:
                if vary.column.startswith(f"{name}.") and variation in vary.shifts:
                    shift = vary.shifts[variation]
                    varied = sequence(call(vary.function, things, raw, i, shift) for i in range(len(raw)))
                    setattr(things[name], vary.column.partition(".")[2], varied)
        for column, function in loop._derived.items():
            objects = things[column.partition(".")[0]]
            derived = sequence(call(function, things, objects, i) for i in range(len(objects)))
            setattr(objects, column.partition(".")[2], derived)
        results = {}
        for name, step in loop._steps.items():
            parameters_of = inspect.signature(step).parameters
            wanted = [n for n, q in parameters_of.items() if n in loop._steps and q.default is not None]
            if all(results[n] is not None for n in wanted):
                results[name] = step(*(results[n] if n in loop._steps else things[n] for n in parameters_of))
            else:
                results[name] = None
    return {n: h.sums for n, h in histograms.items()}, dict(cuts), dict(counts)


def call(function, things, objects, i, *shift):
    rest = list(inspect.signature(function).parameters)[2 + len(shift) :]
    return function(objects, i, *shift, *(things[n] for n in rest))
