"""The command line: the console script `vrecompute`, and `python -m vrecompute` where none is on the path."""

from __future__ import annotations

import atexit
import os
import sys
import threading

from vrecompute.workers.quick_exit import end_quickly

__all__ = ["main"]

# What is under way in threads of ours ends in seconds.
_END_S = 20.0


def main() -> None:
    """Run the command line and exit, quietly where it is interrupted before it is loaded."""
    end_quickly()
    try:
        from vrecompute.cli import main as run
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    try:
        run()
    except SystemExit as ended:
        _end_in_time(ended.code)
        raise


def _end_in_time(code: int | str | None) -> None:
    """Python waits at its end for threads that an analysis started and left, for as long as they like; we do not."""
    own = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]
    end = threading.Timer(_END_S, _end_now, [code, own])
    end.daemon = True
    end.start()
    atexit.register(end.cancel)  # threads have ended then, and the last to be registered is the first to be called


def _end_now(code: int | str | None, threads: list[threading.Thread]) -> None:
    names = ", ".join(thread.name for thread in threads if thread.is_alive())
    said = f"the command is over, and these threads of the analysis do not end: {names}; start them with daemon=True"
    print(f"Error: {said}", file=sys.stderr, flush=True)
    os._exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
