"""How a `Site` is read from YAML, checked and reported; what a site *is* stands in `vrecompute.sites.model`."""

from __future__ import annotations
