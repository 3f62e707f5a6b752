"""`SlurmBackend`: jobs of one Slurm cluster, spoken to by its own commands on this machine or behind ssh.

Everything a job leaves on the site lies in one folder, the spool, under names made of its id:

    slurm-ID.out           what it wrote                            (ID is 123, or 123_4 in an array)
    ID.ATTEMPT.end         the exit code of a command that ended by itself: the completion marker
    secrets-DIGEST-INDEX/  its secret files, mode 0700, while it lives

A poll asks for any number of jobs with one command. A marker is believed before squeue, squeue before
sacct, and a job that nobody mentions is UNKNOWN.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pydantic import ValidationError

from vrecompute.access import Access, open_access
from vrecompute.backend import (
    Backend,
    Capabilities,
    Cluster,
    Finding,
    Job,
    JobId,
    JobStatus,
    State,
    SubmitError,
    latest,
)
from vrecompute.errors import SiteError, Unavailable
from vrecompute.site import Site
from vrecompute_backends.slurm_options import SlurmOptions
from vrecompute_backends.slurm_rest import RestStatus
from vrecompute_backends.slurm_script import on_site, render, secrets_folder
from vrecompute_backends.slurm_states import STATES, Record, status_of
from vrecompute_backends.slurm_text import (
    SACCT,
    SQUEUE,
    parse_sacct,
    parse_sacct_json,
    parse_squeue,
    parse_squeue_json,
)

__all__ = ["SlurmBackend", "merge"]

_ID = re.compile(r"[0-9]+(_[0-9]+)?")
#: Lines that separate the answers in the output of a poll; no field that is asked for can hold one.
_SQUEUE, _SACCT = "==== squeue", "==== sacct"
#: $1 spool, $2 ids with commas, $3 and $4 arguments of squeue and sacct, $5 non-empty: ask sacct for all.
#: sacct is slow on many sites: without $5 it is asked only for jobs that squeue does not show alive.
_POLL = r"""
cd -- "$1" 2> /dev/null && for id in $(echo "$2" | tr , ' '); do
  for mark in "$id".*.end; do
    if [ -e "$mark" ]; then read -r code < "$mark"; echo "$mark $code"; fi
  done
done
alive=$(squeue $3 --jobs="$2" 2>&1)
printf '==== squeue %s\n%s\n' "$?" "$alive"
rest=
alive="
$alive"
for id in $(echo "$2" | tr , ' '); do
  case "$5$alive" in
    "
"*"
$id|PENDING|"* | "
"*"
$id|RUNNING|"*) ;;
    *) rest=$rest,$id ;;
  esac
done
if [ -n "$rest" ]; then
  ended=$(sacct $4 --jobs="${rest#,}" 2>&1)
  printf '==== sacct %s\n%s\n' "$?" "$ended"
