"""Limits of partitions, accounts and QOS from the text of Slurm's commands."""

from __future__ import annotations

import pytest

from vrecompute.batch.survey import Limit
from vrecompute.sites.access import LocalAccess
from vrecompute_backends.slurm.options import SlurmOptions
from vrecompute_backends.slurm.survey import parse_associations, parse_partitions, survey

COMMANDS = {
    "sinfo": "batch*|up|1-00:00:00|4|32+|128000\nbig|drain|infinite|1|96|1000000\n",
    "scontrol": """case "$*" in
*partition) cat <<'END'
PartitionName=batch AllowAccounts=ALL QoS=part MaxNodes=2 MaxCPUsPerNode=UNLIMITED MaxMemPerNode=64000
PartitionName=big AllowAccounts=theirs,others QoS=N/A MaxNodes=UNLIMITED MaxMemPerNode=UNLIMITED
END
;; *) echo 'MaxArraySize            = 1001' ;; esac""",
    "sacctmgr": """case "$*" in
*associations*) printf '%s\\n' 'mine|40|100|||normal,long|long' 'other||1||cpu=1|normal|' ;;
*qos*) printf '%s\\n' 'long||50|2-00:00:00|cpu=64,mem=200G,node=2' 'part|||12:00:00|' ;;
*user*) echo mine ;; esac""",
}


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    for name, text in COMMANDS.items():
        body = f"cat <<'END'\n{text}END\n" if name == "sinfo" else text
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def limits(**options):
    found = survey(LocalAccess(), "slurm", SlurmOptions(**options))
    return {(limit.of, limit.most, limit.rule) for limit in found.limits}


def test_limits_are_those_of_the_account_and_of_the_qos_that_jobs_get(slurm):
    mine = {
        ("running jobs", 40, "MaxJobs of the account mine"),
        ("jobs", 100, "MaxSubmitJobs of the account mine"),
        ("array", 1001, "MaxArraySize"),
        ("jobs", 50, "MaxSubmitJobs of the QOS long"),
        ("walltime", 172800, "MaxWall of the QOS long"),
        ("cores", 64, "MaxTRES of the QOS long"),
        ("memory", 200 << 30, "MaxTRES of the QOS long"),
        ("nodes", 2, "MaxTRES of the QOS long"),
    }
    assert limits(account="mine") == mine
    assert limits() == mine, "by default the user's default account is charged"
    other = limits(account="other")
    assert {("jobs", 1, "MaxSubmitJobs of the account other"), ("cores", 1, "MaxTRES of the account other")} <= other
    assert not any("account mine" in rule or "QOS long" in rule for _, _, rule in other)


def test_partitions_have_their_own_rules_and_those_of_their_qos(slurm):
    batch, big = survey(LocalAccess(), "slurm", SlurmOptions()).queues
    assert set(batch.limits) == {
        Limit("walltime", 43200, "MaxWall of the QOS part"),
        Limit("nodes", 2, "MaxNodes of the partition batch"),
        Limit("memory of a node", 64000 << 20, "MaxMemPerNode of the partition batch"),
    }
    assert (batch.accounts, big.accounts, big.limits, big.is_up) == ((), ("theirs", "others"), (), False)


def test_the_largest_node_is_not_known_where_slurm_tells_the_smallest():
    (queue,) = parse_partitions("a*|up|30:00|2|8+|1000\na*|up|30:00|1|4|9000")
    assert (queue.cores, queue.largest_cores, queue.largest_memory_bytes) == (4, None, 9000 << 20)


def test_lines_of_another_shape_are_skipped():
    assert parse_associations("mine\n\nsacctmgr: error|\n") == {}
