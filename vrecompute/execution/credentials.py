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
from vrecompute.remote.signed import SIGNED_FILE, sign, signable
from vrecompute.sites.model import Site
from vrecompute.stores.address import secret_files
from vrecompute.stores.base import Store

__all__ = [
    "addresses_of",
    "job_secrets",
    "short_lived",
    "sites_of",
    "warn_of_short_lived",
]

_LOG = logging.getLogger(__name__)


# The longest that services sign an address for, and how long a job may wait in its queue meanwhile.
_NO_DATA = Dataset((), ())
_LONGEST_S, _WAIT_S = 7 * 86_400.0, 86_400.0


def addresses_of(dataset: Dataset) -> list[str]:
    """All addresses of its sources that are of other machines."""
    return [a for source in dataset.sources for a in source.addresses if scheme_of(a)]


def sites_of(dataset: Dataset) -> dict[str, str]:
    """One address of each place elsewhere that sources of a dataset may be read at: server or bucket, with options."""
    found: dict[str, str] = {}
    for address in addresses_of(dataset):
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


def job_secrets(
    site: Site, store: Store, dataset: Dataset = _NO_DATA, *, job_s: int | None = None, read: bool = True
) -> dict[str, bytes]:
    """Secret files of a job of a site that opens the store and reads the dataset: name -> content.

    Where the client signs addresses, a detached job is brought those: it takes `job_s` seconds. Workers of a live run
    get them with each task. Without `read` the content is left out. StoreRefused where the store's is missing here,
    CredentialError where addresses have to be signed and cannot; other keys of sources may be where the job is.
    """
    found: dict[str, bytes] = {}
    signed = signable(addresses_of(dataset)) if site.stage.presign or not site.store.workers_reach else []
    for address in sites_of(dataset).values():
        ask = getattr(serving(scheme_of(address)), "secret_files", None)
        if ask is not None and not (signed and signable([address])):
            with suppress(UnreadableFile, StoreRefused):
                found |= ask(address, read=read)
    if signed and job_s is not None:
        life_s, required = min(_LONGEST_S, job_s + _WAIT_S), site.stage.presign
        found[SIGNED_FILE] = sign(signed, life_s, required=required).encoded() if read else b""
    return found | (secret_files(store, read=read) if site.store.workers_reach else {})


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
