"""What a tick leaves for others to see: page, metrics, mail, webhook. What of it fails is said, and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

from vrecompute.campaign.facts import history, status
from vrecompute.campaign.ledger import Ledger
from vrecompute.campaign.load import CampaignFile
from vrecompute.campaign.notify import notify
from vrecompute.campaign.page import metrics_text, page, replace_file
from vrecompute.errors import StoreError

__all__ = ["tell"]

_SHOWN = 50


def tell(
    file: CampaignFile, ledger: Ledger, code: int, summary: str, before: int | None, say: Callable[[str], None]
) -> None:
    """Write page and metrics where the file names them, and notify where the state changed."""
    campaign = file.campaign
    facts = status(file, ledger)
    texts = []
    if campaign.page is not None:
        texts.append((campaign.page, page(facts, history(ledger, most=_SHOWN), code, summary)))
    if campaign.metrics is not None:
        texts.append((campaign.metrics, metrics_text(facts, code, time.time())))
    failed = []
    for path, text in texts:
        try:
            replace_file(file.beside(path), text)
        except StoreError as error:
            failed.append(str(error))
    failed += notify(file, code, summary, before, facts)
    for sentence in failed:
        say(sentence)
    if failed:
        with ledger.writing():
            for sentence in failed:
                ledger.note("not told", "", sentence)
