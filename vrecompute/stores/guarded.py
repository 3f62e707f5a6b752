"""`guarded`: a store of another package, whose every fault is an error of the store.

A Runner takes an OSError for a lost Dask scheduler, and any other exception for one of the analysis.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, cast

from vrecompute.errors import StoreError, StoreFull, UsageError, VrecomputeError
from vrecompute.secret_text import holds_secret, redacted
from vrecompute.stores.base import NO_SPACE, Store

__all__ = ["guarded"]

_ASKED = frozenset(name for name, value in vars(Store).items() if callable(value) and not name.startswith("_"))
_LISTINGS = frozenset({"names", "entries"})


def guarded(store: Store) -> Store:
    """The store itself where it is one of ours; otherwise one that raises StoreError or StoreFull for whatever else.

    UsageError where its url, which is written into jobs and reports, holds a secret.
    """
    if isinstance(store, _Guarded) or type(store).__module__.partition(".")[0] == __name__.partition(".")[0]:
        return store
    if holds_secret(store.url):
        raise UsageError(
            f"the url of the store, which {_serving(store)} gives, holds a secret, and would be written into jobs and "
            "reports; leave it out there, and have each process find the secret by a variable, a file or a profile"
        )
    return cast("Store", _Guarded(store))


class _Guarded:
    """All that the store has, besides."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __repr__(self) -> str:
        return repr(self._store)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_store":  # copies are made before there is one
            raise AttributeError(name)
        value = getattr(self._store, name)
        if name not in _ASKED:
            return value
        return functools.wraps(value)(functools.partial(self._asked, name, value))

    def _asked(self, method: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            answer = call(*arguments, **named)
        except VrecomputeError:
            raise
        except Exception as error:
            raise self._told(method, error, arguments) from error
        return self._listed(method, answer, arguments) if method in _LISTINGS else answer

    def _listed(self, method: str, answer: Any, arguments: tuple[Any, ...]) -> Iterator[Any]:
        """A listing that is made while it is read."""
        try:
            yield from answer
        except VrecomputeError:
            raise
        except Exception as error:
            raise self._told(method, error, arguments) from error

    def _told(self, method: str, error: Exception, arguments: tuple[Any, ...]) -> StoreError:
        kind = StoreFull if isinstance(error, OSError) and error.errno in NO_SPACE else StoreError
        what = f" of {arguments[0]!r}" if arguments else ""
        return kind(
            f"{self._store.url}: {method}{what} raised {type(error).__name__}: {redacted(str(error))}; "
            f"this is of the store, which {_serving(self._store)} serves"
        )


def _serving(store: Store) -> str:
    return f"{type(store).__module__}.{type(store).__qualname__}"
