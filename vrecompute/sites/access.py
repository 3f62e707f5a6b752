"""`Access`: commands and files on the machine that has the batch system's commands: this one, or one behind OpenSSH.

Commands are argument lists. Nothing a user wrote is ever read as shell text: over ssh, whose protocol
carries one string, every argument is quoted for the POSIX shell that reads it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vrecompute.errors import Unavailable, UsageError
from vrecompute.signals import unheard
from vrecompute.sites.model import Site, Ssh

__all__ = ["Access", "Completed", "LocalAccess", "SshAccess", "open_access"]

# What comes before this line on either stream is of the shell that ssh starts there, and of its greetings.
_BEGIN = b"vrecompute-begins\n"
_BEGUN = 'echo vrecompute-begins; echo vrecompute-begins >&2; exec "$@"'
# ssh ends with this code when the connection failed, and with the command's own otherwise.
_SSH_FAILED = 255
# A control socket's path may have about 100 bytes; `%C` takes 40 of them.
_LONGEST_FOLDER = 50

# How long the shared connection stays after its last use, at least.
_PERSIST_S = 120

# $1 is the path. A file is made whole beside its place, under a name that no other machine takes at the same moment,
# with its final mode from the start; nothing stays behind of one that cannot be written.
_BESIDE = (
    'export LC_ALL=C; umask 077 && mkdir -p -- "${1%/*}" && new=$(mktemp -- "${1%/*}/.XXXXXXXXXXXX.tmp") || exit 1; '
    "trap 'rm -f -- \"$new\"' EXIT; "
)
_PUT = _BESIDE + 'cat > "$new" && chmod "$2" "$new" && mv -fT -- "$new" "$1"'
_CREATE = (
    _BESIDE + 'cat > "$new" && sync "$new" || exit 1; '
    'ln -T -- "$new" "$1" 2> /dev/null || { '
    'if [ -L "$1" ] || { [ -e "$1" ] && { [ ! -f "$1" ] || [ -s "$1" ] || [ ! -s "$new" ]; }; }; then exit 17; fi; '
    # without hard links: the process that makes the empty file may rename onto it; one left behind is what is there
    '(set -C; : > "$1") 2> /dev/null || { sleep 5; [ -e "$1" ] && exit 17; }; '
    'mv -fT -- "$new" "$1"; } && sync "${1%/*}"'
)
_GET = '[ -e "$1" ] || [ -L "$1" ] || exit 2; [ -f "$1" ] || { echo "is no file" >&2; exit 1; }; cat -- "$1"'
_LIST = '[ -e "$1" ] || exit 0; cd -- "$1" && find . ! -type d ! -name ".*" -print'
_EXISTS, _ABSENT = 17, 2
# A shell gives no errno, only its text as the C library has it; these tell what to do.
_ERRORS = {os.strerror(number): number for number in (errno.ENOSPC, errno.EDQUOT)}


@dataclass(frozen=True)
class Completed:
    """How a command ended."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """What it wrote to stdout."""
        return self.stdout.decode(errors="replace")

    @property
    def complaint(self) -> str:
        """What it wrote to stderr, on one line."""
        return " ".join(self.stderr.decode(errors="replace").split())

    @property
    def absent(self) -> bool:
        """Whether a shell found no such command."""
        return self.code == 127

    @property
    def complaints(self) -> list[str]:
        """The lines that it wrote to stderr, without those that are blank."""
        return [line.strip() for line in self.stderr.decode(errors="replace").splitlines() if line.strip()]


class Access(ABC):
    """Runs commands and moves files. Constructing one does nothing; the first command connects."""

    @abstractmethod
    def run(self, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
        """Run a command to its end. Raises `Unavailable` where it cannot be run or does not end in time."""

    @abstractmethod
    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command whose stdin and stdout are pipes; its stdin ends when the client stops listening."""

    @contextlib.contextmanager
    def forward(self, host: str, port: int) -> Iterator[tuple[str, int]]:
        """An address here that leads to `host:port` as seen from there, for as long as the context is open."""
        yield host, port

    def put(self, path: str, data: bytes, *, mode: int = 0o600) -> None:
        """Write a file whole, with its final mode; folders on the way are made, for the owner alone."""
        self._checked(["sh", "-c", _PUT, "sh", path, f"{mode:o}"], path, stdin=data)

    def create(self, path: str, data: bytes) -> bool:
        """Write a file that must not exist yet; False, and nothing changed, where it does.

        OSError where it cannot be written, with `errno` where the file system is full.
        """
        return self._checked(["sh", "-c", _CREATE, "sh", path], path, stdin=data, other=_EXISTS).code == 0

    def get(self, path: str) -> bytes | None:
        """A file's content, None where there is none."""
        done = self._checked(["sh", "-c", _GET, "sh", path], path, other=_ABSENT)
        return None if done.code == _ABSENT else done.stdout

    def names(self, folder: str) -> list[str]:
        """Paths of files below `folder`, relative to it and sorted; hidden ones are left out."""
        found = self._checked(["sh", "-c", _LIST, "sh", folder], folder).text.splitlines()
        return sorted(name.removeprefix("./") for name in found)

    def delete(self, *paths: str) -> None:
        """Remove files or whole folders by one command; absent is fine."""
        self._checked(["rm", "-rf", "--", *paths], paths[0])

    def interfaces(self) -> list[str]:
        """The names of its network interfaces, without the loopback."""
        return sorted(set(self.run(["ls", "/sys/class/net"]).text.split()) - {"lo"})

    def _checked(self, command: Sequence[str], path: str, *, stdin: bytes = b"", other: int = 0) -> Completed:
        done = self.run(command, stdin=stdin, timeout_s=600)
        if done.code not in {0, other}:
            error = OSError(f"{self}: {path}: {done.complaint or f'exit code {done.code}'}")
            error.errno = next((number for text, number in _ERRORS.items() if text in done.complaint), None)
            raise error
        return done


