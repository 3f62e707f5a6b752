"""A run by hand takes the time that it is given; a store with two runs that several targets read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.engine import BY_HAND
from tests.test_tamper import FINISH, Site
from vrecompute import Client


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """No time limit of a test's own where VRECOMPUTE_FUZZ says how long."""
    for item in items:
        if BY_HAND and "fuzz" in item.path.parts:
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A client whose workers have ended, and a store with two runs of different works."""
    place = tmp_path_factory.mktemp("fuzz")
    (place / "modules").mkdir()
    (place / "modules" / "tamper_finish.py").write_text(FINISH)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(place / "modules")
        with Client(workers=1, threads=2) as client:
            made = Site(client, place)
        yield made
