"""`Site`: everything about one place that has cores, as frozen values; memory in bytes, time in seconds.

    schema, name, backend, description
    ├── access          how its batch system is reached from here: local, ssh or unicore
    ├── scheduler_runs  where the Dask scheduler of a run lives
    ├── network         what compute nodes may reach, on which interface and ports
    ├── options         the driver's own words, checked by the driver's model
    ├── workers         the shape of one job and how many of them
    ├── store           where parts and results of runs are kept
    ├── stage           how input files reach compute nodes that cannot fetch them
    ├── environment     the Python environment of jobs
    ├── limits          what each client keeps itself to
    └── accounting      what is charged, and the energy behind it

`load_site` reads it from YAML (docs/sites.md); a quirk of a place is a value here, never an `if` in Python.
A text documented as "resolved on the site" keeps `$NAME` and `${NAME}` exactly as written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from vrecompute.config.spelling import (
    Count,
    Duration,
    EnvName,
    Flag,
    Host,
    Memory,
    Name,
    OnSite,
    PortRange,
    Ports,
    Profile,
    Ratio,
    SecretFile,
    ShellLine,
    Text,
    Url,
    Variable,
    VersionNumber,
)

__all__ = [
    "Accounting",
    "Credentials",
    "Environment",
    "Limits",
    "Network",
    "Nodes",
    "PortRange",
    "SchedulerRuns",
    "Site",
    "SiteAccess",
    "SiteStore",
    "Ssh",
    "Stage",
    "Unicore",
    "Workers",
    "local_site",
]

SchedulerRuns = Literal["client", "login", "allocation", "gateway", "none"]


def _says(sentence: str) -> dict[str, str]:
    """Metadata under the name that the JSON schema uses."""
    return {"description": sentence}


class _Section:
    """What every part of a site shares: unknown keys are errors when it is read from YAML."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class Credentials(_Section):
    """Where a secret is, never the secret: exactly one of the three."""

    profile: Profile | None = field(default=None, metadata=_says("Profile of the AWS credentials file."))
    file: SecretFile | None = field(default=None, metadata=_says("Path of a file that only its owner can read."))
    env: EnvName | None = field(default=None, metadata=_says("Name of an environment variable of the client."))


@dataclass(frozen=True, kw_only=True)
class Ssh(_Section):
    """A login node reached by OpenSSH; keys, users and jump hosts may stay in ~/.ssh/config."""

    host: Host = field(metadata=_says("Host name, or an alias of ~/.ssh/config."))
    user: Name | None = field(default=None, metadata=_says("Login name; the default is OpenSSH's."))
    port: Count | None = field(default=None, metadata=_says("TCP port; the default is OpenSSH's."))
    jump: Host | None = field(default=None, metadata=_says("Host to jump through (ssh -J)."))
    multiplex: Flag = field(
        default=True, metadata=_says("Share one SSH connection; many logins in a short time look like an attack.")
    )


@dataclass(frozen=True, kw_only=True)
class Unicore(_Section):
    """A UNICORE REST endpoint."""

    url: Url = field(metadata=_says("Address of the site's REST API (.../rest/core)."))
    credentials: Credentials = field(metadata=_says("Where the access token is."))


@dataclass(frozen=True, kw_only=True)
class SiteAccess(_Section):
    """How the batch system is reached from where the client runs; neither `ssh` nor `unicore` is local."""

    ssh: Ssh | None = field(default=None, metadata=_says("By OpenSSH to a login node."))
    unicore: Unicore | None = field(default=None, metadata=_says("By the UNICORE REST API."))

    @property
    def kind(self) -> Literal["local", "ssh", "unicore"]:
        """The way in, as one word."""
        return "ssh" if self.ssh else "unicore" if self.unicore else "local"


@dataclass(frozen=True, kw_only=True)
class Network(_Section):
    """Connections that are possible. Workers connect to the scheduler; nothing enters a login node from outside."""

    compute_outbound: Literal["open", "proxy", "none"] = field(
        default="open", metadata=_says("Outbound connections of compute nodes: open, only through a proxy, or none.")
    )
    proxy: Url | None = field(default=None, metadata=_says("Address of the proxy where compute_outbound is proxy."))
    interface: Name | None = field(
        default=None, metadata=_says("Network interface of compute nodes to listen on, such as ib0.")
    )
    worker_ports: Ports | None = field(
        default=None, metadata=_says("Ports workers may listen on, such as 10000-10100; any free one by default.")
    )
    scheduler_ports: Ports | None = field(
        default=None, metadata=_says("Ports the Dask scheduler may listen on; any free one by default.")
    )
    tls: Flag = field(default=True, metadata=_says("Encrypt and authenticate everything with keys made for the run."))


