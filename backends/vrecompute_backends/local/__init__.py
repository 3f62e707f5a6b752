"""The driver of this machine."""

from vrecompute_backends.local.driver import LocalBackend

__all__ = ["LocalBackend"]
