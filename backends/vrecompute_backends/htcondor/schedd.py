"""The access point that commands speak to: this machine's own, or the schedd of another one.

To a schedd elsewhere files of jobs go with the submission (spooling). A job that has ended stays in its queue until
what it made has been retrieved, which a poll does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vrecompute.batch.queue_backend import QueueBackend
from vrecompute.errors import Unavailable
from vrecompute.sites.access import Completed
from vrecompute_backends.htcondor.options import HTCondorOptions

__all__ = ["at_schedd", "condor", "exports", "retrieve"]

#: $1 the spool, $2 clusters with commas. Clients of one user take turns: of two at once, one would read what the other
#: has written in part.
_RETRIEVE = r"""
cd -- "$1" || exit 1
{ exec 9>> retrieving.lock && flock -w 300 9; } 2> /dev/null
exec condor_transfer_data -constraint "LeaveJobInQueue && member(ClusterId, {$2})"
"""
_LONGEST_S = 600.0


def at_schedd(options: HTCondorOptions) -> dict[str, str]:
    """The variables by which HTCondor's commands find a schedd elsewhere; none for this machine's own."""
    given = {"_CONDOR_SCHEDD_HOST": options.schedd, "_CONDOR_COLLECTOR_HOST": options.pool}
    return {name: value for name, value in given.items() if value is not None}


def exports(options: HTCondorOptions) -> str:
    """Shell lines that set them."""
    return "".join(f"export {name}={value}\n" for name, value in at_schedd(options).items())


def condor(backend: QueueBackend, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
    """Run one command to its end; Unavailable where it cannot be run, or is not there."""
    given = [f"{name}={value}" for name, value in at_schedd(backend.options).items()]
    words = ["env", *given, *command] if given else command
    done = backend.access.run(words, stdin=stdin, timeout_s=timeout_s)
    if done.absent:
        raise Unavailable(
            f"{backend.access}: HTCondor's commands were not found; let `access` of the site name a machine that has "
            "them"
        )
    return done


def retrieve(backend: QueueBackend, ids: Iterable[str]) -> None:
    """Bring what spooled jobs made, which have ended, to the spool; with a later poll where that fails."""
    clusters = sorted({job_id.partition(".")[0] for job_id in ids}, key=int)
    if clusters:
        command = ["sh", "-c", _RETRIEVE, "sh", backend.spool, ", ".join(clusters)]
        condor(backend, command, timeout_s=_LONGEST_S)
