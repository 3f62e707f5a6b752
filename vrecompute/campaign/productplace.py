"""Where the products of a campaign are: a folder or a bucket."""

from __future__ import annotations

from vrecompute.campaign.load import CampaignFile
from vrecompute.campaign.productbucket import ProductBucket
from vrecompute.campaign.productfolder import ProductFolder
from vrecompute.campaign.products import Products
from vrecompute.stores.address import open_store

__all__ = ["open_products"]


def open_products(file: CampaignFile) -> Products:
    """The place that a campaign file names."""
    if "://" in file.campaign.products:
        return ProductBucket(open_store(file.campaign.products))
    return ProductFolder(file.beside(file.campaign.products))