fi
"""
#: $1 is code made by `on_site`, an assignment of a quoted word: the spool as the site's own shell sees it.
_SPOOL = "umask 077 && mkdir -p -- {folder} && cd -- {folder} && pwd"
#: $1 a folder without its number, $2 how many there shall be; folder 0 is there.
_COPIES = 'i=1; while [ "$i" -lt "$2" ]; do rm -rf -- "$1-$i" && cp -Rp -- "$1-0" "$1-$i" || exit 1; i=$((i+1)); done'
#: Words in sbatch's complaints after which the same job may well be taken a little later.
_TRANSIENT = re.compile(
    r"contact slurm controller|timed out|Zero Bytes|temporar|try again|Connection refused|JobLimit|SubmitJob|"
    r"Job violates accounting/QOS policy|slurmdbd|Slurm backup controller in standby",
    re.IGNORECASE,
)
#: How long a job that ended badly waits for accounting to say why, before squeue's word is taken for it.
_ACCOUNTING_S = 30.0
_MOST_IDS = 5000


class SlurmBackend(Backend):
    """Slurm by `sbatch`, `squeue`, `sacct` and `scancel`; nothing runs before the first call."""

    capabilities = Capabilities(arrays=True, restarts=True, memory=True)
    options_model = SlurmOptions

    def __init__(self, site: Site, access: Access | None = None) -> None:
        self.site = site
        try:
            self.options = SlurmOptions.model_validate(dict(site.options))
        except ValidationError as error:
            raise SiteError(f"site {site.name!r}: options: {error}") from error
        self.access = access if access is not None else open_access(site)
        self._rest: RestStatus | None = None
        if self.options.prefer == "rest":
            if self.options.rest_url is None:
                raise SiteError(f"site {site.name!r}: options.prefer: rest needs options.rest_url")
            self._rest = RestStatus(self.access, self.options.rest_url, self.options.rest_token_file)
        self._folder: str | None = None
        self._known: dict[JobId, JobStatus] = {}
        self._ended: dict[JobId, float] = {}
        self._secrets: dict[JobId, list[str]] = {}
        self._asked = float("-inf")

    def script(self, job: Job) -> str:
        """The script that `submit` gives to sbatch on its standard input."""
        return render(job, self.site, self.options)

    def submit(self, job: Job) -> JobId:
        """Submit one job; `SubmitError` carries what sbatch said, and whether trying later makes sense."""
        self._deliver(job, 1)
        return self._remember(self._sbatch(job, []), job)

    def submit_many(self, job: Job, count: int) -> list[JobId]:
        """Submit `count` copies as one array (`options.array`), or one by one."""
        if count < 2:
            return [self.submit(job) for _ in range(count)]
        if not self.options.array:
            return super().submit_many(job, count)
        self._deliver(job, count)
        master = self._sbatch(job, [f"--array=0-{count - 1}"])
        return [self._remember(f"{master}_{index}", job, index) for index in range(count)]

    def poll(self, ids: Sequence[JobId]) -> dict[JobId, JobStatus]:
        """One command for all; between two of them lie at least `limits.min_poll` seconds, filled from memory."""
        asked = list(dict.fromkeys(ids))
        open_ids = [i for i in asked if i not in self._known or not self._known[i].state.terminal]
        if open_ids and time.monotonic() - self._asked >= self.site.limits.min_poll:
            for start in range(0, len(open_ids), _MOST_IDS):
                self._ask(open_ids[start : start + _MOST_IDS])
            self._asked = time.monotonic()
        return {i: self._status(i) for i in asked}

    def cancel(self, ids: Iterable[JobId]) -> None:
        """`scancel`; jobs that have ended, or never were, are no error."""
        wanted = [i for i in ids if _ID.fullmatch(i)]
        if not wanted:
            return
        done = self.access.run(["scancel", *wanted])
        if done.code != 0 and _TRANSIENT.search(done.complaint):
            raise Unavailable(f"{self.access}: scancel: {done.complaint}; the jobs may go on: cancel again later")

    def logs(self, job_id: JobId) -> str:
        """What the job wrote, from its file in the spool."""
        if not _ID.fullmatch(job_id):
            return ""
        content = self.access.get(f"{self.spool}/slurm-{job_id}.out")
        return (content or b"").decode(errors="replace")

    def open_cluster(self, workers: int) -> Cluster:
        """Workers in jobs of their own behind dask-jobqueue; the scheduler runs where the site says."""
        from vrecompute_backends.slurm_cluster import open_slurm_cluster

        return open_slurm_cluster(self, workers)

    def describe(self, workers: int) -> str:
        """The scripts of a live cluster's jobs; the scheduler's address and keys exist once it runs."""
        from vrecompute_backends.slurm_allocated import scheduler_job, workers_beside
        from vrecompute_backends.slurm_jobs import worker_job

        jobs = []
        if self.site.scheduler_runs == "allocation":
            jobs.append(scheduler_job(self, "vre-scheduler", workers, {}))
        if workers > workers_beside(self, workers):
            jobs.append(worker_job(self.site, "tls://SCHEDULER:PORT", "vre-0", {}))
        return "\n".join(map(self.script, jobs))

    def probe(self) -> list[Finding]:
        """A canary through the real queue; see `slurm_probe`."""
        from vrecompute_backends.slurm_probe import probe

        return probe(self)

    def close(self) -> None:
        """Give the connection back."""
        self.access.close()

    @property
    def spool(self) -> str:
        """The spool's absolute path on the site; made on first use, mode 0700."""
        if self._folder is None:
            scratch = self.site.stage.scratch
            folder = on_site(f"{scratch}/jobs" if scratch else "~/.local/state/vrecompute/slurm")
            # a login shell, since $SCRATCH and its like are set by the site's profile
            done = self.access.run(["bash", "-l", "-c", _SPOOL.format(folder=folder)])
            path = done.text.strip().splitlines()[-1:] or [""]
            if done.code != 0 or not path[0].startswith("/"):
                raise Unavailable(f"{self.access}: cannot make the folder {folder} for jobs: {done.complaint}")
            self._folder = path[0]
        return self._folder

    def _sbatch(self, job: Job, extra: list[str]) -> str:
        command = ["sbatch", "--parsable", f"--chdir={self.spool}", *extra]
        done = self.access.run(command, stdin=self.script(job).encode(), timeout_s=120)
        job_id = done.text.strip().partition(";")[0]
        if done.code != 0 or not _ID.fullmatch(job_id):
            said = done.complaint or f"exit code {done.code}"
            transient = bool(_TRANSIENT.search(said))
            advice = "try again later" if transient else f"`explain` shows the script; mend site {self.site.name!r}"
            raise SubmitError(f"{self.access}: sbatch refused job {job.name!r}: {said} ({advice})", transient=transient)
        return job_id

    def _deliver(self, job: Job, count: int) -> None:
        if not (folder := secrets_folder(job)):
            return
        for name, content in job.secret_files.items():
            self.access.put(f"{self.spool}/{folder}-0/{name}", content, mode=0o600)
        if count > 1:  # each job deletes its own
            done = self.access.run(["sh", "-c", _COPIES, "sh", f"{self.spool}/{folder}", str(count)])
            if done.code != 0:
                raise Unavailable(f"{self.access}: cannot deliver secret files to {self.spool}: {done.complaint}")

    def _remember(self, job_id: str, job: Job, index: int = 0) -> JobId:
        self._known[JobId(job_id)] = JobStatus(State.QUEUED)
        folders = [f"{self.spool}/{folder}-{index}"] if (folder := secrets_folder(job)) else []
        folders += [f"{self.spool}/secrets-tls-{job_id}"] if job.workers else []
        if folders:
            self._secrets[JobId(job_id)] = folders
        return JobId(job_id)

    def sweep(self, ids: Iterable[JobId]) -> None:
        """Delete secrets of jobs submitted here that could not do it: they never started, or died with their node."""
        paths = [path for i in ids for path in self._secrets.pop(i, [])]
        if paths:
            with contextlib.suppress(Unavailable, OSError):  # they are in a folder that only their owner can enter
                self.access.delete(*paths)

    def _ask(self, ids: Sequence[JobId]) -> None:
        """Update what is known of these ids; silence, from Slurm or from the site, changes nothing."""
        named = [i for i in ids if _ID.fullmatch(i)]
        if self._rest is not None:
            for job_id, record in self._ask_rest(self._rest, named).items():
                self._learn(JobId(job_id), record)
            return
        as_json = self.options.prefer == "json"
        squeue = "--json --states=all" if as_json else " ".join(SQUEUE)
        sacct = "--json --duplicates" if as_json else " ".join(SACCT)
        command = ["sh", "-c", _POLL, "sh", self.spool, ",".join(named), squeue, sacct, "all" if as_json else ""]
        try:
            answer = self.access.run(command, timeout_s=120).text if named else ""
        except Unavailable:
            return
        for job_id, record in _records(answer, as_json).items():
            self._learn(JobId(job_id), record)
        self.sweep(
            [i for i in named if self._status(i).state.terminal and self._status(i).state is not State.COMPLETED]
        )

    def _status(self, job_id: JobId) -> JobStatus:
        return self._known.get(job_id, JobStatus(State.UNKNOWN))

    def _ask_rest(self, rest: RestStatus, ids: Sequence[str]) -> dict[str, Record]:
        try:
            controller, accounting = rest.jobs(ids)
            queue, accounts = parse_squeue_json(controller), parse_sacct_json(accounting)
        except (Unavailable, ValueError, KeyError, TypeError):
            return {}
        accounts = {i: replace(r, explained=True) for i, r in accounts.items()}
        return {i: r for i, r in merge({}, queue, accounts).items() if i in set(ids)}

    def _learn(self, job_id: JobId, record: Record) -> None:
        seen = status_of(record)
        if seen.state.terminal and seen.blame != "none" and not record.explained:
            # accounting may still be writing down why; a terminal state cannot be taken back
            first = self._ended.setdefault(job_id, time.monotonic())
            if time.monotonic() - first < _ACCOUNTING_S:
                seen = replace(seen, state=State.RUNNING, reason=f"job {job_id} has ended; Slurm does not say why yet")
        self._known[job_id] = latest(self._known.get(job_id), seen)


