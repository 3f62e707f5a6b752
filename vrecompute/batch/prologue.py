"""What a shell does on the site before a command of ours: it makes the site's Python start."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath

from vrecompute.batch.dask_settings import PROCESS_VARIABLES
from vrecompute.batch.temporary import DELETE, OWN_FOLDER
from vrecompute.errors import UsageError
from vrecompute.sites.model import Site
from vrecompute.sites.onsite import needs_set, shell_word

__all__ = ["APPTAINERS", "TELL_STEP", "in_image", "login_shell", "prologue"]

_APPTAINER = ("apptainer", "exec")
#: Its names: a fork of it has kept the older one.
APPTAINERS = frozenset({"apptainer", "singularity"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: What programs read an outside route from: small letters by curl and libcurl, capitals by most others.
_PROXY = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
#: Without it the job would start the Python of another environment, and compute other numbers.
_VENV = """
export VIRTUAL_ENV={}
python="$VIRTUAL_ENV/bin/python"
[ -x "$python" ] || {{ echo "environment.venv: $python is no program on $(uname -n)" >&2; exit 1; }}
export PATH="$VIRTUAL_ENV/bin:$PATH"
""".strip()
#: What a trap says at the end of a shell that a line of the site's did not let go on: it waited until it was ended, or
#: is an `exit`.
TELL_STEP = '[ -z "${vre_step:-}" ] || echo "$vre_step" >&2'
_SETUP = """
# shellcheck disable=SC2034  # a trap tells it
{{ vre_step={told}
eval {line} < /dev/null 7>&- 8<&- || {{ echo {failed} >&2; vre_step=; exit 1; }}
vre_step=; }}
""".strip()
#: Input and output of the command wait as 8 and 7: a profile, or a line of the site's, that reads finds the end, and
#: what they print does not come before what the command says.
_ASIDE = 'exec 8<&0 7>&1 < /dev/null > /dev/null; exec bash -l -c "$0"'
_BACK = "exec <&8 8<&- >&7 7>&-"
#: A setup that goes elsewhere, as `cd $SCRATCH`, would have the job look for its secrets and leave its mark there.
_RETURN = 'cd -- "$vre_began" || exit 1'
#: By hand what conda does for a folder: no process is started, and nothing else of a conda is looked for.
_CONDA_FOLDER = """
export CONDA_PREFIX={}
[ -x "$CONDA_PREFIX/bin/python" ] || {{ echo "environment.conda: no Python in $CONDA_PREFIX/bin" >&2; exit 1; }}
export PATH="$CONDA_PREFIX/bin:$PATH"
for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do
  # shellcheck source=/dev/null
  if [ -r "$script" ]; then . "$script"; fi
done
""".strip()
#: A name is known to the conda that made it; after the hook its name is a function of the shell.
_CONDA_NAME = """
for conda in conda mamba micromamba none; do if command -v "$conda" > /dev/null; then break; fi; done
case $conda in
  none) echo "environment.conda: no conda, mamba or micromamba here; write the folder of the environment" >&2; exit 1 ;;
  conda) hook=$(conda shell.bash hook) ;;
  *) hook=$("$conda" shell hook --shell bash) ;;
esac
eval "$hook" || exit 1
"$conda" activate {} || exit 1
""".strip()


def prologue(site: Site, variables: Mapping[str, str], *, in_job: bool = True) -> list[str]:
    """Shell lines that make the site's Python start, and set `variables` to exactly their values.

    They end in the folder where they began, whatever the site's own do. Beside jobs, values of the site's own may lack
    a variable that only jobs have.
    """
    there = site.environment
    lines = ["vre_began=$PWD", *(_setup(line) for line in there.setup)]
    lines += [_named("module purge", "purge_modules: modules cannot be unloaded")] if there.purge_modules else []
    if there.cvmfs is not None:
        view = _named(f". {shell_word(there.cvmfs)}", f"cvmfs: {there.cvmfs} failed")
        lines += [*needs_set("environment.cvmfs:", there.cvmfs), "# shellcheck source=/dev/null", view]
    lines += needs_set("environment.module_paths:", *there.module_paths)
    # each goes before those that are there
    lines += [
        _named(f"module use {shell_word(path)}", f"module_paths: {path} cannot be used")
        for path in reversed(there.module_paths)
    ]
    lines += needs_set("environment.modules:", *there.modules)
    lines += [_named(f"module load {shell_word(name)}", f"modules: {name} cannot be loaded") for name in there.modules]
    if there.venv is not None:
        lines += needs_set("environment.venv:", there.venv)
        lines += _VENV.format(shell_word(there.venv)).splitlines()
    if there.conda is not None:
        activate = _CONDA_FOLDER if there.conda[0] in "/$~" else _CONDA_NAME
        lines += needs_set("environment.conda:", there.conda)
        lines += activate.format(shell_word(there.conda)).splitlines()
    if site.network.proxy is not None:
        lines += [f"export {name}={shlex.quote(site.network.proxy)}" for name in _PROXY]
    lines += [f"export {name}={value}" for name, value in PROCESS_VARIABLES.items()]
    for name, value in sorted(there.variables.items()):
        lines += needs_set(f"environment.variables.{name}:", value, but=name) if in_job else []
        lines.append(f"export {_variable(name)}={shell_word(value)}")
    lines += [f"export {_variable(name)}={shlex.quote(value)}" for name, value in sorted(variables.items())]
    return [*lines, _RETURN]


def login_shell(site: Site, variables: Mapping[str, str], command: str) -> list[str]:
    """The argument list that runs a command beside jobs, with the site's Python and a folder that goes with it.

    The command is shell text; it alone has the standard input and output of the shell.
    """
    lines = ["vre_step=", f"trap '{TELL_STEP}' EXIT", *prologue(site, variables, in_job=False), *OWN_FOLDER]
    return ["bash", "-c", _ASIDE, "\n".join([*lines, f"trap '{DELETE}' EXIT", _BACK, command])]


def in_image(site: Site, image: str | None, gpus: int = 0) -> str:
    """Shell words that put the command after them into an image, with a space; empty where there is none.

    Of itself apptainer shows an image the home, /tmp and the working folder, but not where `$TMPDIR` is, and no GPU.
    What it says of an image that it unpacks would be the end of the log of a job that fails.
    """
    if image is None:
        return ""
    given = site.environment.image_command or _APPTAINER
    words = [*map(shell_word, (*given, image))]
    if PurePosixPath(given[0]).name in APPTAINERS and "exec" in given:
        at = given.index("exec")
        gpu = ["--nv"] if gpus and not {"--nv", "--rocm"} & set(given) else []
        words[at : at + 1] = ["--quiet", "exec", "--bind", '"${VRECOMPUTE_TMPDIR:-/tmp}"', *gpu]
    return " ".join(words) + " "


def _setup(line: str) -> str:
    """A command of the site's administrator, as it is; what is wrong in it ends at its end."""
    told = f"environment.setup: a command of the site waits, or ends the shell that it is for: {line}"
    failed = shlex.quote(f"environment.setup: a command of the site failed: {line}")
    return _SETUP.format(told=shlex.quote(told), line=shlex.quote(line), failed=failed)


def _named(command: str, fault: str) -> str:
    """The command; what is said where it fails begins with the key of `environment` that it is of, for a probe too."""
    said = shlex.quote(f"environment.{fault}")
    return f"{command} < /dev/null || {{ echo {said} >&2; exit 1; }}"


def _variable(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a name of an environment variable")
    return name
