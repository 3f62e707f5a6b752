"""A scheduler takes a port of the site's range that nobody has, and no two that start at once take the same."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys

import pytest

from vrecompute.batch.scheduler import RangedScheduler
from vrecompute.errors import Unavailable
from vrecompute.sites.model import PortRange


def scheduler(first: int, last: int) -> RangedScheduler:
    return RangedScheduler(ports=PortRange(first, last), dashboard=False, dashboard_address="127.0.0.1:0")


@pytest.fixture
def ports():
    """Three ports in a row that nothing listens on, below those that the system gives out by itself."""
    for first in range(20000, 30000, 3):
        try:
            for port in range(first, first + 3):
                socket.create_server(("", port)).close()
        except OSError:
            continue
        return range(first, first + 3)
    raise AssertionError("no three ports in a row are free")


def test_one_that_listens_since_the_range_was_read_is_passed_over(ports):
    async def all_started():
        made = [scheduler(ports[0], ports[-1]) for _ in ports]
        try:
            await asyncio.gather(*made)
            return sorted(int(one.address.rpartition(":")[2]) for one in made)
        finally:
            await asyncio.gather(*(one.close() for one in made))

    assert asyncio.run(all_started()) == list(ports)


def test_where_all_are_taken_the_range_and_the_key_to_widen_are_named(ports):
    async def started():
        with socket.create_server(("", ports[0])):
            await scheduler(ports[0], ports[0])

    with pytest.raises(RuntimeError) as ended:
        asyncio.run(started())
    assert isinstance(ended.value.__cause__, Unavailable)
    assert f"{ports[0]}-{ports[0]} on {socket.gethostname()}; widen network.sched" in str(ended.value.__cause__)


@pytest.mark.slow
def test_processes_of_one_node_that_start_at_once_take_a_port_each(ports):
    command = [sys.executable, "-m", "vrecompute.batch.scheduler"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in [*ports, "one too many"]]
    for one in running:
        one.stdin.write(json.dumps({"interface": None, "ports": [ports[0], ports[-1]], "tls": None}) + "\n")
        one.stdin.flush()
    said = [json.loads(one.stdout.readline()) for one in running]
    for one in running:
        one.stdin.close()
        one.stdout.close()
        one.wait(60)
    taken = [int(facts["address"].rpartition(":")[2]) for facts in said if "address" in facts]
    assert sorted(taken) == list(ports)
    (refused,) = [facts["error"] for facts in said if "error" in facts]
    assert refused.startswith(f"the scheduler could not open a port in {ports[0]}-{ports[-1]} on ")
    assert sorted(one.returncode for one in running) == [0, 0, 0, 5]
