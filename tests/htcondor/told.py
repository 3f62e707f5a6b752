"""An analysis that tells a diary of its machine which attempt of which job computes which chunk."""

import subprocess
import time

import boost_histogram as bh

from vrecompute.analysis import Analysis, Parameter
from vrecompute.results.result import Result

# a file for each attempt: they are of several users
TELL = 'echo "$VRECOMPUTE_JOB $VRECOMPUTE_ATTEMPT $1 $2" >> "$0-$VRECOMPUTE_JOB-$VRECOMPUTE_ATTEMPT"'


class Told(Analysis):
    name = "told"
    parameters = (
        Parameter("diary", "", "how files begin that get a line for each chunk that is begun", type=str),
        Parameter("sleep_s", 3.0, "how long a chunk takes"),
    )

    def columns(self, source):
        return ["Muon_pt"]

    def process(self, events):
        subprocess.run(["sh", "-c", TELL, self["diary"], events.place, str(events.start)], check=True)
        time.sleep(self["sleep_s"])
        pt = events.flat("Muon_pt")
        histogram = bh.Histogram(bh.axis.Regular(50, 0, 200))
        histogram.fill(pt)
        return Result(histograms={"pt": histogram}, counters={"pt_sum_gev": float(pt.sum())})
