"""What a job asks HTCondor for: the submit description, as the lines `#HTCONDOR NAME = VALUE` of its script.

So one text says all of a job; `submit` takes the lines out of it and hands both over. The policy in it:

    exit code 75 of a job that may be requeued    it stays in the queue and starts again (on_exit_remove)
    walltime                                      removed (periodic_remove)
    what it made is at a schedd elsewhere         it stays in the queue until that is retrieved (leave_in_queue)
    put back, and may not be requeued             removed: a worker's job is replaced by another
    held for its memory or its time               removed: it would never run
    held by an accident of a machine              released three times where it may be requeued, else removed
    its image could not be used                   removed after four attempts where it may be requeued, else at once
"""

from __future__ import annotations

from collections.abc import Sequence

from vrecompute.batch.carried import carried_folder
from vrecompute.batch.contract import Job
from vrecompute.batch.shape import Shape, job_name, labelled
from vrecompute.batch.spool import secrets_folder
from vrecompute.errors import OutOfTime, UsageError
from vrecompute.sites.model import Site
from vrecompute.units import to_htcondor_kb, to_htcondor_mb
from vrecompute.workers.walltime import ATTEMPTS
from vrecompute_backends.htcondor.holds import ACCIDENTS, NO_IMAGE, OVER_MEMORY, OVER_TIME, SPOOLING
from vrecompute_backends.htcondor.image import brought_image, image_commands
from vrecompute_backends.htcondor.options import HTCondorOptions

__all__ = ["ONCE", "PREFIX", "WALLTIME", "elsewhere", "header"]

#: How a line of the description begins in the script.
PREFIX = "#HTCONDOR "
#: Attributes of our jobs: the walltime in seconds, and whether a job that was put back must not start again.
WALLTIME, ONCE = "VrecomputeWalltime", "VrecomputeOnce"
_RELEASES, _RELEASE_S = 3, 60
# A machine that does not know the attribute would run the job beside its image.
_IN_IMAGE = (
    '[ -n "$APPTAINER_CONTAINER$SINGULARITY_CONTAINER" ] || { echo "the pool put this job into no image; '
    'mend options.image_attribute"; exit 1; }'
)
#: How long what a job made waits to be retrieved from a schedd elsewhere, and how long one waits for its files there:
#: those of a client that was killed meanwhile never come.
_RETRIEVED_S, _SPOOLED_S = 10 * 86_400, 3600
_LOG = "condor-$(Cluster).$(Process).$$([(NumShadowStarts ?: 1) - 1])"


def header(job: Job, shape: Shape, site: Site, options: HTCondorOptions) -> list[str]:
    """The description's lines, without the executable and `queue`. UsageError where a job would need two machines."""
    if shape.nodes > 1:
        raise UsageError(
            f"site {site.name!r}: HTCondor gives one machine to a job, and {job.workers} workers need {shape.nodes}: "
            f"ask for at most {site.workers.processes} (workers.processes)"
        )
    image = _image(job, options)
    lines: dict[str, str | None] = {
        "universe": "vanilla",
        "batch_name": job_name(job.name),
        # the script is gone from here once it is taken; that of a container cannot be copied, and stays
        "copy_to_spool": None if "container_image" in image else "true",
        "should_transfer_files": "YES" if options.file_transfer else "NO",
        **_files(job, options),
        **_logs(options, "output", "out"),
        "log": "condor-$(Cluster).log",
        "request_cpus": str(shape.cores),
        **_sizes(shape, options),
        **image,
        **_policy(job, options),
        "notification": "never",
        "accounting_group": options.accounting_group,
        "accounting_group_user": options.accounting_user,
        "requirements": None if job.exclude else options.requirements,  # see `elsewhere`
        "description": labelled(job) or None,
        f"+{WALLTIME}": str(job.walltime_s),
        f"+{ONCE}": _value(not job.requeue),
        **{f"+{name}": _value(value) for name, value in _attributes(job, site, options).items()},
        **options.commands,
    }
    guard = [_IN_IMAGE] if job.image is not None and options.image_attribute == "SingularityImage" else []
    return [*(f"{PREFIX}{name} = {value}" for name, value in lines.items() if value is not None), *guard]


def elsewhere(options: HTCondorOptions, nodes: Sequence[str]) -> str:
    """The line that keeps a job off these machines, beside the site's own requirements."""
    given = f"({options.requirements}) && " if options.requirements else ""
    return f"{PREFIX}requirements = {given}!member(TARGET.Machine, {{{', '.join(map(_value, nodes))}}})"


