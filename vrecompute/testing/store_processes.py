"""`StoreProcesses`: the part of `StoreContract` that takes another process, which opens the store by its url alone."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from vrecompute.errors import AbsentObject
from vrecompute.stores.address import SCHEMES, StoreAddress, open_store
from vrecompute.stores.base import Store

__all__ = ["OtherProcess", "StoreProcesses"]

_GOOD, _OTHER = b"good", b"other"
# How long another process may take to start, or to answer.
_PATIENCE_S = 120.0


class OtherProcess:
    """The store as a process has it that was given its url and nothing else: methods are called there."""

    def __init__(self, url: str) -> None:
        self._of = url, dict(SCHEMES)
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

    def begin(self, method: str, *arguments: Any) -> Future[Any]:
        """Call a method of the store; what it gives, or raises, comes later. Of an iterator, the list."""
        return self._pool.submit(_call, *self._of, method, arguments)

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the store, and give what it gives or raise what it raises."""
        return self.begin(method, *arguments).result(_PATIENCE_S)

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()


class StoreProcesses:
    """`opens_elsewhere`: whether another process opens the store by its url. A double that lives in one does not."""

    opens_elsewhere = True
    #: Of this many names two processes create each at the same moment; fewer where a store takes seconds for one.
    races = 60

    @pytest.fixture
    def another_process(self, store: Store) -> Iterator[Callable[[], OtherProcess]]:
        """A function that starts a process which opens the store by its url.

        It knows the schemes of `SCHEMES` here, and imports their stores by name.
        """
        if not self.opens_elsewhere:
            pytest.skip(f"{type(self).__name__}.opens_elsewhere is False: no other process opens the store by its url")
        made: list[OtherProcess] = []

        def start() -> OtherProcess:
            other = OtherProcess(store.url)
            made.append(other)
            try:
                other.ask("exists", "nothing")
            except Exception as error:
                pytest.fail(
                    f"another process cannot open {store.url!r}, as workers do: {type(error).__name__}: {error}; a "
                    f"double that lives in one process says {type(self).__name__}.opens_elsewhere = False"
                )
            return other

        yield start
        for other in made:
            other.close()

    def test_what_another_process_does_is_seen(
        self, store: Store, another_process: Callable[[], OtherProcess], tmp_path: Path
    ) -> None:
        """In both directions and at once, also of what was read before: a client and its workers are processes."""
        other = another_process()
        assert store.create("p/here", _GOOD)
        assert other.ask("get", "p/here") == _GOOD
        assert not other.ask("create", "p/here", _OTHER), "the name is taken, by another process"
        assert other.ask("create", "p/there", _GOOD)
        assert not store.create("p/there", _OTHER), "the name is taken, by another process"
        assert store.get("p/there") == _GOOD
        (file := tmp_path / "file of the test").write_bytes(_GOOD)
        assert other.ask("put_file", "p/file", file)
        assert store.get("p/file") == _GOOD
        other.ask("replace", "p/there", _OTHER)
        assert store.get("p/there") == _OTHER, "replaced by another process"
        store.replace("p/here", _OTHER)
        assert other.ask("get", "p/here") == _OTHER, "replaced by another process"
        removals: list[tuple[str, tuple[Any, ...]]] = [("delete", ()), ("set_aside", ()), ("retire", (2.0**40,))]
        for method, more in removals:
            assert store.create("p/removed", _GOOD)
            assert store.get("p/removed") == _GOOD
            other.ask(method, "p/removed", *more)
            with pytest.raises(AbsentObject):
                store.get("p/removed")
            assert not store.exists("p/removed"), f"{method} of another process"

    def test_of_two_processes_one_creates(self, store: Store, another_process: Callable[[], OtherProcess]) -> None:
        """The first one, and both read its bytes: parts of a run have many writers."""
        others = [another_process(), another_process()]
        for number in range(self.races):
            name = f"races/{number}"
            asked = [other.begin("create", name, b"%d" % which * 50_000) for which, other in enumerate(others)]
            made = [future.result(_PATIENCE_S) for future in asked]
            assert sorted(made) == [False, True], f"of two processes that create {name!r}, each says whether it did"
            data = b"%d" % made.index(True) * 50_000
            assert store.get(name) == data == others[made.index(False)].ask("get", name), "and the first is kept"


def _call(
    url: str, schemes: Mapping[str, Callable[[StoreAddress], Store]], method: str, arguments: tuple[Any, ...]
) -> Any:
    """In the other process."""
    SCHEMES.update(schemes)  # what a module registers when it is imported does not stand in the way
    given = getattr(open_store(url), method)(*arguments)
    return list(given) if method in {"names", "entries"} else given
