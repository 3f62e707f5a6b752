"""`Spool`: the one folder of a site in which jobs run, and which holds all that they leave there.

    LOG                    what a job wrote, and what became of it; its driver says under which names
    ID.ATTEMPT.end         the exit code of a command that ended by itself: the mark
    secrets-DIGEST-INDEX/  its secret files, mode 0700, while it lives; `.job` there is its id, for other processes
    secrets-tls-ID/        the keys that a job with workers made for itself
    carried-NAME/          files that go with a job, and carried-NAME@INDEX/ what comes back (`carried`)
    vre-NAME.json          where a scheduler listens, until its client has read it
    polled-KEY             the batch system's latest answer, for all clients of the user (`shared_answer`)
    node-NAME.bad          why jobs are kept off a node, and until when (`left_out`)

What is older than 60 days goes: also the secrets of a job that never began, of a client that was killed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256

from vrecompute.batch.contract import Job, JobId
from vrecompute.errors import Unavailable, UsageError
from vrecompute.sites.access import Access
from vrecompute.sites.model import Site
from vrecompute.sites.onsite import needs_set, shell_word

__all__ = ["OWNER", "Spool", "marks", "secrets_folder"]

#: The file among the secrets of a job that says whose they are.
OWNER = ".job"

#: {folder} is a word made by `shell_word`: the spool as the site's own shell sees it. What is too old in it goes.
_MAKE = (
    "umask 077 && mkdir -p -- {folder} && cd -- {folder} && "
    # scripts in it run as this user: one that another user made there beforehand is none
    "{{ [ -O . ] || {{ echo 'it belongs to another user, who could change what jobs run' >&2; exit 1; }}; }} && "
    "chmod go-w . && "
    "{{ find . -maxdepth 1 -mtime +{days} "
    "\\( -name '*.out' -o -name '*.end' -o -name 'vre-*.json' -o -name 'polled-*' -o -name 'node-*.bad' "
    "-o -name 'secrets-*' -o -name 'condor-*' -o -name 'vre-*.sh' -o -name 'carried-*' \\) "
    "-exec rm -rf -- {{}} + 2> /dev/null || :; }} && pwd"
)
#: $1 a folder without its number, $2 how many there shall be; folder 0 is there.
_COPIES = 'i=1; while [ "$i" -lt "$2" ]; do rm -rf -- "$1-$i" && cp -Rp -- "$1-0" "$1-$i" || exit 1; i=$((i+1)); done'
#: $1 the spool. Each line of stdin: a folder of secrets and the id of its job, which may have deleted it already.
_OWN = f'cd -- "$1" && while read -r folder id; do {{ echo "$id" > "$folder/{OWNER}"; }} 2> /dev/null; done; :'
#: $1 the spool, $2 ids with commas: the folders of secrets of these jobs are deleted.
_DISOWN = rf"""cd -- "$1" && for owner in secrets-*/{OWNER}; do
  {{ read -r id < "$owner"; }} 2> /dev/null && case ",$2," in *",$id,"*) rm -rf -- "${{owner%/*}}" ;; esac
done; :"""
_KEPT_DAYS = 60
#: What is said where the same folder may be made a little later; all else is for the site's file to mend.
_PASSING = re.compile(r"No space left|[Qq]uota|[Ss]tale|Input/output error|timed out|temporarily")
_FOLDER = re.compile(r"secrets-[0-9a-f]{24}-[0-9]{1,9}")


def secrets_folder(job: Job) -> str:
    """The folder in the spool that the job's secret files go to, empty without any; it tells nothing of them.

    Jobs of one name with the same secrets share it, and lose it together: name jobs with secrets apart.
    """
    if not job.secret_files:
        return ""
    digest = sha256(job.name.encode())
    for name, content in sorted(job.secret_files.items()):
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
            raise UsageError(f"{name!r} is not a name for a secret file: use letters, digits, '.', '_' and '-'")
        digest.update(name.encode() + b"\0" + sha256(content).digest())
    return f"secrets-{digest.hexdigest()[:24]}"


def marks(job_id: JobId, attempt: int) -> list[str]:
    """The marks that a job's attempts up to this one may have left."""
    return [f"{job_id}.{number}.end" for number in range(attempt + 1)]