def _logs(options: HTCondorOptions, stream: str, ending: str) -> dict[str, str]:
    """Where a stream of a job goes: to one file for each attempt, since HTCondor would begin it anew.

    From a schedd elsewhere comes that of the last one alone, when it has ended.
    """
    if options.schedd:
        return {stream: f"condor-$(Cluster).$(Process).0.{ending}"}
    return {stream: f"{_LOG}.{ending}", f"stream_{stream}": "true"}


def _files(job: Job, options: HTCondorOptions) -> dict[str, str]:
    if not options.file_transfer:
        return {}
    brought = [f"{folder}-$(Process)"] if (folder := secrets_folder(job)) else []
    image = [path] if (path := brought_image(job.image, options)) else []
    carried = carried_folder(job.name)
    back = [f"{carried}@$(Process)"] if job.carried is not None else []
    going = [*brought, *([carried] * len(back)), *back, *image]
    return {
        # what an attempt that is put back has written so far goes with the next
        "when_to_transfer_output": "ON_EXIT_OR_EVICT" if back else "ON_EXIT",
        **({"transfer_input_files": ", ".join(going)} if going else {}),
        "transfer_output_files": ", ".join(back) or '""',
    }


def _sizes(shape: Shape, options: HTCondorOptions) -> dict[str, str]:
    sizes = {}
    if shape.memory_bytes is not None:
        sizes["request_memory"] = str(to_htcondor_mb(shape.memory_bytes))
    if options.disk is not None:
        sizes["request_disk"] = str(to_htcondor_kb(options.disk))
    if shape.gpus:
        sizes["request_gpus"] = str(shape.gpus)
    return sizes


def _image(job: Job, options: HTCondorOptions) -> dict[str, str]:
    if job.image is None:
        return {}
    # what complains before the script begins to write to `output`; the two cannot be one file that grows
    return {**_logs(options, "error", "err"), **image_commands(job.image, options)}


def _policy(job: Job, options: HTCondorOptions) -> dict[str, str | None]:
    most = job.environment.get(ATTEMPTS, "")
    again = f"ExitBySignal =?= false && ExitCode =?= {OutOfTime.exit_code}"
    again += f" && NumShadowStarts < {int(most)}" if most else ""
    accident = f"member(HoldReasonCode, {{{', '.join(map(str, sorted(ACCIDENTS)))}}})"
    patience = "false" if not job.requeue else f"NumHolds <= {_RELEASES}"
    remove = [
        f"(JobStatus == 2 && time() - JobCurrentStartDate > {job.walltime_s})",
        f"(JobStatus == 5 && ({OVER_MEMORY} || {OVER_TIME}))",
        f"(JobStatus == 5 && {accident} && !({patience}))",
    ]
    put_back = "NumJobStarts > 0" if not job.requeue else f"NumShadowStarts > {_RELEASES} && {NO_IMAGE}"
    remove.append(f"(JobStatus == 1 && {put_back})")
    stays = None
    if options.schedd:
        never_came = f"HoldReasonCode == {SPOOLING} && time() - EnteredCurrentStatus > {_SPOOLED_S}"
        remove.append(f"(JobStatus == 5 && {never_came})")
        stays = f"JobStatus == 4 && StageOutFinish =?= undefined && time() - EnteredCurrentStatus < {_RETRIEVED_S}"
    release = f"JobStatus == 5 && {accident} && {patience} && time() - EnteredCurrentStatus > {_RELEASE_S}"
    return {
        "on_exit_remove": f"({again}) =!= true" if job.requeue else "true",
        "periodic_remove": " || ".join(remove),
        "periodic_release": release if job.requeue else None,
        "leave_in_queue": stays,
    }


def _attributes(job: Job, site: Site, options: HTCondorOptions) -> dict[str, object]:
    found: dict[str, object] = dict(options.attributes)
    if (runtime := options.runtime) is not None:
        found[runtime.attribute] = job.walltime_s
        if runtime.classes:
            enough = {name: s for name, s in runtime.classes.items() if s >= job.walltime_s}
            if not enough:
                raise UsageError(
                    f"site {site.name!r}: no class of options.runtime lasts {job.walltime_s} s; lower workers.walltime"
                )
            found[runtime.attribute] = min(enough, key=lambda name: enough[name])
    return found


def _value(value: object) -> str:
    """A ClassAd literal."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
