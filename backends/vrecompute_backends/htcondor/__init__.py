"""The driver of HTCondor."""

from vrecompute_backends.htcondor.driver import HTCondorBackend

__all__ = ["HTCondorBackend"]
