"""`HTCondorOptions`: what `options:` of a site with `backend: htcondor` may say. Read from YAML, used by the driver.

Everything that ends in a submit description is held to one line here, so that no value of a site file can add
another command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator

from vrecompute.batch.options import Name, Strict
from vrecompute.config.spelling import Duration, Memory

__all__ = ["HTCondorOptions", "RuntimeClasses"]

#: One line of printable text, as an expression or a value of the submit language.
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=1000)]
AttributeName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
#: The name or address of a daemon of the pool.
Daemon = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@:-]*$", max_length=255)]
CommandName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$", max_length=100)]
#: Submit commands that are the driver's, and what to write instead where there is something.
_OWN = {
    "executable": "", "arguments": "", "environment": "write environment.variables", "getenv": "", "input": "",
    "output": "", "error": "", "log": "", "initialdir": "write stage.scratch", "universe": "", "queue": "",
    "batch_name": "", "stream_output": "", "copy_to_spool": "", "should_transfer_files": "write file_transfer",
    "when_to_transfer_output": "", "transfer_executable": "", "transfer_input_files": "", "transfer_output_files": "",
    "on_exit_remove": "", "periodic_remove": "", "periodic_release": "", "requirements": "write requirements",
    "request_cpus": "write workers.threads", "request_memory": "write workers.memory", "request_disk": "write disk",
    "request_gpus": "write workers.gpus", "accounting_group": "write accounting_group",
    "accounting_group_user": "write accounting_user", "container_image": "write environment.image",
    "max_retries": "", "leave_in_queue": "", "transfer_container": "write transfer_image",
}  # fmt: skip


class RuntimeClasses(Strict):
    """What says to the pool how long a job runs: seconds, or the name of a class that is long enough."""

    attribute: AttributeName = Field(description="Attribute of the job: JobFlavour, MaxRuntime.")
    classes: Mapping[Name, Duration] = Field(
        default_factory=dict,
        description="Longest run time of each class by name; the attribute is in seconds if empty.",
    )


class HTCondorOptions(Strict):
    """The driver's options; every one left out means that the pool's own default holds."""

    harmless = frozenset(
        {"accounting_group", "requirements", "disk", "runtime", "image_attribute", "file_transfer", "transfer_image"}
    )
    schedd: Daemon | None = Field(
        default=None,
        description="Access point elsewhere, by the name of its schedd: jobs go there with their files (spooling).",
    )
    pool: Daemon | None = Field(default=None, description="Central manager that knows the schedd (HOST or HOST:PORT).")
    accounting_group: Name | None = Field(default=None, description="Group that is charged (accounting_group).")
    accounting_user: Name | None = Field(default=None, description="User within it (accounting_group_user).")
    requirements: Line | None = Field(default=None, description="What a machine must have, as a ClassAd expression.")
    disk: Memory | None = Field(default=None, description="Scratch space of a job (request_disk), such as 10GiB.")
    runtime: RuntimeClasses | None = Field(default=None, description="What says to the pool how long a job runs.")
    attributes: Mapping[AttributeName, bool | int | float | Line] = Field(
        default_factory=dict, description="Attributes of the job's ad (+NAME); text is written as a string."
    )
    commands: Mapping[CommandName, Line] = Field(
        default_factory=dict, description="Other commands of the submit description, such as concurrency_limits."
    )
    image_attribute: Literal["container_image", "SingularityImage"] = Field(
        default="container_image",
        description="How environment.image is asked for: as container_image, or as +SingularityImage.",
    )
    transfer_image: bool | None = Field(
        default=None,
        description="Whether the image is brought from the access point: false for a file that machines share, true "
        "for one that +SingularityImage names. What is left out is decided by the pool.",
    )
    file_transfer: bool = Field(
        default=True,
        description="Let HTCondor bring files to jobs. Where machines share the access point's file systems, write "
        "false: jobs run in the spool itself.",
    )

    final_node: bool = Field(
        default=False,
        description="Have a DAGMan FINAL node on the access point end detached runs though no client asks. It needs "
        "the Python of jobs and the store there, and jobs of the local universe.",
    )

    @field_validator("commands")
    @classmethod
    def _none_of_the_drivers_own(cls, commands: Mapping[str, str]) -> Mapping[str, str]:
        for name in commands:
            if (instead := _OWN.get(name.lower())) is not None:
                raise ValueError(f"{name!r} is written by the driver; {instead or 'leave it out'}")
        return commands
