"""Why a job waits, as a sentence, from the reason that Slurm gives for it.

Sources: squeue(1), JOB REASON CODES; slurm.conf(5) and sacctmgr(1) for what the limits count.
"""

from __future__ import annotations

import re

from vrecompute.batch.limit_reached import LimitReached
from vrecompute.batch.waiting_reasons import WaitingReasons

__all__ = ["PENDING_REASONS", "held", "never", "reason_code", "why_waiting"]

#: Sentences by the code that squeue prints, of what passes when other jobs end, or the site lets it.
_PASSING = {
    "None": "Slurm has not looked at it yet",
    "Priority": "jobs with a higher priority are before it",
    "Resources": "it is next, and waits for free cores or memory",
    "Dependency": "it waits for another job to end",
    "BeginTime": "its earliest start time has not come, or it was requeued a moment ago",
    "JobArrayTaskLimit": "its array has its largest number of running jobs",
    "JobHeldUser": "its owner holds it; `scontrol release` lets it go",
    "JobHeldAdmin": "an administrator holds it; ask the site",
    "JobHoldMaxRequeue": "it was requeued too often and is held; ask the site",
    "JobLaunchFailure": "Slurm could not start it on a node; if it stays, ask the site",
    "Licenses": "it waits for a free licence",
    "NodeDown": "a node it needs is down",
    "FrontEndDown": "its front-end node is down; ask the site",
    "ReqNodeNotAvail": "nodes it needs are down, drained or reserved",
    "Reservation": "its reservation has not begun",
    "QOSUsageThreshold": "its quality of service is for accounts that have used less; choose another `options.qos`",
    "AccountingPolicy": "a limit of its account or quality of service does not allow it now",
    "AssociationJobLimit": "its account runs as many jobs as it may; lower `limits.max_jobs`",
    "AssociationResourceLimit": "its account uses as much as it may",
    "AssociationTimeLimit": "its account has used up its time",
    "QOSJobLimit": "its quality of service runs as many jobs as it may; lower `limits.max_jobs`",
    "QOSResourceLimit": "its quality of service uses as much as it may",
    "QOSTimeLimit": "its quality of service has used up its time",
    "AssocGrpCPUMinutesLimit": "its account has used up its core time",
    "AssocGrpBillingMinutes": "its account has used up its budget",
    "AssocMaxSubmitJobLimit": "its account has as many jobs in the queue as it may; lower `limits.max_jobs`",
    "QOSMaxSubmitJobPerUserLimit": "you have as many jobs in the queue as you may; lower `limits.max_jobs`",
    "MaxPoweredUpNodes": "the site powers up no more nodes at the moment",
    "MpiPortsBusy": "ports for MPI on its nodes are taken",
    "BurstBufferResources": "it waits for space in the burst buffer",
    "BurstBufferStageIn": "its data are on their way into the burst buffer",
    "BurstBufferOperation": "something went wrong with the burst buffer; ask the site",
    "Prolog": "its node is being prepared",
    "Cleaning": "what its last attempt left is being cleaned up",
    "SchedDefer": "Slurm does not start jobs at submission; it considers this one in its next cycle",
    "FedJobLock": "the clusters of its federation have not chosen one to run it",
    "DeadLine": "it cannot end before its deadline any more; cancel it",
    "SystemFailure": "Slurm, its file system or a node failed; if it stays, ask the site",
}
#: Of jobs that no end of another job lets start: only a change of the job, of the site file or of the site.
_NEVER = {
    "DependencyNeverSatisfied": "the job it waits for ended in a way it did not ask for; cancel it",
    "PartitionDown": "its partition takes jobs but starts none; choose another `options.partition`",
    "PartitionInactive": "its partition is inactive; choose another `options.partition`",
    "PartitionNodeLimit": "it asks for more nodes than its partition has; lower `workers.nodes`",
    "PartitionTimeLimit": "it asks for more time than its partition gives; lower `workers.walltime`",
    "PartitionConfig": "its partition's limits do not allow what it asks for",
    "ReservationDeleted": "its reservation is gone",
    "ReservationInvalid": "its reservation is not one it may use; mend `options.reservation`",
    "InvalidAccount": "its account does not exist here; mend `options.account`",
    "InvalidQOS": "its quality of service does not exist here; mend `options.qos`",
    "AccountNotAllowed": "its account may not use this partition; mend `options.account` or `options.partition`",
    "QOSNotAllowed": "its quality of service may not use this partition; mend `options.qos`",
    "BadConstraints": "no node has what it asks for; mend `options.constraint`",
    "MaxMemPerLimit": "it asks for more memory than its partition gives; lower `workers.memory`",
}
#: `_limit` gives the sentences of codes that name a limit.
PENDING_REASONS = _PASSING | _NEVER
#: Codes of jobs that will not start before they are released; others come in words: "launch failed requeued held".
_HELD = frozenset({"DependencyNeverSatisfied", "ReservationDeleted"})
_WORDS_OF_HOLDING = re.compile(r"JobHeld|JobHold|[ _](?:held|special[ _]exit)(?![a-z])")
_SAID = {
    r"launch.fail": "Slurm could not start it on a node, put it back and holds it; ask the site, or `scontrol release`",
    r"special.exit": "its exit code made Slurm hold it; `scontrol release` lets it go",
    r"requeued": "it was put back and is held; `scontrol release` lets it go",
    r"[Nn]odes.required.for.job": "nodes it needs are down, drained, or kept for jobs with a higher priority",
}
#: The same in words, as versions of Slurm have them in place of a code.
_NEVER_SAID = {
    r"QOS not permitted to use": _NEVER["QOSNotAllowed"],
    r"account not permitted to use": _NEVER["AccountNotAllowed"],
    r"not in group permitted to use": "it is in a partition for groups that you are not in; mend `options.partition`",
}
_COUNTED = {
    "Cpu": "cores", "CPU": "cores", "Mem": "memory", "Memory": "memory", "Node": "nodes", "GRES": "generic resources",
    "License": "licences", "BB": "burst buffer", "Energy": "energy", "Billing": "billed units",
    "Unknown": "resources", "Jobs": "jobs", "SubmitJobs": "jobs in the queue", "SubmitJob": "jobs in the queue",
    "Wall": "time", "WallDuration": "time",
}  # fmt: skip
_LIMIT = re.compile(
    rf"(Assoc|QOS|)(Grp|Max|Min)({'|'.join(sorted(_COUNTED, key=len, reverse=True))})"
    r"(Run)?(Min(?:ute)?s)?(?:Per(Job|Node|User|Account))?(?:Limit|NotSatisfied)?"
)
_WHOSE = {"Assoc": "its account", "QOS": "its quality of service", "": "its quality of service"}
_OTHERS = {"User": "your running jobs", "Account": "running jobs of its account"}


def _limit(code: str) -> LimitReached | None:
    """What a code says that names a limit by its parts; None of any other."""
    found = _LIMIT.fullmatch(code)
    if found is None:
        return None
    whose, kind, counted, running, minutes, per = found.groups()
    single = per in {"Job", "Node"} or (per is None and _COUNTED[counted] == "time")
    return LimitReached(
        _COUNTED[counted],
        _WHOSE[whose],
        "options.qos",
        of_one=(per or "Job").lower() if kind == "Max" and single else "",
        others=_OTHERS.get(per, ""),
        least=kind == "Min",
        minutes=bool(minutes),
        running=bool(running),
    )


_REASONS = WaitingReasons(
    "Slurm",
    _PASSING,
    _NEVER,
    _SAID,
    _NEVER_SAID,
    told_apart={
        ("ReqNodeNotAvail", "maintenance"): (
            "its nodes are reserved for maintenance before it would end; lower `workers.walltime`, or wait"
        ),
    },
    holding=(_HELD, _WORDS_OF_HOLDING),
    limit=_limit,
)
#: Each of the reason of a pending job.
held, never, why_waiting, reason_code = _REASONS.held, _REASONS.never_starts, _REASONS.why, _REASONS.code
