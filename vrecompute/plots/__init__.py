"""Figures of results: data against the expected, with their uncertainties; no worker imports what draws them."""