@dataclass(frozen=True, kw_only=True)
class Nodes(_Section):
    """How many jobs of the shape of `Workers` a run may have at once."""

    min: Count = field(default=1, metadata=_says("Number of jobs that a run starts with."))
    max: Count | None = field(
        default=None,
        metadata=_says("Most jobs that a live run grows to. If unset, no run grows, and any number may be asked."),
    )


@dataclass(frozen=True, kw_only=True)
class Workers(_Section):
    """The shape of one job: `processes` workers of `threads` threads each share its `memory` (bytes)."""

    processes: Count = field(default=1, metadata=_says("Dask worker processes in one job."))
    threads: Count = field(default=1, metadata=_says("Threads of each worker process."))
    memory: Memory | None = field(
        default=None,
        metadata=_says(
            "Memory of the worker processes of one job together; a detached job asks for 1 GiB more, for scheduler and "
            "Runner. The batch system's default if unset."
        ),
    )
    max_memory: Memory | None = field(
        default=None,
        metadata=_says(
            "Most memory of jobs that follow one which was ended for its memory: they ask for twice as much, up to "
            "this. For as much as before if unset."
        ),
    )
    gpus: Count | None = field(
        default=None,
        metadata=_says(
            "GPUs of one job, on each of its nodes; none if unset. Each worker process has its share of them as Dask's "
            "resource GPU."
        ),
    )
    walltime: Duration | None = field(
        default=None, metadata=_says("Longest time a job may ask for; one hour if unset.")
    )
    nodes: Nodes = field(default_factory=Nodes, metadata=_says("Number of such jobs of a run."))
    sweet_spot: Duration | None = field(
        default=None,
        metadata=_says("Walltime that jobs ask for, such as one that starts soon here; workers.walltime if unset."),
    )

    @property
    def cores(self) -> int:
        """Cores of one job."""
        return self.processes * self.threads

    @property
    def memory_per_process(self) -> int | None:
        """Bytes each worker process may use, None where the batch system decides."""
        return None if self.memory is None else self.memory // self.processes


@dataclass(frozen=True, kw_only=True)
class SiteStore(_Section):
    """Where the runs of this site keep parts and results."""

    url: OnSite | None = field(
        default=None,
        metadata=_says("A folder, or s3://bucket/prefix; the user's data folder if unset."),
    )
    endpoint: Url | None = field(default=None, metadata=_says("Address of the S3 service; Amazon's if unset."))
    credentials: Credentials | None = field(default=None, metadata=_says("Where the keys of the bucket are."))
    workers_reach: Flag = field(
        default=True,
        metadata=_says(
            "Whether workers can open the store. If not, it is one of the client's machine: live runs bring their "
            "parts back through Dask, and the client writes them; detached runs bring theirs back with the job."
        ),
    )
    trusted_users: tuple[Name, ...] = field(
        default=(),
        metadata=_says("Users whose runs others may resume, and draw the figures of: that runs their code."),
    )


