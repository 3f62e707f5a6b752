"""A path that is handed out holds the object that was asked for, whatever a store says of where that is."""

from __future__ import annotations

import pytest

from vrecompute.errors import DamagedObject
from vrecompute.stores.copies import local_copy
from vrecompute.stores.directory import DirStore
from vrecompute.stores.objects import content_name, intact, write_content

ONE, OTHER = content_name("blobs", b"one", ".json"), content_name("blobs", b"other", ".json")


class GivesAnothersFile(DirStore):
    def local_path(self, name):
        return super().local_path(ONE)


class GivesNothing(DirStore):
    def local_path(self, name):
        return super().local_path("blobs/nothing")


class GivesAFolder(DirStore):
    def local_path(self, name):
        return super().local_path("blobs")


@pytest.mark.parametrize("kind", [DirStore, GivesAnothersFile, GivesNothing, GivesAFolder])
def test_the_bytes_are_those_of_the_name(kind, tmp_path):
    store = kind(tmp_path)
    write_content(store, ONE, b"one")
    write_content(store, OTHER, b"other")
    for _ in range(2):
        assert local_copy(store, ONE).read_bytes() == b"one"
        assert local_copy(store, OTHER).read_bytes() == b"other"


def test_a_file_that_proved_one_object_proves_no_other(tmp_path):
    store = GivesAnothersFile(tmp_path)
    write_content(store, ONE, b"one")
    assert intact(store, ONE)
    assert not intact(store, OTHER)
    with pytest.raises(DamagedObject, match="is missing or damaged; run the analysis again"):
        local_copy(store, OTHER)


def test_the_stores_own_file_is_read_where_it_lies_and_looked_at_again_once_it_changes(tmp_path):
    store = DirStore(tmp_path)
    write_content(store, ONE, b"one")
    path = local_copy(store, ONE)
    assert path == tmp_path / ONE
    path.write_bytes(b"eno")
    with pytest.raises(DamagedObject, match="is missing or damaged"):
        local_copy(store, ONE)
