"""Drivers, one batch system a module, registered under the entry point group `vrecompute.backends`."""
