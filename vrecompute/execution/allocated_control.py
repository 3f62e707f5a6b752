"""`AllocatedControl`: what the Runner of a detached run asks of the workers in the same job."""

from __future__ import annotations

from distributed import Client as DaskClient

from vrecompute.batch.barren_steps import NoWorkerComes
from vrecompute.execution.worker_control import WorkerControl

__all__ = ["AllocatedControl"]


class AllocatedControl(WorkerControl):
    """They are started again when they end, and are given up where they end before any of them connects."""

    def __init__(self, dask: DaskClient) -> None:
        self._none_comes = NoWorkerComes(dask)

    def lost(self) -> str:
        """That they end too soon, with what they wrote last."""
        return self._none_comes.why()