def merge(
    marks: Mapping[str, Mapping[int, int]], queue: Mapping[str, Record], accounts: Mapping[str, Record]
) -> dict[str, Record]:
    """What to believe of each job: its latest attempt, where a marker beats squeue and squeue beats sacct.

    `marks` is {id: {attempt: exit code}}. Peaks, limits and steps come from sacct whoever says the state.
    """
    records = {}
    for job_id in {*marks, *queue, *accounts}:
        queued, account = queue.get(job_id), accounts.get(job_id)
        record = max((r for r in (account, queued) if r is not None), key=lambda r: r.restarts, default=None)
        if queued is not None and record is not None and queued.restarts == record.restarts:
            record = queued
            if account is not None and account.restarts == queued.restarts:
                record = _explained(queued, account)
        attempt, code = max(marks.get(job_id, {}).items(), default=(-1, 0))
        if attempt >= 0 and (record is None or attempt >= record.restarts):
            base = record if record is not None and record.restarts == attempt else Record(job_id, "")
            state = "COMPLETED" if code == 0 else "FAILED"
            record = replace(base, state=state, restarts=attempt, exit_code=code, signal=None, explained=True)
        if record is not None:
            records[job_id] = record
    return records


def _explained(queued: Record, account: Record) -> Record:
    """squeue's record with the figures that only accounting has, once accounting knows of the end."""
    over = STATES.get(account.state.split(" ")[0], State.UNKNOWN).terminal
    state = account.state if over and account.state.startswith(queued.state) else queued.state
    return replace(
        queued,
        state=state,  # "CANCELLED by 1000" says more than "CANCELLED"
        memory_peak_bytes=account.memory_peak_bytes,
        memory_limit_bytes=account.memory_limit_bytes,
        elapsed_s=account.elapsed_s if over else queued.elapsed_s,
        steps=account.steps,
        explained=over,
    )


