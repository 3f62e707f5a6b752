"""The driver of a site, by the entry point that its `backend` names."""

from __future__ import annotations

from vrecompute.batch.contract import Backend
from vrecompute.errors import Unavailable, UsageError
from vrecompute.nearest import hint
from vrecompute.plugins import BACKENDS, installed
from vrecompute.sites.model import Site

__all__ = ["load_backend"]


def load_backend(site: Site) -> Backend:
    """The driver of a site; UsageError where there is none, Unavailable with what to install where it cannot load."""
    known = installed(BACKENDS)
    if site.backend not in known:
        names = ", ".join(known)
        meant = hint(site.backend, known)
        raise UsageError(f"site {site.name!r}: there is no backend {site.backend!r} (installed: {names}){meant}")
    try:
        driver = known[site.backend].load()
    except ImportError as error:
        raise Unavailable(
            f"site {site.name!r}: backend {site.backend!r} needs {error.name}: pip install 'vrecompute[{site.backend}]'"
        ) from error
    backend: Backend = driver(site)
    return backend
