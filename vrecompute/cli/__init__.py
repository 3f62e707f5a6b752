"""The command line: `vrecompute`. Each command is a module, imported only when it is called or asked for help.

Exit codes: 0 complete, 2 usage or configuration, 3 partial, 4 failed, 5 site or service unavailable,
130 interrupted. Packages add commands under the entry point group `vrecompute.commands`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from vrecompute.cli.lazy import LazyGroup

__all__ = ["cli", "main"]

_COMMANDS = {
    "run": ("vrecompute.cli.run:run", "Run an analysis on a dataset, and say truly how it ended."),
    "explain": ("vrecompute.cli.explain:explain", "What a run would do, read and need; starts nothing."),
    "runs": ("vrecompute.cli.runs:runs", "List, show, attach to, cancel and report runs."),
    "work": ("vrecompute.cli.work:work", "The Runner itself, as jobs call it."),
    "warm-cache": ("vrecompute.cli.warm_cache:warm_cache", "Compile what workers run before they need it."),
    "analyses": ("vrecompute.cli.analyses:analyses", "What can be run, and its parameters."),
    "site": ("vrecompute.cli.site:site", "List, show and check site descriptions."),
}


@click.group(
    cls=LazyGroup,
    built_in=_COMMANDS,
    entry_points="vrecompute.commands",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 complete, 2 usage, 3 partial, 4 failed, 5 site or service unavailable.",
)
@click.version_option(package_name="vrecompute")
def cli() -> None:
    """Take an analysis and a dataset to where there are cores; bring back a result that is true."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; an error of ours is one clear message, never a traceback.

    VRECOMPUTE_DEBUG=1 shows the traceback as well.
    """
    try:
        code = cli.main(args=arguments, prog_name="vrecompute", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # whoever read our output has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)
