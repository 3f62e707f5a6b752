"""`site_store`: the store that runs of a site are kept in, as each of its clients opens it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from vrecompute.sites.access import Access
from vrecompute.sites.model import Site
from vrecompute.sites.onsite import path_on_site, resolve_here
from vrecompute.stores.address import StoreAddress, default_store, folder_of, open_store
from vrecompute.stores.base import Store
from vrecompute.stores.remote import AccessStore

__all__ = ["site_store"]


def site_store(site: Site, access: Callable[[], Access], given: str | Path | None = None, folder: str = "") -> Store:
    """The store of that address, else of the site, else the user's own; a folder behind the site's way in where it is.

    A relative path begins in `folder`, where that is here: by default in the working directory.

    SiteError where a variable of its address is not set, UsageError and Unavailable where it cannot be opened.
    """
    url = str(given or site.store.url or default_store())
    here = site.access.kind == "local" or not site.store.workers_reach
    if here or ("://" in url and not url.startswith("file://")):
        if "://" in url and not given:
            url = str(StoreAddress.of(url, site.store.endpoint, site.store.credentials))
        StoreAddress.check(url)
        place = resolve_here(url, os.environ)
        odd = "://" in place or place != place.encode(errors="ignore").decode()  # which is refused as it was written
        return open_store(place if odd else os.path.join(folder, place))
    way = access()
    return AccessStore(way, path_on_site(way, folder_of(url)))
