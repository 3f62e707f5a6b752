"""The scheduler away from the client: encrypted by a key that no disk keeps, and found behind greetings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from distributed import Client
from distributed.security import Security

from vrecompute.batch.scheduler import address_from, first_facts
from vrecompute.batch.tls import security_of


def keys_in(folder):
    return [path for path in folder.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
def test_no_key_is_left_however_it_ends(tmp_path, end):
    keys = Security.temporary().get_tls_config_for_role("worker")
    pem = keys["cert"] + keys["key"]
    command = [sys.executable, "-m", "vrecompute.batch.scheduler"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    try:
        address = address_from(process, "lo", None, pem)
        assert address.startswith("tls://127.")
        with Client(address, security=security_of(pem), set_as_default=False, timeout=30) as client:
            assert client.run_on_scheduler(lambda: 7) == 7
        with pytest.raises(OSError):  # noqa: PT011 -- what Dask says of a key that is not the cluster's
            Client(address, security=Security.temporary(), set_as_default=False, timeout=3)
        assert keys_in(tmp_path) == []
        if end is not None:
            process.send_signal(end)
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()
    assert keys_in(tmp_path) == []


def test_a_profile_may_print_before_it():
    said = b"Welcome\nLoading gcc/13\n42\n[1]\n" + b'{"address": "tcp://1.2.3.4:5"}\n{"more": 1}\n'
    assert facts_of("printf", said.decode()) == {"address": "tcp://1.2.3.4:5"}
    assert facts_of("echo", "python: not found") == {}


def test_what_never_says_anything_is_ended():
    with subprocess.Popen(["sleep", "600"], stdout=subprocess.PIPE) as silent:
        assert first_facts(silent, 0.5) == {}
        assert silent.wait(20) == -signal.SIGKILL


def facts_of(*command):
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        return first_facts(process, 60.0)
