"""An analysis that takes its time, fails when told to, and takes more time or memory than there is where told to."""

import os
import subprocess
import sys
import time

import boost_histogram as bh

from vrecompute.analysis import Analysis, Parameter
from vrecompute.results.result import Result

TOO_MUCH = 4 << 30


def eat(how):
    """Use too much memory: of this process ("own"), or such as no nanny sees ("file", "child")."""
    if how == "own":
        return bytearray(TOO_MUCH)
    if how == "child":
        subprocess.run([sys.executable, "-c", f"x = bytearray({TOO_MUCH}); import time; time.sleep(60)"], check=True)
    ballast = bytearray(200 << 20)  # the kernel kills who has most of its own
    file = os.memfd_create("eaten")
    for _ in range(TOO_MUCH >> 20):
        os.write(file, bytes(1 << 20))
    return ballast


class Slow(Analysis):
    name = "slow"
    reads_facts = ("source",)
    parameters = (
        Parameter("sleep_s", 0.5, "how long a chunk takes"),
        Parameter("greedy_source", "", "the file whose chunks eat all memory", type=str),
        Parameter("slow_source", "", "the file whose chunks take slow_s", type=str),
        Parameter("slow_s", 0.0, "how long those take"),
        Parameter("diary", "", "a file that gets a line for each chunk that is begun", type=str),
        Parameter("greedy_how", "own", "own, file or child", type=str),
        Parameter("divisor", 1, "a number to divide by"),
    )

    def columns(self, source):
        return ["Muon_pt"]

    def process(self, events):
        if self["diary"]:
            with open(self["diary"], "a") as diary:
                print(events.place, events.start, file=diary)
        slow = self["slow_source"] and self["slow_source"] in events.place
        time.sleep(self["slow_s"] if slow else self["sleep_s"])
        if self["greedy_source"] and self["greedy_source"] in events.place:
            self.eaten = eat(self["greedy_how"])
            time.sleep(30)
        pt = events.flat("Muon_pt")
        histogram = bh.Histogram(bh.axis.Regular(50, 0, 200))
        histogram.fill(pt)
        return Result(histograms={"pt": histogram}, counters={"pt_sum_gev": float(pt.sum()) / self["divisor"]})
