"""The command line: `vrecompute`. Each command is a module, imported only when it is called or asked for help.

Exit codes are those of `vrecompute.errors.EXIT_CODES`. Packages add commands under the entry point group
`vrecompute.commands`.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from vrecompute.cli.bug import report_bug
from vrecompute.cli.lazy import LazyGroup
from vrecompute.cli.messages import show
from vrecompute.cli.streams import guarded_streams
from vrecompute.errors import EXIT_CODES, UsageError, VrecomputeError
from vrecompute.wording import printable_lines

__all__ = ["cli", "main"]

_COMMANDS = {
    "run": ("vrecompute.cli.run:run", "Run an analysis on a dataset, and say truly how it ended."),
    "explain": ("vrecompute.cli.explain:explain", "What a run would do, read and need; starts nothing."),
    "runs": ("vrecompute.cli.runs:runs", "List, show, attach to, cancel, report and delete runs."),
    "store": ("vrecompute.cli.store:store", "Remove from a store what no run needs."),
    "work": ("vrecompute.cli.work:work", "The Runner itself, as jobs call it."),
    "warm-cache": ("vrecompute.cli.warm_cache:warm_cache", "Compile what workers run before they need it."),
    "columns": ("vrecompute.cli.columns:columns", "The columns of a file by name, type and size."),
    "new": ("vrecompute.cli.new:new", "Write a commented analysis to begin with, and its test."),
    "analyses": ("vrecompute.cli.analyses:analyses", "What can be run, and its parameters."),
    "dataset": ("vrecompute.cli.dataset:dataset", "Write the checksums of a dataset's files into its file."),
    "campaign": ("vrecompute.cli.campaign:campaign", "Keep products up to date with datasets that grow."),
    "site": ("vrecompute.cli.site:site", "List, show and check site descriptions."),
}


@click.group(
    cls=LazyGroup,
    built_in=_COMMANDS,
    entry_points="vrecompute.commands",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"Exit codes: {', '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}.",
)
@click.version_option(package_name="vrecompute")
def cli() -> None:
    """Take an analysis and a dataset to where there are cores; bring back a result that is true."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; an error of ours is one clear message, never a traceback.

    VRECOMPUTE_DEBUG=1 shows the traceback as well.
    """
    with guarded_streams():
        sys.exit(_exit_code(arguments))


def _exit_code(arguments: Sequence[str] | None) -> int:
    try:
        _check_folder()
        code = cli.main(args=arguments, prog_name="vrecompute", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        show(error)
        return max(2, error.exit_code)  # click's 1 is for what was asked for, too
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except VrecomputeError as error:  # of the streams, or with VRECOMPUTE_DEBUG
        if os.environ.get("VRECOMPUTE_DEBUG"):
            traceback.print_exc()
        click.echo(printable_lines(f"Error: {error}"), err=True)
        return error.exit_code
    except SystemExit as error:  # no command of ours raises it
        *_, last = traceback.extract_tb(error.__traceback__)
        click.echo(f"Error: the code of the analysis exits, in line {last.lineno} of {last.filename}", err=True)
        return UsageError.exit_code
    except BaseException as error:
        return report_bug(error)
    return code if isinstance(code, int) else 0


def _check_folder() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError("the folder that this shell is in was removed; go to another with cd") from error
