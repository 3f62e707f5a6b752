"""S3Store keeps what every store promises, on a service that has conditional writes and on one that has none."""

from __future__ import annotations

import pytest

from vrecompute.testing import StoreContract

pytestmark = pytest.mark.s3


class TestS3Store(StoreContract):
    races = 6

    @pytest.fixture
    def make_store(self, service, prefix):
        return lambda: service.store(prefix)
