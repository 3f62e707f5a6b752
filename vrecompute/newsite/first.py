"""`first_site`: the text of a first site file, and what could not be taken over; `write_first` never overwrites."""

from __future__ import annotations

import shutil
from pathlib import Path

from vrecompute.batch.load import load_backend
from vrecompute.batch.survey import Survey
from vrecompute.errors import SiteError, Unavailable, UsageError
from vrecompute.folders import make_folders
from vrecompute.newsite.draft import Draft
from vrecompute.newsite.interview import Ask, ask_for_the_rest, from_survey
from vrecompute.newsite.jobqueue import from_jobqueue, sections
from vrecompute.sites.model import Site, SiteAccess, Ssh, local_site
from vrecompute.sites.search import display, site_folders

__all__ = ["check_name", "first_site", "write_first"]

#: A command of each batch system, by the name of its driver.
_COMMANDS = {"slurm": "sinfo", "htcondor": "condor_status", "pbs": "qstat"}


def check_name(name: str, path: Path) -> None:
    """SiteError where a file at `path` would be found in place of the site that is there without any file."""
    own = local_site().name
    if name == own and path.parent.resolve() in {folder.resolve() for folder in site_folders()}:
        raise SiteError(
            f"{name!r} is the site of this machine, which needs no file: {display(path)} would take its "
            "place wherever a run names that site. Give another name, or --force"
        )


def first_site(
    name: str, backend: str | None, host: str | None, config: Path | None, ask: Ask
) -> tuple[str, list[str]]:
    """The text, which `site check` finds right, and a sentence for each thing that did not become part of it."""
    draft = Draft()
    if config is not None:
        found = sections(config)
        backend = _section(found, backend, config)
        draft = from_jobqueue(backend, found[backend])
        for other in found.keys() - {backend}:
            draft.drop(f"jobqueue.{other}", f"a site is of one batch system; write another one with --backend {other}")
    elif backend is None:
        here = next((driver for driver, command in _COMMANDS.items() if shutil.which(command)), "local")
        backend = ask("Driver of the batch system", "slurm" if host else here)
    values, said = draft.values, draft.origins
    head = {"schema": 1, "name": name, "backend": backend}
    draft.values = {(key,): value for key, value in head.items()}
    if host:
        draft.take("access.ssh.host", host, "as given")
        draft.take("scheduler_runs", "login", "workers connect to the login node")
    draft.values |= values
    draft.origins |= said
    found_there = None
    if config is None:
        found_there = _survey(draft, name, backend, host)
        if found_there is not None:
            from_survey(draft, found_there, ask)
    ask_for_the_rest(draft, ask, here=host is None, answered=host is None or found_there is not None)
    return draft.settle(), draft.left_out


def write_first(path: Path, text: str) -> None:
    """Make a new file; SiteError where there is one already."""
    try:
        make_folders(path.parent)
        with path.open("x") as file:
            file.write(text)
    except FileExistsError as error:
        raise SiteError(f"{display(path)} is there already; give another name, or another file with --out") from error
    except OSError as error:
        raise SiteError(f"{display(path)} cannot be written: {error.strerror}; give another file with --out") from error


def _section(found: dict[str, dict[str, object]], backend: str | None, config: Path) -> str:
    if backend is None and len(found) == 1:
        return next(iter(found))
    if backend not in found:
        names = ", ".join(found)
        raise UsageError(f"{config} describes {names}; say which with --backend")
    return backend


def _survey(draft: Draft, name: str, backend: str, host: str | None) -> Survey | None:
    """What the batch system says; a driver that cannot ask is named."""
    try:
        driver = load_backend(Site(name=name, backend=backend, access=SiteAccess(ssh=Ssh(host=host) if host else None)))
    except UsageError as error:
        draft.drop(backend, f"was asked nothing: {error}")
        return None
    try:
        found = driver.survey()
    except Unavailable as error:
        draft.drop(backend, f"did not answer: {error}")
        return None
    finally:
        driver.close()
    if found is None:
        draft.drop(backend, "was asked nothing: its driver has no question about queues and limits")
    return found
