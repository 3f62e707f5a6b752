"""Whom a queue takes jobs of, with the fields of a system that is not Slurm: users see its own names in sentences."""

from __future__ import annotations

import pytest

from vrecompute.batch.admission import AccessLists, Applicant
from vrecompute.batch.limit_rules import line_of


class OfQueue(Applicant):
    of_accounts = AccessLists("options.project", allow="acl_projects", deny="not_projects")
    of_qos = AccessLists("options.class", allow="acl_classes", deny="not_classes")
    of_groups = AccessLists("options.queue", allow="acl_groups")


US = OfQueue({"ours": ["ours", "science"]}, ["short"], ["alice", "staff"])


@pytest.mark.parametrize(
    ("rule", "closed"),
    [
        ({"acl_groups": "staff,root", "acl_classes": "short,long", "not_projects": "theirs"}, []),
        (
            {"not_projects": "science"},
            [("takes no jobs of the account ours (not_projects=science)", "options.project")],
        ),
        ({"acl_classes": "z,long,z"}, [("takes no jobs of the QOS short, only of long, z", "options.class")]),
        ({"not_classes": "short"}, [("takes no jobs of the QOS short (not_classes=short)", "options.class")]),
        (
            {"acl_groups": "root,bob"},
            [("takes jobs of the groups bob, root only, and yours are alice, staff", "options.queue")],
        ),
    ],
)
def test_a_queue_says_whom_it_takes_no_jobs_of_and_which_key_is_about_it(rule, closed):
    assert list(US.closed(rule)) == closed


def test_a_list_that_names_an_account_above_ours_lets_ours_in():
    assert US.allowed({"acl_projects": "science,theirs"}) == ("science", "theirs", "ours")
    assert US.allowed({}) == US.allowed({"acl_projects": "ALL"}) == ()


def test_owners_that_are_told_in_a_circle_end_their_line():
    assert line_of("a", {"a": "b", "b": "a"}) == ["a", "b"]
