"""What must hold between keys of a site whose backend is a queue, said by `site check` before a run finds it out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from vrecompute.batch.prologue import APPTAINERS
from vrecompute.sites.model import Site
from vrecompute.sites.rules import Diagnostic, at

__all__ = ["queue_rules"]

_BARE = frozenset({"-e", "--cleanenv", "-C", "--containall"})


def queue_rules(site: Site, *, starts_images: bool = False) -> Iterator[Diagnostic]:
    """Errors where no job could be made or asked about, advice where something given is not used. Pure.

    `starts_images` says that the system puts jobs into images; else their scripts do.
    """
    yield from _images(site, starts_images)
    driver = f"the driver {site.backend}"
    if site.access.unicore:
        message = f"{driver} runs commands on a login node; write access: {{ssh: {{host: ...}}}}, or leave access "
        yield Diagnostic(at("access.unicore"), message + "empty if this machine has them")
    about = at("scheduler_runs", "backend")
    if site.scheduler_runs == "gateway":
        yield Diagnostic(about, f"{driver} has no gateway; did you mean 'allocation'?")
    if site.scheduler_runs == "none":
        yield Diagnostic(about, "only detached runs work; with 'allocation' live runs work too", advice=True)
    if site.scheduler_runs == "client" and site.access.kind != "local":
        yield Diagnostic(about, "behind access.ssh the scheduler runs on the login node; write 'login'", advice=True)
    if site.scheduler_runs == "none" and site.limits.max_jobs:
        message = "not used: it is for live runs, and with scheduler_runs: none there are none; remove it"
        yield Diagnostic(at("limits.max_jobs", "scheduler_runs"), message, advice=True)
    alone = site.scheduler_runs == "allocation" and not site.options.get("whole_node")
    if alone and site.limits.max_jobs == 1:
        yield Diagnostic(
            at("limits.max_jobs", "scheduler_runs"),
            "the scheduler takes the only job, so live runs are refused; raise it, or set options.whole_node",
            advice=True,
        )


def _images(site: Site, starts_images: bool) -> Iterator[Diagnostic]:
    environment, words = site.environment, at("environment.image_command")
    if environment.image is None:
        return
    if starts_images:
        if environment.image_command:
            message = f"not used: the system of the driver {site.backend} starts images itself; remove it"
            yield Diagnostic(words, message, advice=True)
        return
    command = environment.image_command
    if command and PurePosixPath(command[0]).name not in APPTAINERS:
        return
    for word in _BARE & set(command):
        message = f"with {word} the variables of a job, such as where its keys are, do not reach the image; remove it"
        yield Diagnostic(words, message)
    for name in sorted({"PATH", "LD_LIBRARY_PATH"} & set(environment.variables)):
        key = f"environment.variables.{name}"
        message = f"it does not reach the image, whose {name} is its own"
        message += "; for programs in it write APPTAINERENV_PREPEND_PATH" if name == "PATH" else ""
        yield Diagnostic(at(key, "environment.image"), message, advice=True)
