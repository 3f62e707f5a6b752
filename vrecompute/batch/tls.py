"""Keys of one cluster: only a process that holds them can connect, and run code in its workers."""

from __future__ import annotations

from pathlib import Path

from distributed.security import Security

from vrecompute.errors import Unavailable

__all__ = ["TLS_FILE", "fresh_keys", "security_of", "tls_environment"]

#: The name of the file that brings the keys to a job.
TLS_FILE = "dask-tls.pem"


def fresh_keys() -> str:
    """A certificate and its key, made now, as one PEM text; it signs itself, so it is its own authority.

    Unavailable where this environment lacks what makes them.
    """
    try:
        keys = Security.temporary().get_tls_config_for_role("worker")
    except ImportError as error:
        raise Unavailable(
            "clusters need the package cryptography, which this Python environment lacks or cannot load: "
            "pip install cryptography"
        ) from error
    return str(keys["cert"] + keys["key"])


def security_of(pem: str | Path | None) -> Security:
    """The Security of a cluster with these keys, a PEM text or the path of one; without any, none is required."""
    if pem is None:
        return Security(require_encryption=False)
    roles = {f"tls_{role}_{part}": str(pem) for role in ("client", "scheduler", "worker") for part in ("cert", "key")}
    return Security(require_encryption=True, tls_ca_file=str(pem), **roles)


def tls_environment(pem: str) -> dict[str, str]:
    """Variables with which every Dask program makes and takes connections with the key in `pem`, and no others."""
    names = ["CA_FILE", *(f"{role}__{part}" for role in ("CLIENT", "SCHEDULER", "WORKER") for part in ("CERT", "KEY"))]
    found = {f"DASK_DISTRIBUTED__COMM__TLS__{name}": pem for name in names}
    return {**found, "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}
