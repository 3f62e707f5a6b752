"""`SlurmOptions`: what `options:` of a site with `backend: slurm` may say. Read from YAML, used by the driver.

Everything that ends in a job script is held to one line of harmless characters here, so that no value of a
site file can add another directive or command.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from vrecompute.batch.directives import DIRECTIVE, DirectiveChanges, DirectiveName, is_directive
from vrecompute.batch.options import Name, Strict

__all__ = ["Directives", "SlurmOptions"]

#: Directives that cannot be added, by pattern, and why.
_OWN = {
    r"-M.*|--clusters?([ =].*)?": "write options.cluster, which polls and cancellations use too",
    r"-a.*|--array([ =].*)?": "jobs are submitted as arrays where more than one is wanted",
    r"-[oe].*|--(output|error|open-mode)([ =].*)?": "what jobs write is read from slurm-ID.out of the spool",
    r"-D.*|--chdir([ =].*)?": "jobs run in the spool; stage.scratch says where that is",
    r"-J.*|--job-name([ =].*)?": "jobs are found by the names that the driver gives them",
    r"-W|--wait|--test-only|--parsable|--wrap([ =].*)?": "it changes what sbatch does, not what the job asks for",
}
Directive = Annotated[str, is_directive("sbatch", "--mem=4G", _OWN), Field(pattern=DIRECTIVE)]


class Directives(DirectiveChanges):
    """What to change in the directives that the driver writes; `drop` first, then `add`."""

    own = _OWN
    add: tuple[Directive, ...] = Field(
        default=(), description="Directives to add, as sbatch takes them: --hint=nomultithread."
    )
    drop: tuple[DirectiveName, ...] = Field(
        default=(), description="Names of directives to leave out, matched whole: --mem where the site refuses it."
    )


class SlurmOptions(Strict):
    """The driver's options; every one left out means that Slurm's own default holds."""

    harmless = frozenset(
        {
            "partition", "cluster", "controller_partition", "account", "qos", "reservation", "constraint", "licenses",
            "gres", "launcher", "whole_node", "array", "prefer",
        }
    )  # fmt: skip
    partition: Name | None = Field(default=None, description="Partition, or several by comma (--partition).")
    cluster: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=255)] | None = Field(
        default=None,
        description="Cluster in which jobs are submitted, polled and cancelled (--clusters), if Slurm has several.",
    )
    controller_partition: Name | None = Field(
        default=None,
        description="Partition for a job that only holds the Dask scheduler: one core, for long; partition if unset.",
    )
    account: Name | None = Field(default=None, description="Account or budget that is charged (--account).")
    qos: Name | None = Field(default=None, description="Quality of service (--qos).")
    reservation: Name | None = Field(default=None, description="Reservation to run in (--reservation).")
    constraint: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,&|()\[\]*:-]+$", max_length=255)] | None = Field(
        default=None, description="Features a node must have (--constraint)."
    )
    licenses: Name | None = Field(default=None, description="Licences, such as sps:1 (--licenses).")
    gres: Name | None = Field(default=None, description="Generic resources, such as gpu:1 (--gres).")
    launcher: Literal["direct", "srun"] = Field(
        default="direct", description="How workers start: direct from the script on one node, or by srun on every node."
    )
    whole_node: bool = Field(
        default=False, description="Ask for whole nodes (--exclusive); the site charges them anyway."
    )
    array: bool = Field(
        default=True, description="Submit jobs of one shape as one array, where more than one is wanted."
    )
    directives: Directives = Field(default=Directives(), description="Changes to the directives written.")
    prefer: Literal["commands", "json", "rest", "pyslurm"] = Field(
        default="commands",
        description="How to ask Slurm: the text of its commands, their --json, slurmrestd, or pyslurm on this machine; "
        "commands where json or pyslurm do not work.",
    )
    rest_url: Annotated[str, Field(pattern=r"^https?://[^/\s@]+\S*$")] | None = Field(
        default=None, description="Address of slurmrestd where prefer is rest."
    )
    rest_token_file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.~/${}-]+$")] | None = Field(
        default=None, description="File that holds the token (SLURM_JWT) for slurmrestd; never the token itself."
    )

    @field_validator("cluster")
    @classmethod
    def _one_of_them(cls, cluster: str | None) -> str | None:
        if cluster == "all":
            raise ValueError("'all' is not one cluster, and job ids belong to one; write the name of a cluster")
        return cluster
