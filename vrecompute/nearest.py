"""Suggestions for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean", "hint", "nearest", "nearest_few"]


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known word that is closest, if one is close: 1 is the same but for case and hyphens.

    >>> nearest("wal-time", ["walltime", "threads"])
    'walltime'
    """
    return next(iter(nearest_few(word, known, 1, cutoff=cutoff)), None)


def nearest_few(word: str, known: Iterable[str], most: int, *, cutoff: float) -> list[str]:
    """The known words that are close, at most so many, the closest first."""
    by_form = {_form(candidate): candidate for candidate in known}
    return [by_form[form] for form in difflib.get_close_matches(_form(word), by_form, n=most, cutoff=cutoff)]


def hint(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the end of a sentence, empty where nothing is close.

    >>> hint("Muon_pT", ["Muon_pt", "Muon_eta"])
    "; did you mean 'Muon_pt'?"
    """
    meant = nearest(word, known)
    return f"; did you mean {meant!r}?" if meant else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?`, or the list of what is known."""
    words = list(known)
    meant = nearest(word, words)
    return f"did you mean '{meant}'?" if meant else f"known: {', '.join(words)}"


def _form(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")
