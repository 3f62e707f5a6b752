"""An analysis that takes its time, and more time or memory than there is in the file that is told to."""

import time

import boost_histogram as bh

from vrecompute.analysis import Analysis, Parameter
from vrecompute.result import Result


class Slow(Analysis):
    name = "slow"
    parameters = (
        Parameter("sleep_s", 0.5, "how long a chunk takes"),
        Parameter("greedy_source", "", "the file whose chunks eat all memory", str),
        Parameter("slow_source", "", "the file whose chunks take slow_s", str),
        Parameter("slow_s", 0.0, "how long those take"),
        Parameter("diary", "", "a file that gets a line for each chunk that is begun", str),
    )

    def columns(self, source):
        return ["Muon_pt"]

    def process(self, events):
        if self["diary"]:
            with open(self["diary"], "a") as diary:
                print(events.source, events.start, file=diary)
        slow = self["slow_source"] and self["slow_source"] in events.source
        time.sleep(self["slow_s"] if slow else self["sleep_s"])
        if self["greedy_source"] and self["greedy_source"] in events.source:
            self.eaten = bytearray(4 << 30)
            time.sleep(30)
        pt = events.flat("Muon_pt")
        histogram = bh.Histogram(bh.axis.Regular(50, 0, 200))
        histogram.fill(pt)
        return Result(histograms={"pt": histogram}, counters={"pt_sum_gev": float(pt.sum())})