class Spool:
    """The spool of one Backend."""

    def __init__(self, site: Site, access: Access, suffix: str = "") -> None:
        self.site, self.access, self._suffix = site, access, suffix
        self._path: str | None = None
        self._secrets: dict[JobId, list[str]] = {}
        self._litter: list[str] = []
        self._found: dict[str, set[str]] = {}

    @property
    def path(self) -> str:
        """Its absolute path on the site; made on first use, mode 0700."""
        if self._path is None:
            scratch = self.site.stage.scratch
            place = f"{scratch}/jobs" if scratch else f"~/.local/state/vrecompute/{self.site.backend}"
            folder = shell_word(f"{place}{self._suffix}")
            # a login shell, since $SCRATCH and its like are set by the site's profile
            lines = [*needs_set("stage.scratch", place), _MAKE.format(folder=folder, days=_KEPT_DAYS)]
            done = self.access.run(["bash", "-l", "-c", "\n".join(lines)])
            path = done.text.strip().splitlines()[-1:] or [""]
            if done.code != 0 or not path[0].startswith("/"):
                said = f"{self.access}: cannot make the folder {folder} for jobs: {done.complaint}"
                error = Unavailable(said, mend="stage.scratch")
                if not _PASSING.search(done.complaint):
                    error.exit_code = UsageError.exit_code
                raise error
            self._path = path[0]
        return self._path

    def read(self, name: str) -> bytes | None:
        """A file's content, None where there is none."""
        with self._reached():
            return self.access.get(f"{self.path}/{name}")

    def take(self, name: str) -> bytes | None:
        """A file's content, which is then deleted; None where there is none."""
        if (content := self.read(name)) is not None:
            with self._reached():
                self.access.delete(f"{self.path}/{name}")
        return content

    def deliver(self, job: Job, count: int) -> None:
        """Bring the secret files of so many copies of a job, each of which deletes its own."""
        if not (folder := secrets_folder(job)):
            return
        with self._reached():
            for name, content in job.secret_files.items():
                self.access.put(f"{self.path}/{folder}-0/{name}", content, mode=0o600)
        if count > 1:
            done = self.access.run(["sh", "-c", _COPIES, "sh", f"{self.path}/{folder}", str(count)])
            if done.code != 0:
                said = f"{self.access}: cannot deliver secret files to {self.path}: {done.complaint}"
                raise Unavailable(said, mend="stage.scratch")

    def submitted(self, job: Job, ids: Sequence[JobId]) -> None:
        """Copies of the job were taken under these ids, in their order: what is theirs, also for other processes."""
        owned = self._folders(job, len(ids))
        for job_id, folder in zip(ids, owned or [""] * len(ids), strict=True):
            # also of a job without any: then nothing is looked for
            made = [f"{self.path}/secrets-tls-{job_id}"] * bool(job.workers)
            self._secrets[job_id] = [folder] * bool(folder) + made
        if owned:
            with contextlib.suppress(Unavailable):
                pairs = (f"{folder} {job_id}\n" for folder, job_id in zip(owned, ids, strict=True))
                self.access.run(["sh", "-c", _OWN, "sh", self.path], stdin="".join(pairs).encode())

    def told(self, folders: Mapping[JobId, str]) -> None:
        """The system says which folder it brings the secrets of jobs from, also of those of another process."""
        for job_id, folder in folders.items():
            if _FOLDER.fullmatch(folder):
                self._secrets.setdefault(job_id, [f"{self.path}/{folder}"])

    def refused(self, job: Job, count: int) -> None:
        """Of what is not submitted, nothing stays."""
        self._delete(self._folders(job, count))

    def sweep(self, ids: Iterable[JobId]) -> None:
        """Delete secrets of jobs that could not do it: they never started, or died with their node."""
        self._delete([path for i in ids for path in self._secrets.pop(i, [])])

    def seen(self, secrets: Mapping[str, set[str]]) -> None:
        """A look at the spool found these folders of secrets, by the id of their job."""
        self._found.update(secrets)

    def sweep_found(self, ids: Iterable[JobId]) -> None:
        """Delete what was found of jobs that could not do it, also of those of another process."""
        found = [name for job_id in ids for name in self._found.pop(job_id, ())]
        self._delete([f"{self.path}/{name}" for name in sorted(found)])

    def cancelled(self, ids: Sequence[JobId]) -> None:
        """Delete their secrets; those of another process' jobs say whose they are."""
        strangers = [i for i in ids if i not in self._secrets]
        self._delete([path for i in ids for path in self._secrets.pop(i, [f"{self.path}/secrets-tls-{i}"])])
        if strangers:
            with contextlib.suppress(Unavailable):
                self.access.run(["sh", "-c", _DISOWN, "sh", self.path, ",".join(strangers)])

    def forget(self, names: Sequence[str]) -> None:
        """Remove files that nothing will ask for any more."""
        self._delete([f"{self.path}/{name}" for name in names])

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        """Unavailable where a file cannot be read or written, as where there is no room for it."""
        try:
            yield
        except OSError as error:
            advice = f"jobs of site {self.site.name!r} keep their files there: make room, or set another stage.scratch"
            raise Unavailable(f"{error}; {advice}", mend="stage.scratch") from error

    def _folders(self, job: Job, count: int) -> list[str]:
        """Where the secret files of so many copies of a job go."""
        folder = secrets_folder(job)
        return [f"{self.path}/{folder}-{index}" for index in range(count)] if folder else []

    def _delete(self, paths: Sequence[str]) -> None:
        """Delete now, or with the next that is deleted; they are in a folder that only their owner can enter."""
        self._litter += paths
        if self._litter:
            with contextlib.suppress(Unavailable, OSError):
                self.access.delete(*self._litter)
                self._litter.clear()
