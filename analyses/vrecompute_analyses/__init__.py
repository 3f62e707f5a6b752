"""The analyses that ship with vrecompute, registered under the entry point group `vrecompute.analyses`."""