@dataclass(frozen=True, kw_only=True)
class Stage(_Section):
    """How input files reach compute nodes, and which file systems of the site those see."""

    scratch: OnSite | None = field(
        default=None, metadata=_says("Folder that compute nodes see; scripts and logs of jobs lie in it.")
    )
    mover: Literal["none", "client", "login", "data", "compute"] = field(
        default="none",
        metadata=_says("Host that would copy inputs to scratch. Not used yet: workers read them in place."),
    )
    quota: Memory | None = field(
        default=None, metadata=_says("Largest total size of staged data in scratch. Not used yet.")
    )
    shared: tuple[OnSite, ...] = field(
        default=(),
        metadata=_says("Path prefixes that compute nodes and the client share. Not used yet: nothing is staged."),
    )
    presign: Flag = field(
        default=False,
        metadata=_says(
            "Whether the client signs the addresses of s3:// files for workers, which then hold no key of theirs; it "
            "does so in any case where workers do not reach the store."
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Environment(_Section):
    """The Python environment of jobs, and of what runs on the login node. All of it is resolved on the site."""

    setup: tuple[ShellLine, ...] = field(
        default=(),
        metadata=_says(
            "Commands of bash that run before all else, in jobs and on the login node, such as `aklog`; one that fails "
            "ends the job."
        ),
    )
    purge_modules: Flag = field(
        default=False, metadata=_says("Unload first what a profile has loaded (`module purge`).")
    )
    module_paths: tuple[OnSite, ...] = field(
        default=(), metadata=_says("Folders of modules (`module use`); the first is searched first.")
    )
    modules: tuple[OnSite, ...] = field(default=(), metadata=_says("Environment modules to load, in this order."))
    venv: OnSite | None = field(default=None, metadata=_says("Virtual environment to activate."))
    conda: OnSite | None = field(
        default=None,
        metadata=_says(
            "Conda environment to activate: its folder, for which no conda is needed, or a name that conda, mamba or "
            "micromamba knows there."
        ),
    )
    image: OnSite | None = field(default=None, metadata=_says("Container image that holds Python and vrecompute."))
    image_command: tuple[OnSite, ...] = field(
        default=(),
        metadata=_says(
            "Words that start a command in an image; image and command follow. `apptainer exec` if unset; podman needs "
            "`podman run --rm --network=host --env-host` and the volumes."
        ),
    )
    cvmfs: OnSite | None = field(default=None, metadata=_says("Set-up script of a software view, before modules."))
    variables: Mapping[Variable, OnSite] = field(
        default_factory=dict, metadata=_says("Environment variables set in jobs; never secrets.")
    )


@dataclass(frozen=True, kw_only=True)
class Limits(_Section):
    """Limits that clients of this file keep, each for itself; what binds users is the batch system's own."""

    max_jobs: Count | None = field(
        default=None, metadata=_says("Jobs of one live client in the queue at once, waiting or running.")
    )
    core_hours: Ratio | None = field(
        default=None,
        metadata=_says(
            "Core-hours that jobs of one live client, or all attempts of one detached run, may plan to use."
        ),
    )
    min_poll: Duration = field(
        default=30, metadata=_says("Shortest time between two polls of the batch system, by all clients of a user.")
    )


@dataclass(frozen=True, kw_only=True)
class Accounting(_Section):
    """What the site charges, and the energy behind it. Not used yet: reports tell neither."""

    unit: Literal["core-hour", "node-hour"] = field(default="core-hour", metadata=_says("Unit that the site charges."))
    watts_per_core: Ratio | None = field(default=None, metadata=_says("Electrical power of one busy core, in watts."))
    pue: Ratio | None = field(default=None, metadata=_says("Power usage effectiveness of the centre, from 1.0 up."))
    gco2_per_kwh: Ratio | None = field(default=None, metadata=_says("Grams of CO2 per kWh of its electricity."))


@dataclass(frozen=True, kw_only=True)
class Site(_Section):
    """One place that has cores; the sections describe the rest."""

    schema: Annotated[Literal[1], VersionNumber()] = field(default=1, metadata=_says("Version of this format."))
    name: Name = field(metadata=_says('Name for `Client("name")` and `--site name`; the same as the file\'s name.'))
    backend: Name = field(metadata=_says("Driver of its batch system, such as local, slurm, htcondor, kubernetes."))
    description: Text | None = field(default=None, metadata=_says("One sentence that describes the site."))
    access: SiteAccess = field(default_factory=SiteAccess, metadata=_says("How its batch system is reached."))
    scheduler_runs: SchedulerRuns = field(
        default="client",
        metadata=_says(
            "Where the Dask scheduler runs: in the client, on the login node, in the allocation, behind "
            "a gateway, or none: then only detached runs work, each with a scheduler in its job."
        ),
    )
    network: Network = field(default_factory=Network, metadata=_says("Connections that the site's network allows."))
    options: Mapping[str, Any] = field(
        default_factory=dict, hash=False, metadata=_says("The driver's own options, checked by the driver.")
    )
    workers: Workers = field(default_factory=Workers, metadata=_says("The shape of one job, and how many."))
    store: SiteStore = field(default_factory=SiteStore, metadata=_says("Where parts and results are kept."))
    stage: Stage = field(default_factory=Stage, metadata=_says("How input files reach compute nodes."))
    environment: Environment = field(default_factory=Environment, metadata=_says("Python environment of jobs."))
    limits: Limits = field(default_factory=Limits, metadata=_says("Limits that each client keeps for itself."))
    accounting: Accounting = field(default_factory=Accounting, metadata=_says("What is charged. Not used yet."))


def local_site() -> Site:
    """This machine, as `Client()` uses it without any YAML: one single-threaded worker process per usable core."""
    # dask knows cgroup quotas: a notebook pod with two cores of a 64-core node has two
    from dask.system import cpu_count

    return Site(
        name="local",
        backend="local",
        description="this machine",
        workers=Workers(processes=cpu_count()),
        limits=Limits(min_poll=1),
    )
