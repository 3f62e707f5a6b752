"""Commands and files on this machine by `LocalAccess`, and what `SshAccess` asks of OpenSSH."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrecompute.errors import Unavailable, UsageError
from vrecompute.sites.access import LocalAccess, SshAccess, open_access
from vrecompute.sites.model import Credentials, Site, SiteAccess, Ssh, Unicore
from vrecompute.stores.objects import content_name, read_content, write_content
from vrecompute.stores.remote import AccessStore

hostile = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=30)


@given(st.lists(hostile, min_size=1, max_size=4))
def test_arguments_arrive_as_they_are(arguments):
    printed = LocalAccess().run(["printf", r"%s\0", *arguments]).stdout
    assert printed == "".join(a + "\0" for a in arguments).encode()


@given(hostile)
def test_what_ssh_sends_is_one_word_an_argument_to_the_shell_there(argument):
    assert LocalAccess().run(["sh", "-c", shlex.join(["printf", "%s", argument])]).stdout == argument.encode()


def test_files_are_private_whole_and_created_once(tmp_path):
    access, path = LocalAccess(), str(tmp_path / "a b" / "it's $(x)")
    assert access.get(path) is None
    access.put(path, b"\0one")
    assert access.get(path) == b"\0one"
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.stat(tmp_path / "a b").st_mode & 0o077 == 0
    assert access.create(path, b"two") is False
    assert access.get(path) == b"\0one"
    assert access.create(str(tmp_path / "a b" / "new"), b"two") is True
    assert access.names(str(tmp_path)) == ["a b/it's $(x)", "a b/new"]
    access.delete(str(tmp_path / "a b"))
    assert access.names(str(tmp_path)) == []
    assert access.names(str(tmp_path / "never")) == []


def test_files_are_created_once_where_there_are_no_hard_links(tmp_path, monkeypatch):
    """As on EOS, CIFS and FUSE; `ln` of this PATH fails as it does there."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ln").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "ln").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    access, path = LocalAccess(), str(tmp_path / "a" / "x")
    assert access.create(path, b"one") is True
    assert access.create(path, b"two") is False
    assert access.get(path) == b"one"
    (tmp_path / "a" / "claimed").touch()  # by a writer that was killed
    assert access.create(str(tmp_path / "a" / "claimed"), b"whole") is False
    store, name = AccessStore(access, str(tmp_path)), content_name("a", b"whole")
    (tmp_path / name).touch()
    write_content(store, name, b"whole")
    assert read_content(store, name) == b"whole"


def test_a_file_that_cannot_be_written_says_why(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        LocalAccess().put(str(tmp_path / "file" / "below"), b"")


def test_nothing_stays_behind_of_a_file_that_cannot_be_written(tmp_path):
    access, folder = LocalAccess(), tmp_path / "folder"
    (folder / "taken" / "below").mkdir(parents=True)
    with pytest.raises(OSError, match="taken"):
        access.put(str(folder / "taken"), b"secret", mode=0o600)  # a folder is in its place
    assert access.create(str(folder / "once"), b"1") is True
    assert access.create(str(folder / "once"), b"2") is False
    assert sorted(path.name for path in folder.iterdir()) == ["once", "taken"]


def test_a_missing_or_silent_command_is_unavailable():
    with pytest.raises(Unavailable, match="no-such-command-anywhere"):
        LocalAccess().run(["no-such-command-anywhere"])
    with pytest.raises(Unavailable, match="did not answer"):
        LocalAccess().run(["sleep", "5"], timeout_s=0.2)


def test_ssh_uses_keys_known_hosts_and_one_connection(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path)[:50] if len(str(tmp_path)) <= 50 else "")
    access = SshAccess(Ssh(host="login", user="me", port=2222, jump="gate"))
    access._users_own = False
    argv = access._ssh()
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "ControlMaster=auto"} <= set(argv)
    assert [argv[argv.index(flag) + 1] for flag in ("-l", "-p", "-J")] == ["me", "2222", "gate"]
    alone = SshAccess(Ssh(host="login", multiplex=False))._ssh()
    assert "ControlPath=none" in alone


def test_a_host_that_would_be_an_option_is_refused():
    with pytest.raises(UsageError, match="option of ssh"):
        SshAccess(Ssh(host="-oProxyCommand=touch /tmp/x"))


def test_no_connection_says_what_to_check(tmp_path):
    config = tmp_path / "config"
    config.write_text("Host nowhere\n  HostName 127.0.0.1\n  Port 1\n")
    access = SshAccess(Ssh(host="nowhere", multiplex=False), config=Path(config))
    with pytest.raises(Unavailable, match="ssh nowhere true"):
        access.run(["true"])


def test_the_site_says_how_it_is_reached():
    assert isinstance(open_access(Site(name="a", backend="slurm")), LocalAccess)
    there = Site(name="a", backend="slurm", access=SiteAccess(ssh=Ssh(host="login")))
    assert isinstance(open_access(there), SshAccess)
    rest = Site(
        name="a", backend="slurm", access=SiteAccess(unicore=Unicore(url="https://x", credentials=Credentials()))
    )
    with pytest.raises(UsageError, match="unicore"):
        open_access(rest)


GREETING = "echo 'Welcome to the machine'; echo 'password expires: timed out soon' >&2; "


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """`ssh(greeting)`: a stand-in for ssh whose other side is a shell here that prints a greeting first."""

    def make(greeting):
        path = tmp_path / "bin" / "ssh"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\nfor command; do :; done\n{greeting}\nexec sh -c "$command"\n')
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
        return SshAccess(Ssh(host="login", multiplex=False))

    return make


def test_what_a_login_shell_prints_is_no_part_of_a_commands_answer_nor_of_a_file(ssh, tmp_path):
    access, content = ssh(GREETING), b"\0binary\nvrecompute-begins\nmore\r\n"
    done = access.run(["sh", "-c", "printf '%s' \"$1\"; echo no >&2; exit 3", "sh", "it's"])
    assert (done.code, done.stdout, done.complaint) == (3, b"it's", "no")
    access.put(f"{tmp_path}/file", content)
    assert (tmp_path / "file").read_bytes() == content
    assert access.get(f"{tmp_path}/file") == content
    assert access.get(f"{tmp_path}/nothing") is None
    assert access.names(str(tmp_path / "bin")) == ["ssh"]


def test_a_place_that_runs_no_commands_says_so(ssh):
    said = r"the login shell ran no command \(exit code 1\); its output: This account is not available"
    with pytest.raises(Unavailable, match=said):
        ssh("echo 'This account is not available.'; exit 1").run(["true"])


_COMMANDS = """
import signal
from vrecompute.sites.access import LocalAccess

signal.signal(signal.SIGINT, lambda *given: None)  # of a client that goes on, as one that cancels its jobs
print("begins", flush=True)
codes = [LocalAccess().run(["true"]).code for _ in range(300)]
print("ended", sorted(set(codes)))
"""


def test_an_interrupt_of_the_terminal_ends_no_command_that_is_being_started():
    command = [sys.executable, "-c", _COMMANDS]
    with subprocess.Popen(command, process_group=0, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "begins\n"
        said, out = [], client.stdout
        told = threading.Thread(target=lambda: said.append(out.read()))
        told.start()
        while told.is_alive():
            os.killpg(client.pid, signal.SIGINT)
            time.sleep(0.001)
        told.join()
    assert said == ["ended [0]\n"]