def _records(answer: str, as_json: bool) -> dict[str, Record]:
    """The three answers of a poll as records. An answer that is an error counts as no answer."""
    marks: dict[str, dict[int, int]] = {}
    sections: dict[str, tuple[str, str]] = {}
    name, lines = "", list[str]()
    for line in [*answer.splitlines(), f"{_SACCT} end"]:
        if line.startswith((f"{_SQUEUE} ", f"{_SACCT} ")):
            if name:
                sections[name] = (sections[name][0], "\n".join(lines))
            head, _, code = line.rpartition(" ")
            if code != "end":
                name, lines = head, []
                sections[name] = (code, "")
        elif name:
            lines.append(line)
        elif found := re.fullmatch(r"([0-9_]+)\.([0-9]+)\.end ([0-9]+)", line):
            marks.setdefault(found[1], {})[int(found[2])] = int(found[3])
    readers = {
        _SQUEUE: parse_squeue_json if as_json else parse_squeue,
        _SACCT: parse_sacct_json if as_json else parse_sacct,
    }
    found_by = {}
    for command, reader in readers.items():
        code, text = sections.get(command, ("1", ""))
        try:
            found_by[command] = reader(text) if code == "0" else {}
        except (ValueError, KeyError, TypeError, json.JSONDecodeError):
            found_by[command] = {}
    accounts = {i: replace(r, explained=True) for i, r in found_by[_SACCT].items()}
    return merge(marks, found_by[_SQUEUE], accounts)
