"""The one renderer of job scripts: a pure function of a job, a site and the words of its driver.

    header of the driver      what the system reads: directives, one harmless line each
    VRECOMPUTE_*              id, attempt, number among copies, begin and end, folder of secret files
    prologue                  what makes the site's Python start; the job's own variables
    $TMPDIR                   a folder of this job alone, which goes with it
    the command               alone, or in an allocation with a scheduler and workers
    the end                   rerun on exit code 75 where that is allowed; secrets deleted; the mark

No text of a user is ever read as shell code. Names become harmless words, arguments and values are
quoted, and texts that a site file documents as resolved on the site keep `$NAME` and nothing else.
"""

from __future__ import annotations

import re
import shlex

from vrecompute.batch.carried import carrying
from vrecompute.batch.contract import Job
from vrecompute.batch.prologue import TELL_STEP, prologue
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.shape import shape_of
from vrecompute.batch.spool import secrets_folder
from vrecompute.batch.temporary import DELETE, OWN_FOLDER
from vrecompute.batch.tls import TLS_FILE, tls_environment
from vrecompute.errors import OutOfTime, UsageError
from vrecompute.sites.onsite import needs_set, shell_word
from vrecompute.workers.walltime import ATTEMPTS, BEGAN, ENDS

__all__ = ["BAD_ATTEMPT", "render"]

#: So begins what a job says whose attempt is no number.
BAD_ATTEMPT = "variables['attempt'] of the driver"
#: As of Grid Engine: a job whose script ends with this code is started again.
_EXIT = re.compile(r"exit [0-9]{1,3}")


def render(backend: QueueBackend, job: Job) -> str:
    """The script of a job, to be run in the spool folder."""
    site, folder = backend.site, secrets_folder(job)
    if job.image is not None:
        backend.capabilities.require("images", site.name)
    if job.gpus:
        backend.capabilities.require("gpus", site.name)
    of = {"attempt": "0", "index": "0", "began": "", "ends": "", **backend.variables}
    # in an image it has what the image sets, which a login would set anew
    login = [] if backend.starts_images and job.image is not None else ["-l"]
    lines = [" ".join(["#!/bin/bash", *login]), *backend.header(job, shape_of(job, site))]
    lines += backend.exclude(job.exclude) if job.exclude else []
    lines += [
        "# shellcheck disable=SC1003,SC2016  # quoted text is meant to stay as it is",
        *backend.preamble,
        f'export VRECOMPUTE_JOB="{of["job"]}" VRECOMPUTE_ATTEMPT="{of["attempt"]}" VRECOMPUTE_INDEX="{of["index"]}"',
        # of this attempt: a requeued job has its whole walltime again
        f'began="{of["began"]}" ends="{of["ends"]}"',
        "began=${began:-$(date +%s)}",
        f'export {BEGAN}="$began" {ENDS}="${{ends:-$((began + {backend.granted_s(job)}))}}"',
    ]
    if folder:
        lines.append(f'export VRECOMPUTE_SECRETS="$PWD/{folder}-$VRECOMPUTE_INDEX"')
    first, last = carrying(job) if job.carried is not None else ([], [])
    lines += first
    secrets = ' "$VRECOMPUTE_SECRETS"' if folder and not job.requeue else ""
    lines += ["own=", "vre_step=", f"trap '{TELL_STEP}; {DELETE}{secrets}' EXIT", *_refusing_attempts(site.backend)]
    lines += [*prologue(site, job.environment), *OWN_FOLDER]
    if TLS_FILE in job.secret_files:
        there = tls_environment(f"$VRECOMPUTE_SECRETS/{TLS_FILE}")
        lines += [f"export {name}={shell_word(value)}" for name, value in there.items()]
    if job.image is not None and not backend.starts_images:
        lines += needs_set("environment.image:", job.image, *(site.environment.image_command or ()))
    lines += [_started(backend, job), "code=$?", *last]
    if job.requeue and backend.requeue:
        lines.append(_rerun(backend.requeue))
    if folder and job.requeue:  # an attempt that is killed may be followed by another, which needs them
        lines.append('[ "$code" -ge 128 ] || rm -rf -- "$VRECOMPUTE_SECRETS"')
    lines += [
        "# an end by itself leaves a mark; what a signal ended is for the batch system to explain",
        "mark=$VRECOMPUTE_JOB.$VRECOMPUTE_ATTEMPT.end",
        'if [ "$code" -lt 128 ]; then echo "$code" > "$mark.part" && mv -- "$mark.part" "$mark"; fi',
        'exit "$code"',
    ]
    return "\n".join(lines) + "\n"