class LocalAccess(Access):
    """This machine: the client runs where the batch system's commands are."""

    def __repr__(self) -> str:
        return "this machine"

    def run(self, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
        """Run a command to its end."""
        return _run(list(command), stdin, timeout_s, missing=f"{command[0]} is not installed on this machine")

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command with pipes."""
        return _started(list(command))


class SshAccess(Access):
    """A login node behind OpenSSH: keys or agent only, known host keys only, one connection for everything.

    Processes of one user share the connection, and it ends by itself `persist_s` seconds after its last use. Where
    the user has one open already (`ControlMaster` in ~/.ssh/config), that is used: it may have taken a second
    factor, for which this process cannot ask.
    """

    def __init__(self, ssh: Ssh, *, config: Path | None = None, persist_s: int = _PERSIST_S) -> None:
        if ssh.host.startswith("-") or (ssh.user or "").startswith("-") or (ssh.jump or "").startswith("-"):
            raise UsageError(f"{ssh.host!r}: a host or user may not begin with '-', as an option of ssh does")
        self.ssh = ssh
        self.config = config
        self.persist_s = persist_s
        self._users_own: bool | None = None

    def __repr__(self) -> str:
        return f"ssh {self.ssh.host}"

    def run(self, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
        """Run a command there; raises `Unavailable` with what ssh said where there is no connection."""
        text = shlex.join(["sh", "-c", _BEGUN, "sh", *command])
        done = self._call([], text, stdin=stdin, timeout_s=timeout_s)
        if done.code == _SSH_FAILED:
            self._users_own = None  # they may have opened one, or closed it
            raise Unavailable(
                f"{self}: {done.complaint or 'no connection'}; "
                f"check that `ssh {self.ssh.host} true` works without asking for anything"
            )
        greeting, begun, stdout = done.stdout.partition(_BEGIN)
        if not begun:
            said = " ".join((greeting + done.stderr).decode(errors="replace").split())
            how = f"signal {-done.code} ended ssh here" if done.code < 0 else f"exit code {done.code}"
            raise Unavailable(f"{self}: the login shell ran no command ({how}); its output: {said[:500] or 'nothing'}")
        return Completed(done.code, stdout, done.stderr.rpartition(_BEGIN)[2])

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command there with pipes; what it says may come after greetings."""
        argv = [*self._ssh(), "--", self.ssh.host, shlex.join(command)]
        return _started(argv)

    @contextlib.contextmanager
    def forward(self, host: str, port: int) -> Iterator[tuple[str, int]]:
        """A port on loopback that leads to `host:port` as seen from there (ssh -L), through the shared connection."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            here = probe.getsockname()[1]
        way = ["-L", f"127.0.0.1:{here}:{host}:{port}"]
        what = f"{self}: a tunnel to {host}:{port}"
        if not self.ssh.multiplex:
            with self._tunnel(way, here, what):
                yield "127.0.0.1", here
            return
        self.run(["true"])  # there is a connection from now on
        done = self._call(["-O", "forward", *way])
        if done.code != 0:
            raise Unavailable(f"{what} was refused: {done.complaint}")
        try:
            yield "127.0.0.1", here
        finally:
            # where the connection is gone, so is this; one whose process was killed ends with the connection
            with contextlib.suppress(Unavailable):
                self._call(["-O", "cancel", *way])

    @contextlib.contextmanager
    def _tunnel(self, way: list[str], here: int, what: str) -> Iterator[None]:
        """The same by a separate connection."""
        argv = [*self._ssh(), "-o", "ExitOnForwardFailure=yes", "-N", *way, "--", self.ssh.host]
        nothing = subprocess.DEVNULL
        with unheard():
            tunnel = subprocess.Popen(
                argv, stdin=nothing, stdout=nothing, stderr=subprocess.PIPE, start_new_session=True
            )
        try:
            _await_port(here, tunnel, what)
            yield
        finally:
            tunnel.terminate()
            tunnel.wait()

    def _call(self, options: list[str], *command: str, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
        argv = [*self._ssh(), *options, "--", self.ssh.host, *command]
        return _run(argv, stdin, timeout_s, missing="install openssh-client")

    def _ssh(self) -> list[str]:
        # LogLevel: errors, but not the banner of the site
        argv = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR"]
        argv += ["-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
        if self.config is not None:
            argv += ["-F", str(self.config)]
        for flag, value in (("-l", self.ssh.user), ("-p", self.ssh.port), ("-J", self.ssh.jump)):
            if value is not None:
                argv += [flag, str(value)]
        if not self.ssh.multiplex:
            return [*argv, "-o", "ControlPath=none"]
        if self._users_own is None:
            check = [*argv, "-O", "check", "--", self.ssh.host]
            self._users_own = _run(check, b"", 10, missing="install openssh-client").code == 0
        if self._users_own:
            return argv
        shared = f"ControlPath={_sockets()}/%C"
        return [*argv, "-o", "ControlMaster=auto", "-o", f"ControlPersist={self.persist_s}", "-o", shared]


def open_access(site: Site) -> Access:
    """The way in that the site describes; nothing connects yet."""
    if site.access.ssh is not None:
        # a connection that ended between two polls would be a login for each of them
        return SshAccess(site.access.ssh, persist_s=max(_PERSIST_S, 2 * site.limits.min_poll))
    if site.access.kind == "local":
        return LocalAccess()
    raise UsageError(f"site {site.name!r}: access by {site.access.kind} is not available; give access.ssh, or none")


def _run(argv: list[str], stdin: bytes, timeout_s: float, *, missing: str) -> Completed:
    try:
        # in a new session: a Ctrl-C in the user's terminal is for the client, which has to end its jobs
        process = _started(argv, stderr=subprocess.PIPE)
    except FileNotFoundError as error:
        raise Unavailable(f"command {argv[0]!r} was not found: {missing}") from error
    with process:
        try:
            stdout, stderr = process.communicate(stdin, timeout_s)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise Unavailable(f"`{argv[0]}` did not answer within {timeout_s:.0f} s") from error
        except BaseException:
            process.kill()
            raise
    return Completed(process.returncode, stdout, stderr)


def _started(argv: list[str], *, stderr: int | None = None) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    with unheard():
        return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=stderr, start_new_session=True)


def _sockets() -> Path:
    """A short folder for control sockets that only this user can enter."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and len(runtime) <= _LONGEST_FOLDER and os.access(runtime, os.W_OK):
        folder = Path(runtime) / "vrecompute"
    else:
        folder = Path("/tmp") / f"vrecompute-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    facts = folder.lstat()
    if facts.st_uid != os.getuid() or facts.st_mode & 0o077 or folder.is_symlink():
        raise Unavailable(f"other users can enter {folder}; remove it, it must be a folder of yours with mode 0700")
    return folder


def _await_port(port: int, tunnel: subprocess.Popen[bytes], what: str) -> None:
    stderr: IO[bytes] | None = tunnel.stderr
    for _ in range(150):
        if tunnel.poll() is not None:
            said = " ".join((stderr.read() if stderr else b"").decode(errors="replace").split())
            raise Unavailable(f"{what} ended at once: {said}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            tunnel.wait(0.1)
    raise Unavailable(f"{what} did not open")
