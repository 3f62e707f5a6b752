"""dask-jobqueue's `Job` and cluster, imported without what the import does to the process.

dask-jobqueue 0.9 takes SIGINT over when it is imported (`dask_jobqueue.runner`): on any thread but the
main one that import fails, and on the main one Ctrl-C in a notebook would end its kernel.
"""

from __future__ import annotations

import signal

__all__ = ["JobQueueCluster", "JobQueueJob"]

_signal = signal.signal
signal.signal = lambda *_: None  # for the length of one import
try:
    from dask_jobqueue.core import Job as JobQueueJob
    from dask_jobqueue.core import JobQueueCluster
finally:
    signal.signal = _signal
