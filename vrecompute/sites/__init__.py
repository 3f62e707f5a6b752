"""How a `Site` is read from YAML, checked and reported; what a site *is* stands in `vrecompute.site`."""

from __future__ import annotations
