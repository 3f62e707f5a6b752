"""The arguments of a node's workers, as Dask reads them."""

from __future__ import annotations

import pytest

from vrecompute.batch.worker_command import WorkerShape, worker_command
from vrecompute.sites.model import PortRange


def option(command, name):
    return command[command.index(name) + 1]


@pytest.mark.parametrize(
    ("first", "last", "workers", "nannies"),
    [
        (10000, 10001, "10000", "10001"),
        (10000, 10002, "10000:10001", "10002"),
        (10000, 10003, "10000:10001", "10002:10003"),
    ],
)
def test_a_half_of_one_port_is_a_port(first, last, workers, nannies):
    command = worker_command(WorkerShape(ports=PortRange(first, last)), "tcp://a:1", leave=False)
    assert (option(command, "--worker-port"), option(command, "--nanny-port")) == (workers, nannies)
