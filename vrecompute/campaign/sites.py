"""The sites of a campaign: a `Client` of each, made when it is needed."""

from __future__ import annotations

from vrecompute.campaign.load import CampaignFile
from vrecompute.client import Client
from vrecompute.errors import UsageError

__all__ = ["Sites"]


class Sites:
    """Clients in the order of preference. All have the campaign's store, or each its own where none is named."""

    def __init__(self, file: CampaignFile) -> None:
        self._file = file
        self._clients: dict[int, Client] = {}

    def __len__(self) -> int:
        return len(self._file.campaign.sites)

    def __getitem__(self, number: int) -> Client:
        """The Client of a site; raises SiteError and the like."""
        if number not in self._clients:
            store = self._file.store
            if store is None and number:
                # parts are reused, and runs are found, in one store
                store = self._clients[0].store.url if 0 in self._clients else self[0].store.url
            self._clients[number] = Client(self._file.site(number), store=store, workers=self._file.campaign.workers)
        return self._clients[number]

    def called(self, site: str) -> Client:
        """The Client of a site that an attempt was planned for; UsageError where the file names it no more."""
        for number, name in enumerate(self._file.campaign.sites):
            if name == site:
                return self[number]
        raise UsageError(f"a run of the campaign is on site {site!r}, which the file names no more; name it again")

    def close(self) -> None:
        """Give connections back; runs go on."""
        for client in self._clients.values():
            client.close()
