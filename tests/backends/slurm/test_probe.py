"""Why no canary is sent, without a cluster."""

from __future__ import annotations

from dataclasses import replace

from vrecompute.sites.access import SshAccess
from vrecompute.sites.model import Environment, Site, SiteStore, Ssh
from vrecompute_backends.slurm import SlurmBackend

SITE = Site(name="here", backend="slurm", environment=Environment(venv="/nowhere"))


def test_without_slurm_or_a_connection_nothing_is_sent_and_the_way_in_is_to_be_mended(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    unreachable = SshAccess(Ssh(host="no-such-host.invalid"))
    for access, words in ((None, "command 'sinfo' was not found"), (unreachable, "no-such-host.invalid")):
        (found,) = SlurmBackend(SITE, access).probe()
        assert (found.check, found.ok) == ("slurm", False)
        assert words in found.detail
        assert found.advice.startswith("access: {ssh: {host: ...}}")
    (tmp_path / "sinfo").write_text("#!/bin/sh\necho slurm_load_ctl_conf error >&2; exit 1\n")
    (tmp_path / "sinfo").chmod(0o755)
    (found,) = SlurmBackend(SITE).probe()
    assert found.detail == "this machine: sinfo --version: slurm_load_ctl_conf error"


def test_an_environment_without_vrecompute_and_an_unset_variable_hide_no_other_finding(tmp_path, monkeypatch):
    (tmp_path / "sinfo").write_text("#!/bin/sh\necho slurm 24.11.5\n")
    (tmp_path / "sinfo").chmod(0o755)
    (tmp_path / "python").write_text("#!/bin/sh\necho Traceback >&2; echo no module of ours >&2; exit 1\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "bin").symlink_to(tmp_path)
    monkeypatch.delenv("NOWHERE", raising=False)
    site = replace(SITE, environment=Environment(venv=str(tmp_path)), store=SiteStore(url="$NOWHERE/store"))
    found = {f.check: f for f in SlurmBackend(site).probe()}
    assert (found["slurm"].ok, found["slurm"].detail) == (True, "slurm 24.11.5 on this machine")
    python = found["python"]
    assert (python.ok, python.detail) == (False, "vrecompute does not start on this machine: no module of ours")
    assert python.advice.startswith("environment:")
    assert not found["store"].ok
    assert found["store"].detail.startswith("'$NOWHERE/store' needs the variable NOWHERE, which is not set here")
    assert "command 'sbatch' was not found" in found["worker job"].detail, "which hides no other finding"
    assert "command 'sbatch' was not found" in found["queue"].detail
    assert not any(f.ok for check, f in found.items() if check in {"worker job", "detached job", "queue"})
