"""`Capabilities`: what a driver can do, and what is said where it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vrecompute.errors import UsageError
from vrecompute.sites.model import Site

__all__ = ["Capabilities"]

_DENIED = {
    "clusters": "its driver opens no Dask cluster, so no run is live there; submit runs instead, with --detach",
    "workers": "its driver starts no workers in a job, so no run is detached there; run without --detach",
    "images": "its driver starts no container images; write environment.venv, environment.modules or environment.cvmfs",
    "gpus": "its driver asks for no GPUs; leave workers.gpus out",
}


@dataclass(frozen=True)
class Capabilities:
    """What a driver can do. What it denies is refused before anything starts, and is advice of `site check`.

    `clusters`: `open_cluster` works, for live runs. `workers`: `Job.workers` > 0 works, for detached runs. `images`
    and `gpus`: jobs may have those. `spans`: a job may have several nodes; where it may not, a detached run of more
    workers than fit on one is cut into shares.

    What is not named is as a driver of a queue has it: the script of a job puts its command into an image.
    """

    clusters: bool = True
    workers: bool = True
    images: bool = True
    gpus: bool = False
    spans: bool = True

    def denied(self, site: Site) -> Iterator[tuple[str, str]]:
        """What it cannot do of what the site needs: the key that it is about, and what to do instead."""
        yield from (("backend", _DENIED[name]) for name in ("clusters", "workers") if not getattr(self, name))
        if site.workers.gpus and not self.gpus:
            yield "workers.gpus", _DENIED["gpus"]

    def require(self, name: str, site: str) -> None:
        """UsageError where it is denied."""
        if not getattr(self, name):
            raise UsageError(f"site {site!r}: {_DENIED[name]}")
