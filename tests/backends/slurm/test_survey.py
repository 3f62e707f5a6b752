"""Limits of partitions, accounts and QOS from the text of Slurm's commands."""

from __future__ import annotations

import sys

import pytest

from vrecompute.batch.survey import Limit
from vrecompute.sites.access import LocalAccess
from vrecompute_backends.slurm.options import SlurmOptions
from vrecompute_backends.slurm.survey import SlurmApplicant, parse_associations, parse_partitions, survey

COMMANDS = {
    "sinfo": "batch*|up|1-00:00:00|4|32+|128000\nbig|drain|infinite|1|96|1000000\n",
    "scontrol": """case "$*" in
*partition) cat <<'END'
PartitionName=batch AllowAccounts=ALL QoS=part MaxNodes=2 MaxCPUsPerNode=UNLIMITED MaxMemPerNode=64000
PartitionName=big AllowAccounts=theirs,others QoS=N/A MaxNodes=UNLIMITED MaxMemPerNode=UNLIMITED
END
;; *) echo 'MaxArraySize            = 1001'; cat config 2> /dev/null; true ;; esac""",
}
#: What sacctmgr tells, by what it is asked for: of the user, of accounts, of QOS.
ASSOCIATIONS = [
    {"Account": "mine", "MaxJobs": "40", "MaxSubmitJobs": "100", "QOS": "normal,long", "DefaultQOS": "long"},
    {"Account": "other", "MaxSubmitJobs": "1", "MaxTRES": "cpu=1", "QOS": "normal"},
]
ACCOUNTS = {
    "mine": {"Account": "mine", "ParentName": "lab", "GrpTRES": "cpu=8,gres/gpu=2", "MaxSubmitJobs": "7"},
    "lab": {"Account": "lab", "ParentName": "root", "GrpJobs": "2", "GrpTRESRunMins": "cpu=600", "GrpTRES": "mem=9G"},
    "root": {"Account": "root"},
}
QOS = {
    "long": {"MaxSubmitPU": "50", "MaxWall": "2-00:00:00", "MaxTRES": "cpu=64,mem=200G,node=2", "GrpTRES": "cpu=3000"},
    "part": {"MaxWall": "12:00:00"},
    "tight": {"MaxTRESPU": "cpu=2", "MaxTRESPerNode": "mem=1G", "MaxTRESMins": "cpu=30", "GrpSubmitJobs": "5"},
}
SACCTMGR = f"""#!{sys.executable} -IS
import sys
associations, accounts, qos = {ASSOCIATIONS!r}, {ACCOUNTS!r}, {QOS!r}
given = dict(word.partition("=")[::2] for word in sys.argv[1:])
if "user" in sys.argv:
    found = [{{"DefaultAccount": "mine"}}]
elif "associations" in sys.argv:
    found = [accounts[given["account"]]] if "account" in given else associations
else:
    found = [{{"Name": name}} | qos[name] for name in given["name"].split(",")]
for one in found:
    print("|".join(one.get(field, "") for field in given["format"].split(",")))
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    for name, text in COMMANDS.items():
        body = f"cat <<'END'\n{text}END\n" if name == "sinfo" else text
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "sacctmgr").write_text(SACCTMGR)
    (tmp_path / "sacctmgr").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)


def limits(**options):
    found = survey(LocalAccess(), "slurm", SlurmOptions(**options))
    return {(limit.of, limit.most, limit.rule) for limit in found.limits}


def test_limits_are_those_of_the_account_and_of_the_qos_that_jobs_get(slurm):
    mine = {
        ("running jobs", 40, "MaxJobs of the account mine"),  # of jobs in the queue the QOS has a limit, which holds
        ("array", 1001, "MaxArraySize"),
        ("jobs", 50, "MaxSubmitJobs of the QOS long"),
        ("walltime", 172800, "MaxWall of the QOS long"),
        ("cores", 64, "MaxTRES of the QOS long"),
        ("memory", 200 << 30, "MaxTRES of the QOS long"),
        ("nodes", 2, "MaxTRES of the QOS long"),
        ("cores", 3000, "GrpTRES of the QOS long"),  # so not 8, of the account
        ("gpus", 2, "GrpTRES of the account mine"),
        ("running jobs", 2, "GrpJobs of the account lab"),
        ("core minutes", 600, "GrpTRESRunMins of the account lab"),
        ("memory", 9 << 30, "GrpTRES of the account lab"),
    }
    assert limits(account="mine") == mine
    assert limits() == mine, "by default the user's default account is charged"
    other = limits(account="other")
    assert {("jobs", 1, "MaxSubmitJobs of the account other"), ("cores", 1, "MaxTRES of the account other")} <= other
    assert not any("account mine" in rule or "QOS long" in rule for _, _, rule in other)


def test_what_is_shared_is_told_from_what_one_job_may_and_what_chose_it_from_both(slurm):
    found = survey(LocalAccess(), "slurm", SlurmOptions(account="other", qos="tight")).limits
    assert {(f.of, f.most, f.rule, f.shared, f.chosen_by) for f in found} == {
        ("array", 1001, "MaxArraySize", False, ""),
        ("jobs", 1, "MaxSubmitJobs of the account other", False, "options.account"),
        ("cores", 1, "MaxTRES of the account other", False, "options.account"),
        ("cores", 2, "MaxTRESPerUser of the QOS tight", True, "options.qos"),
        ("memory of a node", 1 << 30, "MaxTRESPerNode of the QOS tight", False, "options.qos"),
        ("core minutes", 30, "MaxTRESMins of the QOS tight", False, "options.qos"),
        ("jobs", 5, "GrpSubmitJobs of the QOS tight", True, "options.qos"),
    }


@pytest.mark.parametrize(
    ("enforced", "heeded"), [("associations,limits,qos", True), ("safe", True), ("associations,qos", False)]
)
def test_limits_that_slurm_does_not_enforce_are_none(slurm, tmp_path, enforced, heeded):
    (tmp_path / "config").write_text(f"AccountingStorageEnforce = {enforced}\n")
    assert (len(limits(account="mine")) > 1) == heeded


def test_partitions_have_their_own_rules_and_those_of_their_qos(slurm):
    batch, big = survey(LocalAccess(), "slurm", SlurmOptions()).queues
    assert set(batch.limits) == {
        Limit("walltime", 43200, "MaxWall of the QOS part"),
        Limit("nodes", 2, "MaxNodes of the partition batch"),
        Limit("memory of a node", 64000 << 20, "MaxMemPerNode of the partition batch"),
    }
    assert (batch.accounts, big.accounts, big.limits, big.is_up) == ((), ("theirs", "others"), (), False)


def test_rules_of_accounts_hold_for_those_below_and_rules_of_qos_and_groups_are_told():
    us = SlurmApplicant({"physics": ["physics", "science", "root"]}, ["normal"], ["alice"])
    assert us.allowed({"AllowAccounts": "science,others"}) == ("science", "others", "physics")
    assert us.allowed({"AllowAccounts": "chemistry"}) == ("chemistry",)
    assert us.allowed({"AllowAccounts": "ALL"}) == ()
    opened = {"AllowGroups": "ALL", "AllowQos": "long,normal", "DenyAccounts": "chemistry"}
    assert list(us.closed(opened)) == []
    for rule, key in [
        ({"DenyAccounts": "root"}, "options.account"),
        ({"AllowQos": "special"}, "options.qos"),
        ({"DenyQos": "normal,low"}, "options.qos"),
        ({"AllowGroups": "bob"}, "options.partition"),
    ]:
        assert [mend for _, mend in us.closed(rule)] == [key]
        assert list(SlurmApplicant({}).closed(rule)) == [], "what is not known is not judged"


def test_an_account_above_that_a_partition_names_lets_ours_in(slurm, tmp_path):
    text = (tmp_path / "scontrol").read_text()
    (tmp_path / "scontrol").write_text(text.replace("AllowAccounts=theirs,others", "AllowAccounts=lab DenyQos=long"))
    big = survey(LocalAccess(), "slurm", SlurmOptions(account="mine")).queues[1]
    assert big.accounts == ("lab", "mine")
    assert [key for _, key in big.closed] == ["options.qos"]


def test_the_largest_node_is_not_known_where_slurm_tells_the_smallest():
    (queue,) = parse_partitions("a*|up|30:00|2|8+|1000\na*|up|30:00|1|4|9000")
    assert (queue.cores, queue.largest_cores, queue.largest_memory_bytes) == (4, None, 9000 << 20)


def test_lines_of_another_shape_are_skipped():
    assert parse_associations("mine\n\nsacctmgr: error|\n") == {}