def _refusing_attempts(driver: str) -> list[str]:
    """A job whose attempt is no number would leave a mark that no poll can read, and not know its last attempt."""
    said = (
        f"job $VRECOMPUTE_JOB: {BAD_ATTEMPT} {driver} gives '$VRECOMPUTE_ATTEMPT', which is no number from 0 up; "
        "mend it there: the shell of a job is a login shell, whose PATH may lack the command that tells it"
    )
    return [f'case $VRECOMPUTE_ATTEMPT in "" | *[!0-9]*) echo "{said}" >&2; exit 1 ;; esac']


def _started(backend: QueueBackend, job: Job) -> str:
    """The job's command with what starts it on its nodes, and in its image."""
    step = f"{shlex.join(job.step)} " if job.step else ""
    return step + backend.image_words(job.image, job.gpus) + shlex.join(_command(backend, job))


def _command(backend: QueueBackend, job: Job) -> list[str]:
    """The job's command, inside what brings up its scheduler and workers where it has any."""
    if not job.workers:
        return list(job.command)
    workers, network = backend.site.workers, backend.site.network
    processes, nodes = min(job.workers, workers.processes), shape_of(job, backend.site).nodes
    step = backend.step(nodes, processes * workers.threads)
    if step and job.image is not None:
        raise UsageError(
            f"site {backend.site.name!r}: a detached run would start its workers by {step[0]} from inside of the image "
            f"{job.image}, which has none; run it live, or on one node without {step[0]}"
        )
    given = {
        "processes": processes,
        "threads": workers.threads,
        "memory-bytes": workers.memory_per_process,
        "gpus": job.gpus or None,
        "interface": network.interface,
        "ports": network.worker_ports,
        "scheduler-ports": network.scheduler_ports,
        "step": shlex.join(step) or None,
    }
    command = ["python", "-m", "vrecompute.batch.allocation"]
    command += [f"--{name}={value}" for name, value in given.items() if value is not None]
    return [*command, *([] if network.tls else ["--no-tls"]), "--", *job.command]


def _rerun(requeue: str) -> str:
    """Ask the system to start this very job again, where its command is out of time and may be tried once more.

    The system then ends this attempt: returning first would look like the end of the job. Where it goes by the exit
    code, the script itself ends with that. An attempt that has the number of the one before is the last: a driver that
    does not count them would have the job started again for good.
    """
    most = f"${{{ATTEMPTS}:-$((VRECOMPUTE_ATTEMPT + 2))}}"
    again = requeue if _EXIT.fullmatch(requeue) else f"if said=$({requeue} 2>&1); then sleep 120; fi"
    asked = f"""again=$VRECOMPUTE_JOB.again
if [ "$code" = {OutOfTime.exit_code} ]; then
  if [ "$((VRECOMPUTE_ATTEMPT + 1))" -ge "{most}" ]; then
    said="limits.core_hours of the site pays for ${ATTEMPTS} attempts"
  elif [ "$(cat "$again" 2> /dev/null)" = "$VRECOMPUTE_ATTEMPT" ]; then
    said="its attempt before was number $VRECOMPUTE_ATTEMPT too: variables['attempt'] of the driver does not count up"
  else
    echo "$VRECOMPUTE_ATTEMPT" > "$again"
    {again}
  fi
  advice="finished chunks are kept: \\`vrecompute runs attach\\` finishes the run"
  echo "job $VRECOMPUTE_JOB is out of time and cannot be requeued ($said); $advice" >&2
fi"""
    return f'{asked}\nrm -f -- "$again"'
