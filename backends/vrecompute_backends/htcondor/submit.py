"""What condor_submit, condor_rm and condor_q are given about jobs of ours, and what their answers mean."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from functools import partial

from vrecompute.batch.complaints import Complaints
from vrecompute.batch.contract import Job
from vrecompute.batch.questions import Questions
from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.batch.shape import job_name
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Completed
from vrecompute_backends.htcondor.description import PREFIX
from vrecompute_backends.htcondor.schedd import condor

__all__ = ["ages", "complaint", "hand_in", "remove"]

#: $1 spool, $2 the script's name, $3 the first word of lines of the description, $4 how many, $5 -spool where files go
#: along to a schedd elsewhere. A note of each cluster
#: with secrets, or in a container, whose script HTCondor reads only when it starts, says which they are. Those of
#: clusters that are in the queue no more go first, since the client that would delete them may have been killed, unless
#: this job brings the same. Notes are looked at before the queue is: what is in both is alive.
_SUBMIT = r"""
cd -- "$1" && umask 077 || exit 1
kept=
trap '[ -n "$kept" ] || rm -f -- "$2"' EXIT
cat > "$2" && chmod 700 "$2" || exit 1
secrets=$(sed -n "s/^$3transfer_input_files = \(secrets-[0-9a-f]*\)-.*/\1/p" "$2")
note=condor-${_CONDOR_SCHEDD_HOST:-$(hostname)}-
notes=$(ls | grep "^$note[0-9]*[.]sent$")
if [ -n "$notes" ] && queued=$(condor_q -af ClusterId 2> /dev/null); then
  for name in $notes; do
    cluster=${name#"$note"}
    printf '%s\n' "$queued" | grep -qx "${cluster%.sent}" && continue
    if read -r folder script < "$name"; then
      [ "$folder" = "$secrets" ] || rm -rf -- "secrets-${folder#secrets-}"-*
      [ -z "$script" ] || rm -f -- "vre-${script#vre-}"
    fi
    rm -f -- "$name"
  done
fi
taken=$(
  { sed -n "s/^$3//p" "$2"; printf 'initialdir = %s\nexecutable = %s/%s\nqueue %s\n' "$1" "$1" "$2" "$4"; } |
    condor_submit -terse ${5:+"$5"} -
) || exit $?
printf '%s\n' "$taken"
cluster=$(printf '%s\n' "$taken" | sed -n 's/^\([0-9][0-9]*\)[.][0-9].*/\1/p')
[ -n "$cluster" ] || exit 0
! grep -q "^$3container_image = " "$2" || kept=$2
[ -z "$secrets$kept" ] || printf '%s %s\n' "${secrets:--}" "$kept" > "$note$cluster.sent"
:
"""
#: $1 a name, $2 how old a job may be that has left the queue. First what time it is there.
_FIND = r"""
date +%s || exit 1
what="ClusterId ProcId QDate TotalSubmitProcs"
condor_q -af $what -constraint "JobBatchName == \"$1\"" || exit 1
condor_history -since "EnteredCurrentStatus < time() - $2" -constraint "JobBatchName == \"$1\"" -af $what 2> /dev/null
:
"""
_HISTORY_S = 600
#: Spooling takes the files of all copies along.
_LONGEST_S = 900.0
_TAKEN = re.compile(r"^([0-9]+)\.([0-9]+)(?: - ([0-9]+)\.([0-9]+))?$", re.MULTILINE)
#: Those that are about who asks. A daemon that is killed while it is asked closes the connection with other codes.
_UNKNOWN_USER = re.compile(
    # a central manager that gives no address of a schedd leaves its commands without a word
    r"AUTHENTICATE:100[34]|failed to authenticate|SECMAN:20(?:02|10)|not authorized|denied|^\(null\)$",
    re.IGNORECASE,
)
_COMPLAINTS = Complaints(
    command="condor_submit",
    shown="what was asked for",
    passing=re.compile(
        r"Can't find address|Failed to connect|Failed to fetch ads|timed? ?out|try again|Connection refused|"
        r"would exceed|TCP connection|communication error|Connection (?:closed|reset)|SECMAN:|MAX_JOBS",
        re.IGNORECASE,
    ),
    lost=re.compile(r"Failed to commit|timed? ?out|Connection (?:closed|reset)|disconnect", re.IGNORECASE),
    too_many=re.compile(r"would exceed|MAX_JOBS|too many jobs", re.IGNORECASE),
    lasting=_UNKNOWN_USER,
)
_WHO = "HTCondor does not accept who asks; fetch a token with condor_token_fetch, or renew a ticket with kinit"
#: What condor_q adds to any failure; that no daemon runs is one guess of several.
_GUESSES = re.compile(r" *Extra Info: You probably saw this error because .*", re.DOTALL)
_NO_MEANING = re.compile(r"^(?:Submitting job\(s\)\.*|ERROR: ?|WARNING: )", re.IGNORECASE)


def complaint(done: Completed) -> str:
    """What a command complained of, on one line, with advice where it is about who asks."""
    said = (
        _GUESSES.sub("", " ".join(_NO_MEANING.sub("", line) for line in dict.fromkeys(done.complaints))).strip()
        or f"exit code {done.code}"
    )
    return f"{said} ({_WHO})" if _UNKNOWN_USER.search(said) else said


def hand_in(backend: QueueBackend, job: Job, script: str, count: int) -> str:
    """CLUSTER.0 of one job, CLUSTER of several; SubmitError with HTCondor's complaint where it took none."""
    name = f"vre-{secrets.token_hex(8)}.sh"  # two clusters of one script lose it one after the other
    spool = ["-spool"] if backend.options.schedd else []
    command = ["sh", "-c", _SUBMIT, "sh", backend.spool, name, PREFIX, str(count), *spool]
    done = condor(backend, command, stdin=script.encode(), timeout_s=_LONGEST_S if spool else 120)
    said = complaint(done)
    if done.code == 0 and (taken := _TAKEN.search(done.text)):
        return f"{taken[1]}.{taken[2]}" if count == 1 else taken[1]
    if done.code == 0 or _COMPLAINTS.lost.search(said):
        raise _COMPLAINTS.lost_answer(backend, job, said)
    raise _COMPLAINTS.refusal(backend, job, said)


def remove(backend: QueueBackend, ids: Sequence[str]) -> None:
    """`condor_rm`; Unavailable where HTCondor does not answer. Jobs that have ended, or never were, are no error."""
    done = condor(backend, ["condor_rm", *ids])
    _COMPLAINTS.cancelled(backend.access, "condor_rm", done, complaint(done))


def ages(backend: QueueBackend, name: str) -> dict[str, float]:
    """What `hand_in` gave for jobs of a name -> seconds since they were submitted, by the access point's clock."""
    question = ["sh", "-c", _FIND, "sh", job_name(name), str(_HISTORY_S)]
    told = Questions(backend.access, partial(condor, backend), complaint).needed(question, by="condor_q")
    found = {}
    try:
        now, *lines = told.splitlines()
        for line in lines:
            cluster, process, at, count = line.split()
            found[cluster if count.isdigit() and int(count) > 1 else f"{cluster}.{process}"] = float(now) - float(at)
    except ValueError as error:
        raise Unavailable(f"{backend.access}: condor_q: no valid answer: {told[:200]!r}") from error
    return found
