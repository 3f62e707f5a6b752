"""The products of a campaign: each version whole, and one of them the current one at each moment.

    PRODUCTS/ANALYSIS/DATASET/current                 the version that is published
    PRODUCTS/ANALYSIS/DATASET/versions/RUN/           what `--out` of a run holds, and campaign.json: what it is made of
    PRODUCTS/ANALYSIS/DATASET/differences/RUN.json    which numbers moved from the version before

They are in a folder (`productfolder`), where `current` is a link, or in a bucket (`productbucket`), which has no links.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from vrecompute.run import Run

__all__ = ["FACTS", "Products", "beyond"]

#: What a version is made of; it is written last, so that a version that has it is whole.
FACTS = "campaign.json"


class Products(Protocol):
    """Where products are published. All raise StoreError, and StoreRefused or TransientStore of a bucket."""

    def current(self, unit: str) -> str | None:
        """The run whose version is published; None where none is."""

    def versions(self, unit: str) -> list[str]:
        """The runs of all versions, oldest first; also of one that is not whole."""

    def publish(self, unit: str, run: Run, facts: Mapping[str, Any], still: Callable[[], None]) -> str:
        """Make what a run gave the unit's current version, and say what moved; once more changes nothing.

        `still` raises where this process may not publish any more. StoreError where it cannot be written: the version
        before stays the current one.
        """

    def prune(self, unit: str, versions: int, keep: Collection[str]) -> list[str]:
        """Remove the oldest versions beyond so many, never the current one nor those to `keep`; their names."""

    def place(self, unit: str, run: str) -> str:
        """Where the result of a version is, for people."""

    def result_sha256(self, unit: str, run: str) -> str | None:
        """The sha256 of the result of a version, as it lies there; None where it is not there."""


def beyond(found: list[str], versions: int, stay: Collection[str | None]) -> list[str]:
    """Those of versions, oldest first, that are more than so many; none of those that stay."""
    return [version for version in found if version not in stay][: max(0, len(found) - versions)]
