"""The credentials of a run: which end before it does, and which its jobs have to be brought; no server is asked."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import suppress

from vrecompute.datasets.dataset import Dataset
from vrecompute.errors import StoreRefused, UnreadableFile
from vrecompute.execution.manifest import Manifest
from vrecompute.lifetime import Lifetime
from vrecompute.plugins import serving
from vrecompute.reader.bytesource import scheme_of
from vrecompute.stores.address import secret_files
from vrecompute.stores.base import Store

__all__ = ["job_secrets", "short_lived", "sites_of", "warn_of_short_lived"]

_LOG = logging.getLogger(__name__)


def sites_of(dataset: Dataset) -> dict[str, str]:
    """One address of each place elsewhere that sources of a dataset may be read at: server or bucket, with options."""
    found: dict[str, str] = {}
    for address in (a for source in dataset.sources for a in source.addresses if scheme_of(a)):
        scheme, _, rest = address.partition("://")
        found.setdefault(f"{scheme}://{rest.partition('/')[0]}?{rest.partition('?')[2]}", address)
    return found


def short_lived(store: Store, dataset: Dataset, end: float, of: str) -> dict[str, str]:
    """By credential, the sentence that says that it ends before `of`, which ends at `end` in seconds since 1970."""
    said = {life.credential: life.short_of(end, of) for life in _lifetimes(store, dataset)}
    return {credential: sentence for credential, sentence in said.items() if sentence}


def warn_of_short_lived(store: Store, manifest: Manifest, job_s: int | None) -> None:
    """Say which credentials end before jobs of a run do that begin now and take `job_s` seconds; None: have ended."""
    for said in short_lived(store, manifest.dataset, time.time() + (job_s or 0), "the job").values():
        _LOG.warning("run %s: %s", manifest.run, said)


def job_secrets(store: Store, dataset: Dataset, *, read: bool = True) -> dict[str, bytes]:
    """Secret files of a job that opens the store and reads the dataset: name -> content.

    Without `read` the content is left out. StoreRefused where the store's is missing here; of sources, what is missing
    here may be where the job is.
    """
    found: dict[str, bytes] = {}
    for address in sites_of(dataset).values():
        if (ask := getattr(serving(scheme_of(address)), "secret_files", None)) is not None:
            with suppress(UnreadableFile, StoreRefused):
                found |= ask(address, read=read)
    return found | secret_files(store, read=read)


def _lifetimes(store: Store, dataset: Dataset) -> Iterator[Lifetime]:
    ask = getattr(store, "lifetime", None)
    if ask is not None and (life := ask()) is not None:
        yield life
    for address in sites_of(dataset).values():
        ask = getattr(serving(scheme_of(address)), "lifetime", None)
        try:
            if ask is not None and (life := ask(address)) is not None:
                yield life
        except UnreadableFile:  # preflight says so
            continue
