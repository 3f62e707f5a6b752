"""A run as a notebook or a script shows it: while it is under way, what is seen changes with it.

In a notebook that is a widget where ipywidgets is installed, and else a piece of HTML that is replaced; in a script on
a terminal, a bar on standard error.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from html import escape
from typing import Any, Protocol

from vrecompute.execution.manifest import Manifest
from vrecompute.execution.progress import Progress
from vrecompute.reports.html import card
from vrecompute.reports.report import RunSummary
from vrecompute.watching import watching
from vrecompute.wording import count_text, duration_text

__all__ = ["Shown", "html_of_run", "in_notebook", "show", "shown"]

# A look at a run of another process is a request to its store.
_LOOK_S, _LOOK_ELSEWHERE_S = 0.3, 2.0
_LIVE = {"running", "queued", "unknown", "submitted"}
_STAGES = ("preflight", "reuse", "work", "finish")


class Shown(Protocol):
    """What is shown of a run."""

    manifest: Manifest

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def is_here(self) -> bool:
        """Whether this process carries it out."""

    @property
    def status(self) -> str:
        """Its state."""

    def progress(self) -> Progress:
        """How far it is."""

    def _repr_html_(self) -> str: ...


def in_notebook() -> bool:
    """Whether what is displayed goes to a notebook: the kernel of one is what this process is."""
    if "IPython" not in sys.modules:
        return False
    return hasattr(sys.modules["IPython"].get_ipython(), "kernel")


def html_of_run(run: Shown, summary: RunSummary | None) -> str:
    """The card of a run that has ended, or how far it is."""
    if summary is not None:
        return card(summary)
    progress = run.progress()
    name = f"<b>{escape(run.manifest.analysis)}</b> on {escape(run.manifest.dataset.name)}"
    stages = " › ".join(f"<b>{s}</b>" if s == progress.stage else f"<span>{s}</span>" for s in _STAGES)
    facts = "".join(f"<div>{escape(line)}</div>" for line in _lines(progress))
    return (
        '<div style="font:14px/1.5 system-ui,sans-serif;max-width:60em">'
        f"<div>{name} (<code>{escape(run.id)}</code>)</div><div style='opacity:.8'>{stages}</div>"
        f"<progress max='1' value='{progress.fraction:.4f}' style='width:24em'></progress> {progress.fraction:.0%}"
        f"{facts}</div>"
    )


def _lines(progress: Progress) -> list[str]:
    """What is known, in words; nothing of what is not."""
    lines = [f"{progress.stage}: waiting for {duration_text(progress.waiting_s)}: {progress.waiting}"]
    if not progress.waiting:
        lines = [] if progress.stage in _STAGES else [progress.stage]
    if progress.stage == "preflight" and progress.sources_total:
        lines.append(f"{count_text(progress.sources_done)} of {count_text(progress.sources_total)} files opened")
    if progress.chunks_total:
        chunks = f"{count_text(progress.chunks_done)} of {count_text(progress.chunks_total)} chunks"
        lines.append(f"{chunks}, {count_text(progress.events)} of {count_text(progress.events_expected)} events")
    rate = [f"{count_text(round(progress.events_per_s))} events/s"] if progress.events_per_s else []
    rate += [f"about {duration_text(progress.eta_s)} left"] if progress.eta_s and progress.stage == "work" else []
    workers = [f"{count_text(progress.threads)} worker threads"] if progress.threads else []
    workers += [f"{count_text(progress.tasks)} tasks under way"] if progress.tasks else []
    troubles = [f"{count_text(progress.retries)} reads tried again"] if progress.retries else []
    troubles += [f"{count_text(progress.failures)} failures"] if progress.failures else []
    return (
        lines
        + [", ".join(words) for words in (rate, workers, troubles) if words]
        + ([progress.jobs] * bool(progress.jobs))
    )


def show(run: Shown) -> None:
    """Display a run as the last line of a cell does; one that is under way goes on changing there, to its end.

    Where there is no notebook its repr is printed.
    """
    if not in_notebook():
        print(repr(run))
        return
    update = _displayed(run._repr_html_())
    if run.status in _LIVE:
        # no thread keeps the process: a kernel that ends takes what it shows along
        threading.Thread(
            target=_follow, args=(run, update, threading.Event()), name="vrecompute-shown", daemon=True
        ).start()


@contextlib.contextmanager
def shown(run: Shown) -> Iterator[None]:
    """Show how far a run is while the block waits for it, in a notebook or on a terminal; nothing elsewhere."""
    if not (in_notebook() or sys.stderr.isatty()) or run.status not in _LIVE:
        yield
        return
    over = threading.Event()
    with contextlib.ExitStack() as stack:
        if in_notebook():
            update = _displayed(run._repr_html_())
            arguments: tuple[Any, ...] = (run, update, over)
            target: Callable[..., None] = _follow
        else:
            arguments, target = (run, stack.enter_context(watching()), over), _watch
        thread = threading.Thread(target=target, args=arguments, name="vrecompute-shown", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _follow(run: Shown, update: Callable[[str], None], over: threading.Event) -> None:
    """Replace what is displayed until the run has ended, or it is over, and then once more."""
    told = ""
    while True:
        last = over.is_set() or not _is_live(run)
        with contextlib.suppress(Exception):  # a store that fails for a moment ends no display
            html = run._repr_html_()
            if html != told:
                update(html)
                told = html
        if last:
            return
        over.wait(_LOOK_S if run.is_here else _LOOK_ELSEWHERE_S)


def _watch(run: Shown, watch: Callable[[Progress], None], over: threading.Event) -> None:
    while not over.is_set():
        with contextlib.suppress(Exception):
            watch(run.progress())
        over.wait(_LOOK_S if run.is_here else _LOOK_ELSEWHERE_S)


def _is_live(run: Shown) -> bool:
    try:
        return run.status in _LIVE
    except Exception:  # asked again at the next look
        return True


def _displayed(html: str) -> Callable[[str], None]:
    """Display HTML in the notebook; the function replaces it."""
    from IPython import display

    shows: Any = display.display
    page: Any = display.HTML
    try:
        from ipywidgets import HTML as Widget
    except ImportError:
        handle = shows(page(html), display_id=True)
        return lambda text: handle.update(page(text))
    widget = Widget(value=html)
    shows(widget)

    def replace(text: str) -> None:
        widget.value = text

    return replace
