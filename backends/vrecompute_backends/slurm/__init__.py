"""The driver of Slurm."""

from vrecompute_backends.slurm.driver import SlurmBackend

__all__ = ["SlurmBackend"]
